"""The guard in the triggerer: a cutover whose host is lost is settled, whatever Airflow still thinks of its task."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import psycopg
import pytest
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from crossfade import phases
from crossfade.cutover import decision, fence
from crossfade.cutover.section import opened
from crossfade.journal import State
from crossfade.migration import Migration
from crossfade.plan import parse_plan
from crossfade.routers.base import Direction, Side
from crossfade_airflow.connections import resolver
from crossfade_airflow.migrations import at_hand, pinned_migration
from crossfade_airflow.sensors.cutover_guard import CutoverGuardSensor, StillUnderWay, Unsettled
from crossfade_airflow.triggers import cutover_guard as guard_module
from crossfade_airflow.triggers.cutover_guard import CutoverGuardTrigger
from crossfade_lab import testing
from crossfade_lab.pgbouncer import ADMIN
from crossfade_lab.postgres import binaries

OF_PLAN = {"plan": "shop", "target_conn_id": "shop_target", "source_conn_id": "shop_source"}


def _plan(bouncer):
    return {
        "source": "shop_source",
        "target": "shop_target",
        "tables": {"include": ["billing.*"]},
        "routers": [
            {"kind": "pgbouncer", "admin": "pooler", "database": "shop", "switch": {"file": str(bouncer.databases)}}
        ],
        "cutover": {"approvers": ["alice"], "application_roles": ["shop_app"]},
    }


def _connections(pair, bouncer):
    """The connections that the plan names, as Airflow finds them."""
    found = {}
    for side, server in (("source", pair.source), ("target", pair.target)):
        found[f"SHOP_{side.upper()}"] = {
            "conn_type": "postgres",
            "host": server.host,
            "port": server.port,
            "schema": "shop",
            "login": "crossfade",
            "password": pair.logins.crossfade,
        }
    found["POOLER"] = found["SHOP_SOURCE"] | {
        "port": bouncer.port,
        "schema": "pgbouncer",
        "login": ADMIN,
        "password": bouncer.admin_password,
    }
    return found


@pytest.fixture(scope="module")
def world():
    """A migration that is ready for its cutover, and PgBouncer before it."""
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.setenv("PG_BIN", str(binaries(18)))
        pair = stack.enter_context(testing.shop_pair(rows=500))
        (bouncer,) = stack.enter_context(testing.bouncers(pair.source, pair.logins, count=1))
        connections = _connections(pair, bouncer)
        for name, connection in connections.items():
            patch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))
        m = at_hand(Migration(parse_plan(_plan(bouncer), name="shop"), resolver("shop")))
        for wave in phases.prepare(m).waves:
            phases.load_wave(m, wave.number)
        phases.harden(m)
        yield SimpleNamespace(pair=pair, bouncer=bouncer, m=m, connections=connections)


@pytest.fixture(autouse=True)
def connections(world, monkeypatch):
    monkeypatch.setattr(guard_module, "HAND_OVER", 0.0)
    for name, connection in world.connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))


def lose_the_host(world, *, silent):
    """
    Leave a cutover in its pause as a lost host does: clients held, the source fenced, nobody there any more.

    :param silent: seconds since its last heartbeat
    """
    with world.m.journal() as journal:
        record = journal.get("shop")
        with opened(world.m, record) as section:
            attempt = decision.open_attempt(section.old, section.new, world.m.plan, Direction.FORWARD).id
            journal.change_state(record.id, State.ACTIVE, State.CUTTING_OVER)
            for router in section.routers:
                router.pause(time.monotonic() + 5)
            fence.close(section.old, plan="shop", exempt=section.exempt)
            section.old.execute(
                "UPDATE crossfade.attempt SET started_at = started_at - interval '1 h',"
                " heartbeat_at = clock_timestamp() - make_interval(secs => %s) WHERE id = %s",
                [silent, attempt],
            )
    return attempt


def is_served(world, seconds):
    """Whether a client gets through PgBouncer to the source within that time."""
    try:
        with psycopg.connect(world.bouncer.dsn("shop_app", "shop"), autocommit=True, connect_timeout=seconds) as client:
            return client.execute("SELECT inet_server_port()").fetchone() == (world.pair.source.port,)
    except psycopg.OperationalError:
        return False


def state_of(world):
    with world.m.journal() as journal:
        return journal.get("shop").state


def guard(world, monkeypatch, states, *, since=None, seconds=60, **changes):
    """A trigger that is told these states of its task, one look after the other, the last one for ever."""
    told = list(states)
    asked = []

    def ask(trigger):
        asked.append(told.pop(0) if len(told) > 1 else told[0])
        return asked[-1]

    monkeypatch.setattr(CutoverGuardTrigger, "ask_task_state", ask)
    trigger = CutoverGuardTrigger(
        **{**OF_PLAN, **changes},
        dag_id="shop.migrate",
        run_id="r1",
        guarded="cutover",
        since=time.time() - 60 if since is None else since,
        deadline=time.time() + seconds,
        poke_interval=0.2,
    )
    trigger.asked = asked
    return trigger


def fire(trigger):
    """What it fires, and after how many seconds."""

    async def first():
        async for event in trigger.run():
            return event.payload

    start = time.monotonic()
    return asyncio.run(first()), time.monotonic() - start


def test_a_cutover_that_ends_well_leaves_nothing_to_do(world, monkeypatch):
    monkeypatch.setattr(guard_module, "HAND_OVER", 2.0)
    event, seconds = fire(guard(world, monkeypatch, ["", "queued", "running", "success"]))
    assert event == {"status": "over", "task_state": "success", "settled": [], "problem": ""}
    assert seconds >= 2, "fired before Airflow had seen the end of the worker that deferred"
    assert state_of(world) is State.ACTIVE


def test_a_lost_host_is_noticed_while_airflow_still_takes_the_task_for_running(world, monkeypatch):
    lose_the_host(world, silent=60)
    assert not is_served(world, 2), "clients are held"
    trigger = guard(world, monkeypatch, ["running"] * 10 + ["failed"])
    event, _ = fire(trigger)
    assert event["status"] == "over"
    assert len(event["settled"]) == 1
    assert "No cutover of shop is final: the source serves" in event["settled"][0]
    assert trigger.asked.count("running") == 10, "it stays until the task has ended"
    assert is_served(world, 10)
    assert state_of(world) is State.ACTIVE


def test_a_cutover_that_lives_is_left_alone_until_it_falls_silent(world, monkeypatch):
    attempt = lose_the_host(world, silent=0)
    trigger = guard(world, monkeypatch, ["running"], seconds=2)
    event, _ = fire(trigger)
    assert (event["status"], event["settled"]) == ("timeout", [])
    assert state_of(world) is State.CUTTING_OVER
    with world.m.session(Side.SOURCE, "test") as source:
        assert decision.newest(source, "shop").decision is None
        source.execute(
            "UPDATE crossfade.attempt SET heartbeat_at = started_at + interval '1 s' WHERE id = %s", [attempt]
        )
    event, _ = fire(guard(world, monkeypatch, ["failed"], since=0.0))
    assert event["status"] == "over"
    assert is_served(world, 10)


def test_what_an_earlier_run_left_is_not_this_runs_business(world, monkeypatch):
    lose_the_host(world, silent=1000)
    event, _ = fire(guard(world, monkeypatch, ["success"], since=time.time() - 100))
    assert (event["status"], event["settled"]) == ("over", [])
    assert state_of(world) is State.CUTTING_OVER
    fire(guard(world, monkeypatch, ["success"], since=0.0))
    assert state_of(world) is State.ACTIVE


def test_clients_are_let_go_although_the_target_is_dead_and_the_rest_is_said_to_be_left(world, monkeypatch):
    lose_the_host(world, silent=60)
    monkeypatch.setattr(guard_module, "LEFT_SECONDS", 2.0)
    dead = {**world.connections["SHOP_TARGET"], "port": 1}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_TARGET", json.dumps(dead))
    event, _ = fire(guard(world, monkeypatch, ["running", "failed"]))
    assert event["status"] == "incomplete"
    assert "shop_target" in event["problem"]
    assert is_served(world, 10)
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_TARGET", json.dumps(world.connections["SHOP_TARGET"]))
    event, _ = fire(guard(world, monkeypatch, ["failed"], since=0.0))
    assert event["status"] == "over"
    assert state_of(world) is State.ACTIVE


def test_where_the_cutover_is_skipped_it_ends_whatever_can_be_reached(world, monkeypatch):
    nowhere = {"target_conn_id": "nobody", "source_conn_id": "nobody"}
    event, _ = fire(guard(world, monkeypatch, ["skipped"], **nowhere))
    assert event["status"] == "never ran"


@pytest.mark.parametrize("hangs", [False, True])
def test_an_airflow_that_can_not_be_asked_does_not_keep_it_from_acting(world, monkeypatch, hangs):
    lose_the_host(world, silent=60)
    trigger = guard(world, monkeypatch, ["running"], seconds=3)

    def unreachable(trigger):
        if hangs:
            time.sleep(5)
        raise RuntimeError("the api-server is down")

    monkeypatch.setattr(CutoverGuardTrigger, "ask_task_state", unreachable)
    event, _ = fire(trigger)
    assert event["status"] == "timeout"
    assert len(event["settled"]) == 1
    assert is_served(world, 10)


def test_once_it_watches_it_needs_no_connection_of_airflows(world, monkeypatch):
    m = at_hand(pinned_migration("shop", "shop_target"))
    for name in world.connections:
        monkeypatch.delenv(f"AIRFLOW_CONN_{name}")
    (router,) = m.routers()
    try:
        assert router.serving() is Side.SOURCE
    finally:
        router.close()


SENSOR = {**OF_PLAN, "task_id": "cutover_guard", "guarded": "cutover", "gate": "approve_cutover"}


def test_the_sensor_gives_its_trigger_ids_and_times_that_survive_a_restart():
    answered = time.time() - 30
    ti = SimpleNamespace(
        dag_id="shop.migrate",
        xcom_pull=lambda task_ids: {"responded_at": datetime.fromtimestamp(answered, UTC)},
    )
    with pytest.raises(TaskDeferred) as deferred:
        CutoverGuardSensor(**SENSOR, timeout=100).execute({"ti": ti, "run_id": "r1"})
    path, kwargs = deferred.value.trigger.serialize()
    assert path == "crossfade_airflow.triggers.cutover_guard.CutoverGuardTrigger"
    assert kwargs["since"] == pytest.approx(answered, abs=0.01)
    assert 90 < kwargs["deadline"] - time.time() <= 100
    assert CutoverGuardTrigger(**kwargs).serialize() == (path, kwargs)
    assert "password" not in str(kwargs)


@pytest.mark.parametrize(
    ("status", "error"), [("never ran", AirflowSkipException), ("incomplete", Unsettled), ("timeout", StillUnderWay)]
)
def test_the_sensor_fails_only_where_something_is_left_to_be_done(status, error):
    event = {"status": status, "task_state": "skipped", "settled": [], "problem": "p"}
    with pytest.raises(error):
        CutoverGuardSensor(**SENSOR).execute_complete({}, event)


def test_the_sensor_succeeds_and_tells_what_was_settled():
    event = {"status": "over", "task_state": "failed", "settled": ["The source serves."], "problem": ""}
    told = CutoverGuardSensor(**SENSOR).execute_complete({}, event)
    assert told == {"task_state": "failed", "settled": ["The source serves."]}
