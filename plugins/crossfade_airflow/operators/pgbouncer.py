"""What the operators of PgBouncer share: they need a console and a database's name, and no plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, RetryPolicy

from crossfade.plan_routers import FileSwitch, PgBouncerRouter
from crossfade.routers.pgbouncer import PgBouncerFleet
from crossfade_airflow.connections import endpoint
from crossfade_airflow.retries import RETRY_ONLY_TRANSIENT


class PgBouncerOperator(BaseOperator):  # type: ignore[misc]  # Airflow is not type-checked
    """
    Something done on every instance of a fleet of PgBouncers.

    :param console_conn_ids: connections to the admin console of every instance (their database is ``pgbouncer``)
    :param database: name under which clients ask PgBouncer for the database, or a list
    """

    template_fields: Sequence[str] = ("console_conn_ids", "database")

    def __init__(
        self,
        *,
        console_conn_ids: str | list[str],
        database: str | list[str],
        retry_policy: RetryPolicy | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy or RETRY_ONLY_TRANSIENT, **kwargs)
        self.console_conn_ids = console_conn_ids
        self.database = database

    def fleet(self) -> PgBouncerFleet:
        """The instances, not yet connected to. It can pause and resume, but leads nowhere else: no plan, no sides."""
        entry = PgBouncerRouter.model_validate(
            {
                "kind": "pgbouncer",
                "admin": self.console_conn_ids,
                "database": self.database,
                "switch": FileSwitch(file="/nonexistent"),
            }
        )
        consoles = [endpoint(conn_id, needed_by=f"the task {self.task_id!r}") for conn_id in entry.admin]
        return PgBouncerFleet(entry=entry, consoles=consoles, sides={})
