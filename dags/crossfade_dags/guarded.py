"""The guard beside a cutover or a rollback."""

from __future__ import annotations

from typing import Any

from crossfade.plan import Plan
from crossfade_airflow.sensors.cutover_guard import CutoverGuardSensor

HOUR = 3600.0  #: seconds for which a cutover is guarded, besides those that it may wait for long transactions


def guard_of(plan: Plan, task: str, **named: Any) -> CutoverGuardSensor:
    """
    The guard of a task, not yet wired.

    :param task: ``cutover`` or ``rollback``; its gate is ``approve_<task>``
    :param named: the guard's own task id and docs
    """
    return CutoverGuardSensor(
        plan=plan.name,
        target_conn_id=plan.target,
        source_conn_id=plan.source,
        guarded=task,
        gate=f"approve_{task}",
        timeout=HOUR + plan.cutover.long_transactions_timeout.total_seconds(),
        **named,
    )


def beside(task: Any, guard: CutoverGuardSensor) -> None:
    """Have the guard start with the task, which is wired to what comes before it; and be skipped with it."""
    guard.set_upstream(list(task.upstream_list))
