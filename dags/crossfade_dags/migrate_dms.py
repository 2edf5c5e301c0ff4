"""What ``<plan>.migrate`` does with the engine `dms`: one task of AWS DMS that loads, stops, and goes on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import TaskGroup, chain

from crossfade.engines.dms.resource import name_of
from crossfade.engines.logical.waves import stream_name
from crossfade.plan import Plan
from crossfade.plan_dms import Dms
from crossfade_airflow.operators.assessment_run import AssessmentRunOperator
from crossfade_airflow.operators.check_lobs import CheckLobsOperator
from crossfade_airflow.operators.create_task import CreateTaskOperator
from crossfade_airflow.operators.drop_not_null import DropNotNullOperator
from crossfade_airflow.operators.map_tables import MapTablesOperator
from crossfade_airflow.operators.provision import ProvisionOperator
from crossfade_airflow.operators.resume_task import ResumeTaskOperator
from crossfade_airflow.operators.size_lobs import SizeLobsOperator
from crossfade_airflow.operators.start_task import StartTaskOperator
from crossfade_airflow.sensors.dms_cdc_latency import DmsCdcLatencySensor
from crossfade_airflow.sensors.dms_full_load import DmsFullLoadSensor
from crossfade_airflow.sensors.dms_task_running import DmsTaskRunningSensor
from crossfade_airflow.sensors.dms_validation import DmsValidationSensor
from crossfade_dags.migrate_ends import Ends, last_stages, named, of_plan, slot_lag, wire_end
from crossfade_dags.stop_after import Stages

PICTURE = """\
 assess → prepare → provision → size_lobs → drop_not_null → load (by AWS DMS) → harden
                                                                                   │
      ┌────────────────────────────────────────────────────────────────────────────┘
      ▼
 resume_task → catch_up → validate → rehearse
                                        │
            clients keep writing        ▼
            all this time            window → approve_cutover   you decide here
                                                     │
            clients wait                             ▼
            an instant                           cutover → reconcile"""

_POKE_SECONDS = 5.0  #: between two looks at AWS, which throttles an account: a few plans at a time stay far below


def stages(plan: Plan) -> Stages:
    """The tasks in their order."""
    return (
        ("assess",),
        ("prepare",),
        ("provision",),
        ("size_lobs",),
        ("drop_not_null",),
        ("load",),
        ("harden",),
        ("resume_task",),
        ("catch_up",),
        ("validate", "check_lobs", *(("dms_validation",) if _dms(plan).validation else ())),
        *last_stages(plan),
    )


def wire(plan: Plan, ends: Ends) -> None:
    """Make the engine's tasks, and put all in their order."""
    resume_task = ResumeTaskOperator(**named("resume_task"), **of_plan(plan))
    chain(
        ends.assess,
        ends.prepare,
        ProvisionOperator(**named("provision"), **of_plan(plan)),
        SizeLobsOperator(**named("size_lobs"), **of_plan(plan)),
        DropNotNullOperator(**named("drop_not_null"), **of_plan(plan)),
        _load(plan),
        ends.harden,
        resume_task,
        _catch_up(plan, resume_task.output),
        [ends.validate, *_checks(plan)],
        ends.rehearse,
    )
    wire_end(plan, ends)


def _load(plan: Plan) -> TaskGroup:
    dms = _dms(plan)
    with TaskGroup("load", tooltip="AWS DMS loads all tables, and stops when they are consistent") as group:
        map_tables = MapTablesOperator(**named("map_tables"), **of_plan(plan))
        chain(
            map_tables,
            CreateTaskOperator(definition=map_tables.output, **named("create_task"), **of_plan(plan)),
            *_assessment(plan),
            StartTaskOperator(**named("start_task"), **of_plan(plan)),
            DmsTaskRunningSensor(**named("task_running"), **_of_task(plan, dms.start_timeout)),
            DmsFullLoadSensor(**named("full_load"), **_of_task(plan, dms.load_timeout)),
        )
    return group


def _assessment(plan: Plan) -> list[AssessmentRunOperator]:
    dms = _dms(plan)
    if dms.assessment is None:
        return []
    return [
        AssessmentRunOperator(
            replication_task_id=name_of(plan.name),
            service_role_arn=dms.assessment.role,
            bucket=dms.assessment.bucket,
            folder=dms.assessment.folder,
            exclude=list(dms.assessment.exclude),
            aws_conn_id=dms.aws,
            poke_interval=_POKE_SECONDS,
            timeout=dms.start_timeout.total_seconds(),
            **of_plan(plan),
            **named("dms_assessment"),
        )
    ]


def _catch_up(plan: Plan, slot: Any) -> TaskGroup:
    dms = _dms(plan)
    with TaskGroup("catch_up", tooltip="Wait until the target is current") as group:
        slot_lag(plan, slot)
        DmsCdcLatencySensor(
            max_seconds=dms.latency.max_seconds,
            samples=dms.latency.periods,
            source_conn_id=plan.source,
            stream=stream_name(plan.name, 1),
            **named("cdc_latency"),
            **_of_task(plan, plan.lag.timeout),
        )
    return group


def _checks(plan: Plan) -> list[CheckLobsOperator | DmsValidationSensor]:
    """What is asked beside the validation of Crossfade's own."""
    checks = [CheckLobsOperator(**named("check_lobs"), **of_plan(plan))]
    if _dms(plan).validation:
        checks.append(DmsValidationSensor(**named("dms_validation"), **_of_task(plan, plan.lag.timeout)))
    return checks


def _of_task(plan: Plan, timeout: timedelta) -> dict[str, Any]:
    """What every sensor of the replication task is given."""
    return {
        **of_plan(plan),
        "aws_conn_id": _dms(plan).aws,
        "replication_task_id": name_of(plan.name),
        "poke_interval": _POKE_SECONDS,
        "timeout": timeout.total_seconds(),
    }


def _dms(plan: Plan) -> Dms:
    if plan.dms is None:  # a plan with this engine has it: see crossfade.plan
        raise ValueError(f"the plan {plan.name} has no section dms")
    return plan.dms
