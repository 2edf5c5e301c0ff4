"""The tasks `cutover_guard` and `rollback_guard`: they outlive the host of the task beside them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, RetryPolicy
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from crossfade.errors import TransientError
from crossfade_airflow.retries import RETRY_ONLY_TRANSIENT
from crossfade_airflow.triggers.cutover_guard import CutoverGuardTrigger, Guarded
from crossfade_airflow.triggers.sampling import GRACE

if TYPE_CHECKING:
    from airflow.sdk import Context


class Unsettled(TransientError):
    """Something was left behind that the guard could not settle."""

    def __init__(self, *, plan: str, problem: str) -> None:
        super().__init__(
            f"the attempt on {plan} has ended, but something is left of it that could not be settled: "
            f"{problem or 'not both sides could be read'}. Trigger the DAG abort with plan={plan} once they can be"
        )


class StillUnderWay(TransientError):
    """The guarded task took longer than the guard was to watch."""

    def __init__(self, *, task: str, state: str) -> None:
        super().__init__(
            f"{task} is still {state or 'to come'}, and time is up: from now on it is not guarded. Clear this task to "
            "guard it again"
        )


class CutoverGuardSensor(BaseSensorOperator):  # type: ignore[misc]  # Airflow is not type-checked
    """
    Watch a cutover or a rollback of the same run from the triggerer, and settle its traffic where its host is lost.

    Ends soon after the guarded task, and fails only where it could not do what was to be done; is skipped where the
    guarded task is. Occupies no worker. Returns the guarded task's state and what was settled, if anything.

    :param plan: name of the plan: its file's name without the ending
    :param target_conn_id: connection to the plan's target
    :param source_conn_id: connection to the plan's source
    :param guarded: id of the task to guard
    :param gate: id of the gate before it; attempts that were last heard of before its answer are of no concern here
    """

    template_fields: Sequence[str] = ("plan", "target_conn_id", "source_conn_id", "guarded", "gate")

    def __init__(
        self,
        *,
        plan: str,
        target_conn_id: str,
        source_conn_id: str,
        guarded: str,
        gate: str,
        poke_interval: float = 1,
        timeout: float = 3600,
        retry_policy: RetryPolicy | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            poke_interval=poke_interval, timeout=timeout, retry_policy=retry_policy or RETRY_ONLY_TRANSIENT, **kwargs
        )
        self.plan = plan
        self.target_conn_id = target_conn_id
        self.source_conn_id = source_conn_id
        self.guarded = guarded
        self.gate = gate

    def execute(self, context: Context) -> None:
        raise TaskDeferred(
            trigger=CutoverGuardTrigger(
                plan=self.plan,
                target_conn_id=self.target_conn_id,
                source_conn_id=self.source_conn_id,
                dag_id=context["ti"].dag_id,
                run_id=context["run_id"],
                guarded=self.guarded,
                since=self._answered(context),
                deadline=time.time() + self.timeout,
                poke_interval=self.poke_interval,
            ),
            method_name=self.execute_complete.__name__,
            timeout=timedelta(seconds=self.timeout) + GRACE,
        )

    def execute_complete(self, context: Context, event: Guarded) -> dict[str, Any]:
        """Say what was done. Raises `Unsettled`, `StillUnderWay`."""
        for sentence in event["settled"]:
            self.log.warning("the host of %s was lost, its traffic was settled: %s", self.guarded, sentence)
        if event["status"] == "never ran":
            raise AirflowSkipException(f"{self.guarded} is {event['task_state']}: there was nothing to guard")
        if event["status"] == "incomplete":
            raise Unsettled(plan=self.plan, problem=event["problem"])
        if event["status"] == "timeout":
            raise StillUnderWay(task=self.guarded, state=event["task_state"])
        if not event["settled"]:
            self.log.info("%s is %s; there was nothing to do", self.guarded, event["task_state"])
        return {"task_state": event["task_state"], "settled": event["settled"]}

    def _answered(self, context: Context) -> float:
        """Unix time of the gate's answer; now, where it was marked as success."""
        answer = context["ti"].xcom_pull(task_ids=self.gate) or {}
        at = answer.get("responded_at")
        return at.timestamp() if isinstance(at, datetime) else time.time()
