"""The task of ``<plan>.guard``: looks at a migration that is under way, and fails where it needs a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from crossfade.errors import Unreachable
from crossfade.journal import NoMigration
from crossfade.migration import Migration
from crossfade.plan import load_plan
from crossfade.watch import InDanger, watch
from crossfade_airflow.connections import (
    UnusableConnection,
    aws_client,
    http_endpoint,
    resolver,
    ssh_endpoint,
)
from crossfade_airflow.migrations import found_migration
from crossfade_airflow.operators.migration import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class GuardOperator(MigrationOperator):
    """
    Watch streams, the WAL that is kept for them, and the fence; skip where no migration of the plan is under way.

    It fails with a sentence for every finding, so that ``on_failure_callback`` and notifiers tell somebody. It never
    retries: the next scheduled run looks again. Returns ``state``, ``lag_bytes`` and ``lag_seconds``.

    :param source_conn_id: connection to the plan's source, which is looked at also where the target cannot be reached
    :param plan_file: the plan's file: what to watch where neither side can tell
    """

    template_fields: Sequence[str] = (*MigrationOperator.template_fields, "source_conn_id", "plan_file")

    def __init__(self, *, source_conn_id: str, plan_file: str, **kwargs: Any) -> None:
        kwargs["retries"] = 0
        super().__init__(**kwargs)
        self.source_conn_id = source_conn_id
        self.plan_file = plan_file

    def execute(self, context: Context) -> dict[str, Any]:
        watched = watch(self.migration())
        if watched is None:
            raise AirflowSkipException(f"no migration of {self.plan} is under way")
        lag = watched.lag
        self.log.info("%s is %s; %s", self.plan, watched.state or "not to be told", lag or "no lag was measured")
        if watched.findings:
            for finding in watched.findings:
                self.log.error("%s", finding)
            raise InDanger(plan=self.plan, findings=watched.findings)
        return {
            "state": watched.state,
            "lag_bytes": lag.bytes if lag else None,
            "lag_seconds": lag.seconds if lag else None,
        }

    def migration(self) -> Migration:
        """As the target's journal or the source holds it; where neither can be asked, as it is in its file."""
        try:
            return found_migration(self.plan, self.target_conn_id, self.source_conn_id)
        except NoMigration as error:
            raise AirflowSkipException(str(error)) from None
        except UnusableConnection as error:
            if error.problem != "does not exist":
                raise
            raise AirflowSkipException(f"nothing can be under way: {error}") from None
        except Unreachable as error:
            self.log.warning("%s", error)
            plan = load_plan(self.plan_file)
            return Migration(plan, resolver(self.plan), aws_client, ssh_endpoint, http_endpoint)
