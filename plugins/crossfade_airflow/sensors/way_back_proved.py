"""Wait until rows go the other way by AWS DMS: from then on one can go back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.engines.dms.starting import prove_armed, start_armed
from crossfade_airflow.migrations import pinned_migration
from crossfade_airflow.sensors.dms_task import DmsTaskSensor
from crossfade_airflow.sensors.sampling import SamplingSensor
from crossfade_airflow.triggers.dms_task_running import DmsTaskRunningTrigger
from crossfade_airflow.triggers.sampling import Outcome

if TYPE_CHECKING:
    from airflow.sdk import Context

    from crossfade.migration import Migration


class WayBackProvedSensor(DmsTaskSensor):
    """
    Wait until the task that `StartWayBackOperator` has started runs, then send a watermark through it.

    A task that has failed or was stopped fails this one at once, with the cause; a second try of this sensor first
    lets it go on. Needs a plan. Its figures have `seconds`, the watermark's way.
    """

    def execute(self, context: Context) -> dict[str, float]:
        if context["ti"].try_number > 1:
            start_armed(self._armed())
        return SamplingSensor.execute(self, context)

    def execute_complete(self, context: Context, event: Outcome) -> dict[str, float]:
        figures = super().execute_complete(context, event)
        return {**figures, "seconds": prove_armed(self._armed())}

    def trigger(self, *, deadline: float) -> DmsTaskRunningTrigger:
        return DmsTaskRunningTrigger(**self.sampling(deadline))

    def _armed(self) -> Migration:
        if not self.plan or not self.target_conn_id:
            raise ValueError("way_back_proved needs plan and target_conn_id: what was armed is in the plan's journal")
        return pinned_migration(self.plan, self.target_conn_id)
