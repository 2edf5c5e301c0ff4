"""How far the full load of a replication task is, table by table, until it stops at the consistent point."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from crossfade.engines.dms.statistics import TableStatistics, statistics, waiting
from crossfade.engines.dms.task_state import TaskState, existing
from crossfade_airflow.triggers.dms_task import DmsTaskTrigger, require_going, require_well
from crossfade_airflow.triggers.sampling import Sample, StreamBroken

_LOADING = frozenset({"Full load", "Table is being reloaded"})


class DmsFullLoadTrigger(DmsTaskTrigger):
    """
    Fires when the task has stopped by itself with every table loaded, and the changes made meanwhile applied.

    Ends the wait where the task fails or is stopped elsewhere, and where a table is in error or suspended.

    :param loaded_before: it has come to that point once, and may be past it: then it runs, and stops no more
    """

    def __init__(self, *, loaded_before: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.loaded_before = loaded_before

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "loaded_before": self.loaded_before}

    def look(self) -> Sample:
        dms = self.client()
        task = existing(dms, self.replication_task_id)
        tables = statistics(dms, task.arn)
        if task.at_consistent_point:
            require_well(task, tables)
            _require_loaded(task, tables)
        else:
            require_going(task, tables)
            _require_stop(task)
        past_it = self.loaded_before and task.status == "running" and bool(tables) and not waiting(tables)
        return Sample(
            good=task.at_consistent_point or past_it,
            text=progress(task, tables, datetime.now(UTC)),
            figures={"tables": len(tables), "rows": sum(table.rows for table in tables), "percent": task.percent},
        )


def progress(task: TaskState, tables: Sequence[TableStatistics], now: datetime) -> str:
    """Counts and per cent of the task; one more line for each table under way, with its rows a second so far."""
    counts = f"{task.loaded} tables loaded, {task.loading} loading, {task.queued} queued"
    lines = [f"replication task {task.identifier} is {task.status}: {task.percent} %, {counts}"]
    for table in tables:
        if table.state in _LOADING:
            seconds = (now - table.load_started).total_seconds() if table.load_started else 0
            rate = f", {table.rows / seconds:,.0f} rows/s" if seconds >= 1 else ""
            lines.append(f"  {table.full_name}: {table.state}, {table.rows:,} rows{rate}")
    return "\n".join(lines)


def _require_loaded(task: TaskState, tables: Sequence[TableStatistics]) -> None:
    missing = [table.line for table in waiting(tables)]
    if missing or not tables:
        raise StreamBroken(
            f"replication task {task.identifier} has stopped at the end of its load, but without "
            f"{'; '.join(missing) or 'a single table'}. Read the task's log in CloudWatch, then have AWS DMS reload "
            "the target and clear this task"
        )


def _require_stop(task: TaskState) -> None:
    """It has to stop by itself: while it streams, no moment of it is the end of the load."""
    settings = task.settings.get("FullLoadSettings", {})
    if task.migration_type == "full-load-and-cdc" and not settings.get("StopTaskCachedChangesApplied"):
        raise StreamBroken(
            f"replication task {task.identifier} goes on with changes after its load without stopping, so there is "
            "nothing to wait for. Stop it, set FullLoadSettings.StopTaskCachedChangesApplied to true and resume it"
        )
