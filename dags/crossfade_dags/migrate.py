"""``<plan>.migrate``: the graph of a whole migration, from assessment to the reconciliation after the cutover."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, TaskGroup

from crossfade.plan import Plan, load_plan
from crossfade_airflow.operators.approve_cutover import CutoverApprovalOperator
from crossfade_airflow.operators.assess import AssessOperator
from crossfade_airflow.operators.cutover import CutoverOperator
from crossfade_airflow.operators.harden import HardenOperator
from crossfade_airflow.operators.load_wave import LoadWaveOperator
from crossfade_airflow.operators.prepare import PrepareOperator
from crossfade_airflow.operators.reconcile import ReconcileOperator
from crossfade_airflow.operators.rehearse import RehearseOperator
from crossfade_airflow.operators.validate import ValidateOperator
from crossfade_airflow.sensors.replication_slot_lag import ReplicationSlotLagSensor
from crossfade_airflow.sensors.subscription_caught_up import SubscriptionCaughtUpSensor
from crossfade_dags.migrate_docs import DAG_DOC, TASK_DOCS
from crossfade_dags.stop_after import PARAM, skip_when_stopped, stop_after_param

#: In their order. A run may stop after each of them.
TASKS = (
    "assess",
    "prepare",
    "load",
    "harden",
    "catch_up",
    "validate",
    "rehearse",
    "approve_cutover",
    "cutover",
    "reconcile",
)


def migration(file: str) -> DAG:
    """The DAG of the plan in that file. Raises `PlanError`, which Airflow shows as this file's import error."""
    plan = load_plan(file)
    with DAG(
        dag_id=f"{plan.name}.migrate",
        dag_display_name=f"{plan.name}: migrate",
        description=f"Move {plan.source} to {plan.target} while its application keeps writing",
        doc_md=DAG_DOC.format(plan=plan.name, source=plan.source, target=plan.target),
        schedule=None,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        tags=["crossfade", plan.name],
        params={PARAM: stop_after_param(TASKS[:-1])},
        default_args={
            "retries": 2,
            "retry_delay": timedelta(seconds=10),
            "pre_execute": skip_when_stopped(TASKS),
        },
    ) as dag:
        _tasks(plan, file)
    return dag


def _tasks(plan: Plan, file: str) -> None:
    of_plan = {"plan": plan.name, "target_conn_id": plan.target}

    assess = AssessOperator(plan_file=file, **_named("assess"))
    prepare = PrepareOperator(plan_file=file, **_named("prepare"))
    load = LoadWaveOperator.partial(**_named("load"), **of_plan, map_index_template="{{ task.tables }}").expand_kwargs(
        prepare.output
    )
    harden = HardenOperator(**_named("harden"), **of_plan)
    catch_up = _catch_up(plan, prepare.output["streams"])
    validate = ValidateOperator(**_named("validate"), **of_plan)
    rehearse = RehearseOperator(**_named("rehearse"), **of_plan)
    approve = CutoverApprovalOperator(**_named("approve_cutover"), **of_plan, plan_file=file)
    cutover = CutoverOperator(**_named("cutover"), **of_plan)
    reconcile = ReconcileOperator(**_named("reconcile"), **of_plan)

    assess >> prepare >> load >> harden >> catch_up >> validate >> rehearse >> approve >> cutover >> reconcile


def _catch_up(plan: Plan, streams: Any) -> TaskGroup:
    below = {"samples": plan.lag.samples, "timeout": plan.lag.timeout.total_seconds()}
    with TaskGroup("catch_up", tooltip="Wait until the target is current") as group:
        ReplicationSlotLagSensor(
            conn_id=plan.source, slots=streams, max_bytes=plan.lag.max_bytes, **below, **_named("slot_lag")
        )
        SubscriptionCaughtUpSensor(
            source_conn_id=plan.source,
            target_conn_id=plan.target,
            subscriptions=streams,
            max_seconds=plan.lag.max_seconds,
            **below,
            **_named("caught_up"),
        )
    return group


def _named(task_id: str) -> dict[str, str]:
    return {"task_id": task_id, "doc_md": TASK_DOCS[task_id]}
