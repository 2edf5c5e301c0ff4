"""The tasks of ``<plan>.migrate`` that are the same for every engine: its beginning and its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow.sdk import TaskGroup, chain

from crossfade.plan import Plan
from crossfade_airflow.operators.approve_cutover import CutoverApprovalOperator
from crossfade_airflow.operators.assess import AssessOperator
from crossfade_airflow.operators.cutover import CutoverOperator
from crossfade_airflow.operators.harden import HardenOperator
from crossfade_airflow.operators.prepare import PrepareOperator
from crossfade_airflow.operators.rehearse import RehearseOperator
from crossfade_airflow.sensors.cutover_guard import CutoverGuardSensor
from crossfade_airflow.sensors.cutover_window import CutoverWindowSensor
from crossfade_airflow.sensors.replication_slot_lag import ReplicationSlotLagSensor
from crossfade_dags.guarded import beside, guard_of
from crossfade_dags.hooks import groups, with_hooks
from crossfade_dags.migrate_docs import TASK_DOCS
from crossfade_dags.stop_after import Stages
from crossfade_dags.validation import validation
from crossfade_dags.way_back import AFTER_CUTOVER, names_after_cutover, started_and_proved


@dataclass(frozen=True, kw_only=True)
class Ends:
    """The tasks between which an engine puts its own, not yet wired."""

    assess: AssessOperator
    prepare: PrepareOperator
    harden: HardenOperator
    validate: TaskGroup
    rehearse: RehearseOperator
    window: CutoverWindowSensor
    approve_cutover: CutoverApprovalOperator
    cutover: CutoverOperator
    cutover_guard: CutoverGuardSensor
    reconcile: TaskGroup


def ends(plan: Plan, file: str) -> Ends:
    """The tasks that every engine needs. To be called within the DAG."""
    shared = of_plan(plan)
    return Ends(
        assess=AssessOperator(plan_file=file, **named("assess")),
        prepare=PrepareOperator(plan_file=file, **named("prepare")),
        harden=HardenOperator(**named("harden"), **shared),
        validate=validation(plan, "validate", tooltip="Compare every row while clients write"),
        rehearse=RehearseOperator(**named("rehearse"), **shared),
        window=CutoverWindowSensor(**named("window"), **shared),
        approve_cutover=CutoverApprovalOperator(**named("approve_cutover"), **shared, plan_file=file),
        cutover=CutoverOperator(**named("cutover"), **shared),
        cutover_guard=guard_of(plan, "cutover", **named("cutover_guard")),
        reconcile=validation(plan, "reconcile", tooltip="Compare again, through the way back", after_cutover=True),
    )


def wire_end(plan: Plan, ends: Ends) -> None:
    """From the rehearsal to the end: the same for every engine."""
    chain(ends.rehearse, ends.window, ends.approve_cutover)
    with_hooks(plan, ends.approve_cutover, ends.cutover)
    beside(ends.cutover, ends.cutover_guard)
    chain(ends.cutover, *started_and_proved(plan, AFTER_CUTOVER, TASK_DOCS), ends.reconcile)


def last_stages(plan: Plan) -> Stages:
    """What `wire_end` wires, in order. A run cannot stop between a hook before the cutover, it, and its way back."""
    return (
        ("rehearse",),
        ("window",),
        ("approve_cutover",),
        (*groups(plan, "before"), "cutover", "cutover_guard", *names_after_cutover(plan)),
        ("reconcile", *groups(plan, "after", "undone")),
    )


def slot_lag(plan: Plan, slots: Any) -> ReplicationSlotLagSensor:
    """Wait until the slots of the source are nearly empty. :param slots: names, or the XCom that holds them"""
    return ReplicationSlotLagSensor(
        conn_id=plan.source,
        slots=slots,
        max_bytes=plan.lag.max_bytes,
        samples=plan.lag.samples,
        timeout=plan.lag.timeout.total_seconds(),
        **named("slot_lag"),
    )


def of_plan(plan: Plan) -> dict[str, Any]:
    """What every task after `prepare` is given: where the journal is, and whose."""
    return {"plan": plan.name, "target_conn_id": plan.target}


def named(task_id: str) -> dict[str, Any]:
    """A task's id and what the UI says about it."""
    return {"task_id": task_id, "doc_md": TASK_DOCS[task_id]}
