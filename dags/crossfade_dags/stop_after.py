"""The run parameter `stop_after`: a run that ends early, as a dress rehearsal on a copy of production does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from airflow.sdk import Param
from airflow.sdk.exceptions import AirflowSkipException

if TYPE_CHECKING:
    from airflow.sdk import Context

PARAM = "stop_after"


def stop_after_param(tasks: Sequence[str]) -> Param:
    """The parameter: one of these tasks, or nothing."""
    return Param(
        None,
        type=["null", "string"],
        enum=[None, *tasks],
        title="Stop after",
        description="Skip everything after this task, for a dress rehearsal. Empty: go on to the end",
    )


def skip_when_stopped(tasks: Sequence[str]) -> Callable[[Context], None]:
    """
    A `pre_execute` for every task of the DAG, in which these follow one another; a group counts as one.

    It is run before the operator itself, so the operators need not know of the parameter.
    """

    def pre_execute(context: Context) -> None:
        last = context["params"].get(PARAM)
        task = context["task"].task_id.split(".")[0]
        if last and tasks.index(task) > tasks.index(last):
            raise AirflowSkipException(f"this run was to stop after {last}")

    return pre_execute
