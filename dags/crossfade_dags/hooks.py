"""The hooks of a plan that are DAGs, as tasks around its cutover; there are none where the plan has none."""

from __future__ import annotations

from typing import Any

from airflow.sdk import TaskGroup, chain

from crossfade.cutover.hooks import Event
from crossfade.plan import Plan
from crossfade.routers.base import Direction
from crossfade_airflow.operators.hook_dag import HookDagOperator
from crossfade_dags.migrate_docs import TASK_DOCS

#: The group of tasks of each event: stages of a run that is not to stop within them.
GROUPS: dict[Event, str] = {"before": "hooks_before", "after": "hooks_after", "undone": "hooks_undone"}


def with_hooks(plan: Plan, gate: Any, cutover: Any, *, direction: Direction = Direction.FORWARD) -> None:
    """
    Put the plan's DAG hooks around a cutover and its gate, which are wired to one another.

    Those of `before` one after the other, as a failure stops the rest; the others all at once. Those of `undone` run
    where one of `before` or the cutover failed: the run stays failed by what comes after the cutover.
    """
    before = _tasks(plan, "before", direction)
    chain(gate, *before, cutover)
    if after := _tasks(plan, "after", direction):
        cutover >> after
    for task in _tasks(plan, "undone", direction):
        task << [*before, cutover]


def groups(plan: Plan, *events: Event) -> tuple[str, ...]:
    """The groups that the plan has for these events."""
    return tuple(GROUPS[event] for event in events if plan.cutover.hooks.dags(event))


def _tasks(plan: Plan, event: Event, direction: Direction) -> list[HookDagOperator]:
    hooks = plan.cutover.hooks.dags(event)
    if not hooks:
        return []
    with TaskGroup(GROUPS[event], tooltip=f"DAGs of your own: cutover.hooks.{event} of the plan"):
        return [
            HookDagOperator(
                task_id=f"{number}_{hook.dag}",
                doc_md=TASK_DOCS[GROUPS[event]],
                plan=plan.name,
                target_conn_id=plan.target,
                event=event,
                direction=direction.value,
                go_on=hook.on_failure == "go_on",
                trigger_dag_id=hook.dag,
                conf=dict(hook.conf),
                trigger_rule="one_failed" if event == "undone" else "all_success",
            )
            for number, hook in enumerate(hooks, start=1)
        ]
