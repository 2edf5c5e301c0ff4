"""A hook of a plan that is a DAG: run to its end before a cutover, after it, or where it came to nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.providers.standard.triggers.external_task import DagStateTrigger
from airflow.sdk.exceptions import AirflowRuntimeError, AirflowSkipException, TaskDeferred

from crossfade.cutover.hooks import Event, came_to_nothing, told
from crossfade.plan import Plan
from crossfade.routers.base import Direction
from crossfade_airflow.migrations import pinned_migration

if TYPE_CHECKING:
    from airflow.sdk import Context


class HookDagOperator(TriggerDagRunOperator):  # type: ignore[misc]  # Airflow is not type-checked
    """
    Trigger a DAG and wait for its end, without occupying a worker. It never retries: that would run the DAG again.

    The run's id is that of this try. Airflow 3.3.2 begins a deferred task from its start where its DAG file could not
    be read for a moment; the run that it has triggered is then waited for.

    Its conf also holds ``crossfade``: a mapping of plan, event, direction and rehearsal. A DAG that is paused, whose
    run would wait for ever, fails this task at once. With the event ``undone`` it is skipped where the cutover had been
    decided before it failed, since the new side is opened then.

    :param plan: name of the plan
    :param target_conn_id: connection to the plan's target, whose journal knows what became of the cutover
    :param event: ``before``, ``after`` or ``undone``
    :param direction: ``forward`` or ``back``
    :param go_on: whether a run that failed is as good as one that did not
    """

    template_fields: Sequence[str] = (*TriggerDagRunOperator.template_fields, "plan", "target_conn_id")

    def __init__(
        self,
        *,
        plan: str,
        target_conn_id: str,
        event: Event,
        direction: str = Direction.FORWARD.value,
        go_on: bool = False,
        conf: Mapping[str, Any] | None = None,
        poke_interval: int = 5,
        **kwargs: Any,
    ) -> None:
        kwargs |= {
            "retries": 0,
            "wait_for_completion": True,
            "deferrable": True,
            "fail_when_dag_is_paused": True,
            "allowed_states": ["success", "failed"] if go_on else ["success"],
            "failed_states": [] if go_on else ["failed"],
        }
        conf = {**(conf or {}), "crossfade": told(plan, event, direction=Direction(direction))}
        super().__init__(conf=conf, poke_interval=poke_interval, **kwargs)
        self.plan = plan
        self.target_conn_id = target_conn_id
        self.event = event
        self.direction = direction
        self.go_on = go_on

    def execute(self, context: Context) -> None:
        if self.event == "undone":
            migration = pinned_migration(self.plan, self.target_conn_id)
            if not came_to_nothing(migration, direction=Direction(self.direction)):
                raise AirflowSkipException("it failed after its decision: the new side is opened, nothing was undone")
        self.trigger_run_id = self._run_id(context)
        if context["ti"].get_dr_count(dag_id=self.trigger_dag_id, run_ids=[self.trigger_run_id]):
            self.log.info("%s was triggered already: waiting for its run %s", self.trigger_dag_id, self.trigger_run_id)
            raise TaskDeferred(trigger=self._end_of_run(), method_name=self.execute_complete.__name__)
        super().execute(context)

    def _run_id(self, context: Context) -> str:
        ti = context["ti"]
        this = f"{ti.dag_id}/{ti.run_id}/{ti.task_id}/{ti.try_number}"
        return f"crossfade__{self.plan}__{self.event}__{hashlib.sha256(this.encode()).hexdigest()[:16]}"

    def _end_of_run(self) -> DagStateTrigger:
        return DagStateTrigger(
            dag_id=self.trigger_dag_id,
            states=[*self.allowed_states, *self.failed_states],
            run_ids=[self.trigger_run_id],
            poll_interval=self.poke_interval,
        )


def unusable_dags(plan: Plan, context: Context) -> list[str]:
    """Hooks of the plan whose DAGs Airflow does not know, or that are paused; as sentences that say what to do."""
    events: tuple[Event, ...] = ("before", "after", "undone")
    wanted = dict.fromkeys(hook.dag for event in events for hook in plan.cutover.hooks.dags(event))
    return [problem for dag_id in wanted if (problem := _unusable(dag_id, context))]


def _unusable(dag_id: str, context: Context) -> str | None:
    try:
        if context["ti"].get_dag(dag_id).is_paused:
            return f"the DAG {dag_id}, a hook of the plan, is paused: its run would wait for ever. Unpause it"
    except AirflowRuntimeError as error:
        return (
            f"the DAG {dag_id}, a hook of the plan, cannot be found: {error}. Put its file in place, or correct its id"
        )
    return None
