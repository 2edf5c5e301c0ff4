"""Whether a replication task has come up."""

from __future__ import annotations

from crossfade.engines.dms.task_state import existing
from crossfade_airflow.triggers.dms_task import DmsTaskTrigger, require_going
from crossfade_airflow.triggers.sampling import Sample


class DmsTaskRunningTrigger(DmsTaskTrigger):
    """Fires when the task runs, or has stopped at its consistent point already: a small load ends quickly."""

    def look(self) -> Sample:
        task = existing(self.client(), self.replication_task_id)
        if not task.at_consistent_point:
            require_going(task)
        return Sample(
            good=task.status == "running" or task.at_consistent_point,
            text=f"replication task {task.identifier} is {task.status}, {task.percent} % loaded"
            + (": nobody has started it" if task.status == "ready" else ""),
            figures={"percent": task.percent},
        )
