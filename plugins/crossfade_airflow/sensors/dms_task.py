"""What sensors of a replication task of AWS DMS share: which task, and how a second try lets it go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from crossfade.engines.dms import phases
from crossfade.engines.dms.native import NOTHING_TO_DO, native_slots
from crossfade.migration import Migration
from crossfade_airflow.migrations import pinned_migration
from crossfade_airflow.sensors.sampling import SamplingSensor
from crossfade_airflow.triggers.sampling import Outcome

if TYPE_CHECKING:
    from airflow.sdk import Context


class DmsTaskSensor(SamplingSensor):
    """
    Wait for something about a replication task; needs no plan.

    With a plan, a second try of this sensor (a retry, or after it was cleared) first lets a task go on that had failed
    or was stopped, where the plan's journal allows it; and since a rollback, when that task is over, it
    succeeds at once without figures. Without one it only watches.

    :param aws_conn_id: connection to AWS
    :param replication_task_id: the task's identifier, not its ARN
    :param plan: name of the plan whose task it is
    :param target_conn_id: connection to the plan's target, whose journal holds the plan
    """

    template_fields: Sequence[str] = ("aws_conn_id", "replication_task_id", "plan", "target_conn_id")

    def __init__(
        self,
        *,
        replication_task_id: str,
        aws_conn_id: str = "aws_default",
        plan: str | None = None,
        target_conn_id: str | None = None,
        samples: int = 1,
        poke_interval: float = 10,
        **kwargs: Any,
    ) -> None:
        super().__init__(samples=samples, poke_interval=poke_interval, **kwargs)
        self.aws_conn_id = aws_conn_id
        self.replication_task_id = replication_task_id
        self.plan = plan
        self.target_conn_id = target_conn_id

    def execute(self, context: Context) -> dict[str, float]:
        if found := self.migration():
            if native_slots(found):
                self.log.info(NOTHING_TO_DO)
                return {}
            if context["ti"].try_number > 1:
                self.go_on(found)
        return super().execute(context)

    def execute_complete(self, context: Context, event: Outcome) -> dict[str, float]:
        if event["status"] in ("broken", "interrupted") and not self.plan:
            only = "This sensor has no plan: it only watches, and resumes nothing"
            event = {**event, "message": f"{event['message'].rstrip('.')}. {only}"}
        return super().execute_complete(context, event)

    def migration(self) -> Migration | None:
        """The plan's migration; None without a plan. Raises `NoMigration`, `UnusableConnection`."""
        if not self.plan or not self.target_conn_id:
            return None
        return pinned_migration(self.plan, self.target_conn_id)

    def go_on(self, migration: Migration) -> None:
        """Let the plan's task go on."""
        phases.resume_task(migration)

    def sampling(self, deadline: float) -> dict[str, Any]:
        """What every trigger of a replication task is given."""
        return {
            "aws_conn_id": self.aws_conn_id,
            "replication_task_id": self.replication_task_id,
            "samples": self.samples,
            "poke_interval": self.poke_interval,
            "deadline": deadline,
        }
