"""Wait until a replication task of AWS DMS runs."""

from __future__ import annotations

from crossfade.engines.dms import phases
from crossfade.migration import Migration
from crossfade_airflow.sensors.dms_task import DmsTaskSensor
from crossfade_airflow.triggers.dms_task_running import DmsTaskRunningTrigger


class DmsTaskRunningSensor(DmsTaskSensor):
    """
    Wait until the task runs, or has stopped at its consistent point already.

    A task that has failed or was stopped fails this one at once, with the cause and what to do.
    """

    def go_on(self, migration: Migration) -> None:
        phases.start_task(migration)

    def trigger(self, *, deadline: float) -> DmsTaskRunningTrigger:
        return DmsTaskRunningTrigger(**self.sampling(deadline))
