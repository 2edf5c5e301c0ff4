"""Wait until a replication task of AWS DMS runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.engines.dms import phases
from crossfade.migration import Migration
from crossfade_airflow.sensors.dms_task import DmsTaskSensor
from crossfade_airflow.triggers.dms_task_running import DmsTaskRunningTrigger
from crossfade_airflow.triggers.sampling import Outcome

if TYPE_CHECKING:
    from airflow.sdk import Context


class DmsTaskRunningSensor(DmsTaskSensor):
    """
    Wait until the task runs, or has stopped at its consistent point already.

    A task that has failed or was stopped fails this one at once, with the cause and what to do. With a plan, the name
    of the slot that the task reads is kept in the journal.
    """

    def go_on(self, migration: Migration) -> None:
        phases.start_task(migration)

    def execute_complete(self, context: Context, event: Outcome) -> dict[str, float]:
        figures = super().execute_complete(context, event)
        if found := self.migration():
            phases.note_slot(found)
        return figures

    def trigger(self, *, deadline: float) -> DmsTaskRunningTrigger:
        return DmsTaskRunningTrigger(**self.sampling(deadline))
