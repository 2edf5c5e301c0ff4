"""The run parameter `stop_after`: a run that ends early, as a dress rehearsal on a copy of production does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowSkipException

from crossfade_dags.way_back import AFTER_CUTOVER

if TYPE_CHECKING:
    from airflow.sdk import Context

PARAM = "stop_after"


#: Task ids in their order, those that run beside one another together; a group counts as one.
Stages = Sequence[tuple[str, ...]]


def stop_after_param(stages: Stages) -> Param:
    """The parameter: one of the tasks but the last, or nothing. Hooks, guard and way back go with their task."""
    return Param(
        None,
        type=["null", "string"],
        enum=[None, *(task for stage in stages[:-1] for task in stage if not _attends(task))],
        title="Stop after",
        description="Skip everything after this task, for a dress rehearsal. Empty: go on to the end",
    )


def _attends(task: str) -> bool:
    return task.startswith("hooks_") or task.endswith("_guard") or task in AFTER_CUTOVER


def skip_when_stopped(stages: Stages) -> Callable[[Context], None]:
    """
    A `pre_execute` for every task of the DAG.

    It is run before the operator itself, so the operators need not know of the parameter.
    """
    order = {task: position for position, stage in enumerate(stages) for task in stage}

    def pre_execute(context: Context) -> None:
        last = context["params"].get(PARAM)
        task = context["task"].task_id.split(".")[0]
        if last and order[task] > order[last]:
            raise AirflowSkipException(f"this run was to stop after {last}")

    return pre_execute
