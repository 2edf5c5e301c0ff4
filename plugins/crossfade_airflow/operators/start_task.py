"""The task `start_task`: the full load begins, or goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crossfade.engines.dms import phases
from crossfade_airflow.operators.migration import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class StartTaskOperator(MigrationOperator):
    """
    Start the plan's replication task, or let it go on where it stopped: what is loaded is never loaded again.

    Returns without waiting for it; returns the state that it found. It stands where the amazon provider's
    `DmsStartTaskOperator` could not: that one has to be told whether to start, to resume or to load again.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        task = phases.start_task(self.migration())
        return {"task": task.identifier, "found": task.status, "percent": task.percent}
