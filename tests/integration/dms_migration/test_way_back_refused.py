"""The way back by AWS DMS where something goes wrong: undone cutovers, a task that fails, a lost slot; and its end."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from airflow.sdk.exceptions import TaskDeferred
from psycopg.types.json import Jsonb

from crossfade import phases, watch
from crossfade.cleanup import cleanup
from crossfade.connect import Endpoint, scalar
from crossfade.cutover import decision, fence, luggage, order, recovery, rollback_gate
from crossfade.cutover.decision import Decision
from crossfade.engines.dms import starting, stream_task, task
from crossfade.engines.dms.access import dms_role, role_of_way_back
from crossfade.engines.dms.refusals import AwsUnreachable
from crossfade.engines.dms.resource import name_of
from crossfade.engines.dms.starting import NothingArmed, prove_armed, start_armed
from crossfade.engines.dms.stream import DmsStream
from crossfade.engines.dms.stream_errors import StreamLost, TaskGone
from crossfade.journal import Journal, State
from crossfade.migration import Migration
from crossfade.routers.base import Direction, Side
from crossfade.schema.compare import compare
from crossfade.validation import run as validation
from crossfade.validation.returned import confirm_return
from crossfade_airflow.operators import StartWayBackOperator
from crossfade_airflow.sensors import WayBackProvedSensor
from crossfade_airflow.triggers import sampling
from crossfade_lab.aws.local import ACCESS_KEY, REGION, SECRET_KEY
from crossfade_lab.catalogs import catalogs, differences
from crossfade_lab.processes import wait_until
from crossfade_lab.shop import data as shop

TABLES = (
    'CREATE TABLE "Order Items" (id int PRIMARY KEY, note jsonb NOT NULL)',
    """INSERT INTO "Order Items" SELECT n, json_build_object('text', repeat('x', n)) FROM generate_series(1, 200) n""",
    "CREATE TABLE gate (id int PRIMARY KEY, open int NOT NULL)",
    "INSERT INTO gate VALUES (1, 0)",
    "GRANT SELECT ON gate TO shop_app",
)
SLOTS = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
CHANGES = {
    "dms": {
        "back": {
            "source": {"connection": "back_source", "tls": "none"},
            "target": {"connection": "back_target", "tls": "none"},
            "plugin": "pgoutput",
        }
    },
    "rollback": {"way_back": "dms"},
    "lag": {"max_seconds": 30.0},  # after an undo DMS tries again after five seconds
    "cutover": {
        "approvers": ["alice"],
        "max_pause": "30s",
        "application_roles": ["shop_app"],
        "smoke": ["select 1 / open from public.gate"],
    },
}


def seen(world: Any, side: str) -> Any:
    with world.admin(side) as admin:
        return catalogs(admin)


@pytest.fixture(scope="module")
def world(small_world: Callable[..., Any]) -> Any:
    """A migration that streams, and has no way to open its gate: `before` and `empty` are the catalogs as they were."""
    world = small_world(*TABLES, **CHANGES)
    pair, known = world.pair, world.m.resolve
    servers = {"back_source": pair.target, "back_target": pair.source}

    def resolve(asked: str) -> Endpoint:
        if asked not in servers:
            found: Endpoint = known(asked)
            return found
        login = {"user": "shop_dms_back", "password": pair.logins.shop_dms_back, "dbname": world.database}
        return Endpoint.from_dsn(asked, servers[asked].dsn(**login))

    if not world.value("source", "SELECT count(*) FROM pg_roles WHERE rolname = 'shop_dms_back'"):
        shop.grant_dms_back_roles(pair.source, pair.target, pair.logins)
    going_back = replace(world, m=Migration(world.m.plan, resolve, world.m.clients))
    catalogs_before = seen(world, "source"), seen(world, "target")
    phases.prepare(going_back.m)
    shop.let_local_dms_read_back(pair.target, world.database)
    going_back.complete()
    going_back.equal()
    return SimpleNamespace(w=going_back, m=going_back.m, before=catalogs_before[0], empty=catalogs_before[1])


def back_task(world: Any) -> task.TaskState | None:
    return task.describe(world.w.dms, name_of(world.m.plan.name, "back"))


def cut_over(world: Any) -> None:
    validation.validate(world.m, run_id="one")
    world.w.approve()
    order.run(world.m, run_id="one")


def roll_back(world: Any) -> None:
    phases.record_rollback_approval(world.m, run_id="back", approver="alice", approved_at=datetime.now(UTC))
    order.run(world.m, run_id="back", direction=Direction.BACK)


OPEN, CLOSED = "UPDATE gate SET open = 1", "UPDATE gate SET open = 0"


def test_before_a_cutover_nothing_waits_to_be_started(world: Any) -> None:
    with pytest.raises(NothingArmed, match="is active"):
        start_armed(world.m)


def test_who_takes_over_without_airflow_knows_the_roles_of_dms(world: Any) -> None:
    taken = luggage.unpack(luggage.pack(world.m))
    assert {dms_role(taken, side) for side in Side} == {"shop_dms"}
    assert {role_of_way_back(taken, side) for side in Side} == {"shop_dms_back"}


def test_a_slot_of_ours_is_dropped_before_aws_is_asked(world: Any) -> None:
    def nobody(*_: object) -> Any:
        raise AwsUnreachable("nobody answers")

    lonely = Migration(world.m.plan, world.m.resolve, nobody)
    with lonely.session(Side.SOURCE, "test") as source, lonely.session(Side.TARGET, "test") as target:
        record = Journal(target).get(lonely.plan.name)
        stream = DmsStream(lonely, Direction.FORWARD, source=source, target=target, record=record)
        stream.records.keep("again task", stream.task, made=True)
        stream.slot.make(20)
        with pytest.raises(AwsUnreachable):
            stream.drop()
        assert stream.slot.lost() == "missing"
        stream.records.forget("again task")


def test_who_was_let_in_to_read_the_target_is_so_no_more_at_the_end(world: Any) -> None:
    with world.m.session(Side.SOURCE, "test") as source, world.m.session(Side.TARGET, "test") as target:
        record = Journal(target).get(world.m.plan.name)
        stream = DmsStream(world.m, Direction.BACK, source=source, target=target, record=record)
        opens_to = scalar(target, "SELECT may_connect FROM crossfade.fence WHERE database = current_database()")
        ledger = "UPDATE crossfade.fence SET may_connect = %s WHERE database = current_database()"
        target.execute(ledger, [Jsonb([])])  # as where PUBLIC may not connect
        stream.arm_ahead(live=False)
        assert "shop_dms_back" in {entry["role"] for entry in fence.may_connect(target)}
        stream.drop()
        assert "shop_dms_back" not in {entry["role"] for entry in fence.may_connect(target)}
        target.execute(ledger, [Jsonb(opens_to)])
    assert back_task(world) is None


def dies(world: Any, act: Callable[[Any], None]) -> None:
    """A cutover or rollback that fails in the pause and undoes nothing; then whoever takes over settles it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order, "undo", lambda section, steps: Decision.ABORT)
        with pytest.raises(order.CutoverUndone, match="smoke"):
            act(world)
    assert world.w.value("target", SLOTS) == 1
    recovery.settle(luggage.unpack(luggage.pack(world.m)), patience=0)


def test_a_cutover_that_dies_in_the_pause_is_settled_without_a_slot(world: Any) -> None:
    dies(world, cut_over)
    assert world.w.value("target", SLOTS) == 0
    world.w.execute("source", """INSERT INTO "Order Items" VALUES (800, '{"text": "still streaming"}')""")
    world.w.arrives('SELECT id, note FROM "Order Items" WHERE id >= 800 ORDER BY 1')


def test_a_cutover_that_is_undone_leaves_no_slot_and_the_next_one_finds_its_task(world: Any) -> None:
    with pytest.raises(order.CutoverUndone, match="smoke"):
        cut_over(world)
    assert world.w.value("target", SLOTS) == 0
    made = back_task(world)
    assert made is not None and not made.has_run
    may_write = "SELECT has_table_privilege('shop_dms_back', '\"Order Items\"', 'INSERT')"
    assert not world.w.value("source", may_write), "production serves there, and assess would refuse it"
    world.w.execute("source", OPEN)
    cut_over(world)
    assert world.w.value("target", SLOTS) == 1
    found = back_task(world)
    assert found is not None and found.arn == made.arn
    assert found.migration_type == "cdc"


def test_nothing_is_started_while_or_after_somebody_goes_the_other_way(world: Any) -> None:
    with world.m.session(Side.TARGET, "test") as target, pytest.MonkeyPatch.context() as patch:
        patch.setattr(starting, "LOCK_SECONDS", 0.2)
        decision.act_alone(target, world.m.plan.name, seconds=5)
        with pytest.raises(decision.AnotherActs):
            start_armed(world.m)
        patch.setattr(decision, "act_alone", lambda *_, **__: Journal(target).set_state(record.id, State.ROLLING_BACK))
        record = Journal(target).get(world.m.plan.name)
        with pytest.raises(NothingArmed, match="is rolling back by now"):
            start_armed(world.m)
        Journal(target).set_state(record.id, State.CUT_OVER)
    found = back_task(world)
    assert found is not None and not found.has_run
    may_write = "SELECT has_table_privilege('shop_dms_back', '\"Order Items\"', 'INSERT')"
    assert not world.w.value("source", may_write)


def test_with_a_task_that_fails_nobody_goes_back_and_cleared_it_goes_on(world: Any) -> None:
    start_armed(world.m)
    found = back_task(world)
    assert found is not None
    assert wait_until(lambda: task.existing(world.w.dms, found.identifier).status == "running", seconds=30, every=0.1)
    world.w.aws.fault(found.arn, fail="could not extend file: No space left on device")
    assert wait_until(lambda: task.existing(world.w.dms, found.identifier).status == "failed", seconds=30, every=0.1)
    with pytest.raises(order.Refused, match=r"by AWS DMS is broken: .* a database server is out of storage"):
        roll_back(world)
    watched = watch.watch(world.m)
    assert watched is not None and "is broken" in " ".join(watched.findings)
    assert "is broken" in rollback_gate.gate_body(world.m, run_id="back", declared=[])
    world.w.aws.fault(found.arn)
    start_armed(world.m)
    assert prove_armed(world.m) < 60
    validation.reconcile(world.m)
    assert watch.watch(world.m).findings == ()  # type: ignore[union-attr]


def breaks_while_it_is_made_ready(world: Any) -> None:
    """A rollback whose carrier fails while AWS is asked for the way forward: refused, before clients are held."""
    found, make = back_task(world), stream_task.make
    assert found is not None

    def breaking(stream: DmsStream) -> None:
        make(stream)
        world.w.aws.fault(found.arn, fail="could not extend file: No space left on device")
        assert wait_until(lambda: back_task(world).status == "failed", seconds=60, every=0.1)  # type: ignore[union-attr]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream_task, "make", breaking)
        with pytest.raises(order.Refused, match=r"is broken: .* out of storage"):
            roll_back(world)
    assert world.w.value("source", SLOTS) == 0
    world.w.aws.fault(found.arn)
    start_armed(world.m)
    prove_armed(world.m)


@pytest.fixture
def airflow(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's connections to all that the plan names."""
    monkeypatch.setattr(sampling, "HAND_OVER", 0)
    for conn_id in ("shop_source", "shop_target", "dms_source", "dms_target", "back_source", "back_target"):
        found = world.m.resolve(conn_id)
        login = {"host": found.host, "port": found.port, "schema": found.dbname, "login": found.user}
        connection = {"conn_type": "postgres", "password": found.password, **login}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
    extra = {"endpoint_url": world.w.aws.url, "region_name": REGION}
    aws = {"conn_type": "aws", "login": ACCESS_KEY, "password": SECRET_KEY, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(aws))


def run(world: Any, kind: Any, **given: Any) -> Any:
    """Run one task of the plan with its trigger, as worker, triggerer and worker do."""
    operator = kind(task_id="t", plan=world.m.plan.name, target_conn_id="shop_target", **given)
    context = {"ti": SimpleNamespace(try_number=1)}
    try:
        return operator.execute(context)
    except TaskDeferred as deferred:
        _, arguments = deferred.trigger.serialize()
        again = type(deferred.trigger)(**arguments)

        async def first() -> Any:
            async for event in again.run():
                return event.payload

        return operator.execute_complete(context, asyncio.run(first()))


@pytest.mark.usefixtures("airflow")
def test_a_rollback_that_is_undone_leaves_no_slot_and_rows_go_on_coming_back(world: Any) -> None:
    world.w.execute("target", CLOSED)
    world.w.execute("target", """INSERT INTO "Order Items" VALUES (900, '{"text": "on the target"}')""")
    dies(world, roll_back)
    assert world.w.value("source", SLOTS) == 0
    with pytest.raises(order.CutoverUndone, match="smoke"):
        roll_back(world)
    assert world.w.value("source", SLOTS) == 0
    # larger than any that was loaded, and than the limit that was made of those
    world.w.execute(
        "target", """INSERT INTO "Order Items" VALUES (901, json_build_object('text', repeat('y', 200000)))"""
    )
    new = """SELECT id, length(note->>'text') FROM "Order Items" WHERE id >= 900 ORDER BY 1"""
    both = [(900, len("on the target")), (901, 200_000)]
    assert wait_until(lambda: world.w.rows("source", new) == both, seconds=30, every=0.1), back_task(world)
    world.w.execute("target", OPEN)
    breaks_while_it_is_made_ready(world)
    roll_back(world)
    with world.w.admin("source") as conn, pytest.raises(psycopg.errors.IntegrityError):
        conn.execute("""INSERT INTO "Order Items" VALUES (902, NULL)""")
    again = run(world, StartWayBackOperator)
    assert again == name_of(world.m.plan.name, "again")
    proved = run(world, WayBackProvedSensor, replication_task_id=again, poke_interval=0.2, timeout=60)
    assert 0 < proved["seconds"] < 60
    assert "the target is kept current" in " ".join(confirm_return(world.m))
    assert world.w.value("target", SLOTS) == 0
    assert back_task(world) is None


def test_a_table_that_is_suspended_is_lost_and_a_task_that_somebody_deletes_is_not_made_anew(world: Any) -> None:
    cut_over(world)
    start_armed(world.m)
    prove_armed(world.m)
    found = back_task(world)
    assert found is not None
    world.w.aws.fault(found.arn, suspend=["public.gate"])
    lost = r"without 1 of its tables, whose changes are lost .*public\.gate.* The way back is lost"
    assert wait_until(lambda: re.search(lost, " ".join(watch.watch(world.m).findings)), seconds=30, every=0.5)  # type: ignore[union-attr]
    with pytest.raises(order.Refused, match=lost):
        roll_back(world)
    world.w.dms.stop_replication_task(ReplicationTaskArn=found.arn)
    assert wait_until(lambda: task.existing(world.w.dms, found.identifier).status == "stopped", seconds=30, every=0.1)
    world.w.dms.delete_replication_task(ReplicationTaskArn=found.arn)
    assert wait_until(lambda: back_task(world) is None, seconds=30, every=0.1)
    with pytest.raises(TaskGone, match="AWS DMS has it no more"):
        start_armed(world.m)
    with pytest.raises(order.Refused, match=r"AWS DMS has it no more.* The way back is lost"):
        roll_back(world)


def test_a_slot_that_is_lost_is_said_and_cleaning_up_leaves_nothing(world: Any) -> None:
    slot = f"crossfade_{world.m.plan.name}_1_back"
    world.w.execute("target", f"SELECT pg_drop_replication_slot('{slot}')")
    with pytest.raises(StreamLost, match="The way back is lost"):
        start_armed(world.m)
    with pytest.raises(order.Refused, match="The way back is lost"):
        roll_back(world)
    cleanup(world.m, run_id="end", early=True, reopen_source=True)
    left = differences(world.before, seen(world.w, "source"))
    owners = ("acl {}", "acl {shop_owner=")  # what was granted and revoked leaves the owner's own, which were implied
    assert [line for line in left if not any(own in line for own in owners)] == []
    with world.m.session(Side.SOURCE, "test") as source, world.m.session(Side.TARGET, "test") as target:
        assert [str(each) for each in compare(source, target, world.m.plan.tables)] == []
    after = seen(world.w, "target")
    for kind in ("publications", "subscriptions", "slots", "origins", "namespaces"):
        assert after[kind] == world.empty[kind], kind
    assert [line for line in after["roles"] - world.empty["roles"] if not line.startswith("shop_")] == []
    mine = name_of(world.m.plan.name)
    assert [t for t in world.w.dms.describe_replication_tasks()["ReplicationTasks"] if mine in str(t)] == []
    assert [e for e in world.w.dms.describe_endpoints()["Endpoints"] if mine in str(e)] == []
