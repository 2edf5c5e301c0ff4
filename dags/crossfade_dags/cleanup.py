"""``<plan>.cleanup``: after the rollback window, nothing of the migration is left behind."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Param, chain

from crossfade.plan import Plan
from crossfade_airflow.operators.approve_cleanup import CleanupApprovalOperator
from crossfade_airflow.operators.cleanup import CleanupOperator
from crossfade_dags.cleanup_docs import DAG_DOC, TASK_DOCS


def cleanup(plan: Plan, file: str) -> DAG:
    """The DAG. :param file: the plan's, to show in the gate how it differs from what is pinned"""
    with DAG(
        dag_id=f"{plan.name}.cleanup",
        dag_display_name=f"{plan.name}: clean up",
        description=f"Remove everything of the migration from {plan.source} and {plan.target}",
        doc_md=DAG_DOC.format(plan=plan.name, source=plan.source, target=plan.target),
        schedule=None,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        tags=["crossfade", plan.name],
        params={
            "reopen_source": Param(
                False,
                type="boolean",
                title="Open the source again",
                description="Whoever could connect to it before the cutover may again. Else it stays closed",
            ),
            "poolers_are_permanent": Param(
                False,
                type="boolean",
                title="Poolers are permanent",
                description="You have seen to it that poolers lead to the target when they are started again",
            ),
        },
    ) as dag:
        shared = {"plan": plan.name, "target_conn_id": plan.target}
        chain(
            CleanupApprovalOperator(**_named("approve_cleanup"), **shared, plan_file=file),
            CleanupOperator(
                **_named("cleanup"),
                **shared,
                source_conn_id=plan.source,
                reopen_source="{{ params.reopen_source }}",
                poolers_are_permanent="{{ params.poolers_are_permanent }}",
            ),
        )
    return dag


def _named(task_id: str) -> dict[str, Any]:
    return {"task_id": task_id, "doc_md": TASK_DOCS[task_id]}
