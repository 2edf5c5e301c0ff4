"""``<plan>.rollback``: the way back to the source, with all that was written to the target."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, chain

from crossfade.plan import Plan
from crossfade.routers.base import Direction
from crossfade_airflow.operators.approve_rollback import RollbackApprovalOperator
from crossfade_airflow.operators.confirm_return import ConfirmReturnOperator
from crossfade_airflow.operators.rollback import RollbackOperator
from crossfade_dags.guarded import beside, guard_of
from crossfade_dags.hooks import with_hooks
from crossfade_dags.rollback_docs import DAG_DOC, TASK_DOCS
from crossfade_dags.way_back import AFTER_ROLLBACK, started_and_proved


def rollback(plan: Plan, file: str) -> DAG:
    """The DAG. :param file: the plan's, to show in the gate how it differs from what is pinned"""
    with DAG(
        dag_id=f"{plan.name}.rollback",
        dag_display_name=f"{plan.name}: roll back",
        description=f"Move the application back from {plan.target} to {plan.source}",
        doc_md=DAG_DOC.format(plan=plan.name, source=plan.source, target=plan.target),
        schedule=None,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        tags=["crossfade", plan.name],
        default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    ) as dag:
        shared = {"plan": plan.name, "target_conn_id": plan.target}
        gate = RollbackApprovalOperator(**_named("approve_rollback"), **shared, plan_file=file)
        back = RollbackOperator(**_named("rollback"), **shared)
        with_hooks(plan, gate, back, direction=Direction.BACK)
        beside(back, guard_of(plan, "rollback", **_named("rollback_guard")))
        forward = started_and_proved(plan, AFTER_ROLLBACK, TASK_DOCS)
        chain(back, *forward, ConfirmReturnOperator(**_named("confirm"), **shared))
    return dag


def _named(task_id: str) -> dict[str, Any]:
    return {"task_id": task_id, "doc_md": TASK_DOCS[task_id]}
