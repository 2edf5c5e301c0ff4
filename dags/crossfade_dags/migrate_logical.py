"""What ``<plan>.migrate`` does with the engine `logical`: one mapped task a wave of tables, each with its stream."""

from __future__ import annotations

from typing import Any

from airflow.sdk import TaskGroup, chain

from crossfade.plan import Plan
from crossfade_airflow.operators.load_wave import LoadWaveOperator
from crossfade_airflow.sensors.subscription_caught_up import SubscriptionCaughtUpSensor
from crossfade_dags.migrate_ends import Ends, last_stages, named, of_plan, slot_lag, wire_end
from crossfade_dags.stop_after import Stages

PICTURE = """\
 assess → prepare → load (a task a wave) → harden → catch_up → validate → rehearse
                                                                              │
            clients keep writing to the source all this time                  ▼
                                                           window → approve_cutover   you decide here
                                                                              │
                                            clients wait an instant           ▼
                                                                 cutover → reconcile"""


def stages(plan: Plan) -> Stages:
    """The tasks in their order."""
    return (
        ("assess",),
        ("prepare",),
        ("load",),
        ("harden",),
        ("catch_up",),
        ("validate",),
        *last_stages(plan),
    )


def wire(plan: Plan, ends: Ends) -> None:
    """Make the engine's tasks, and put all in their order."""
    waves = ends.prepare.output
    load = LoadWaveOperator.partial(
        **named("load"), **of_plan(plan), map_index_template="{{ task.tables }}"
    ).expand_kwargs(waves)
    chain(
        ends.assess,
        ends.prepare,
        load,
        ends.harden,
        _catch_up(plan, waves["streams"]),
        ends.validate,
        ends.rehearse,
    )
    wire_end(plan, ends)


def _catch_up(plan: Plan, streams: Any) -> TaskGroup:
    with TaskGroup("catch_up", tooltip="Wait until the target is current") as group:
        slot_lag(plan, streams)
        SubscriptionCaughtUpSensor(
            source_conn_id=plan.source,
            target_conn_id=plan.target,
            subscriptions=streams,
            max_seconds=plan.lag.max_seconds,
            samples=plan.lag.samples,
            timeout=plan.lag.timeout.total_seconds(),
            **named("caught_up"),
        )
    return group
