"""Cleaning up: nothing is left behind on either side, and not a moment before nobody needs it any more."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from crossfade import cleanup as module
from crossfade import control, phases, remains
from crossfade.cleanup import CleanupRefused, CleanupReport, cleanup, record_cleanup_approval
from crossfade.connect import Endpoint
from crossfade.cutover import order, recovery
from crossfade.cutover.authority import NothingKnown
from crossfade.engines.logical.engine import LogicalEngine
from crossfade.engines.logical.stream import Stream
from crossfade.errors import PreconditionError
from crossfade.journal import NoMigration
from crossfade.plan_routers import PgBouncerRouter
from crossfade.routers.base import Direction, Side
from crossfade.schema.compare import compare
from crossfade.validation import run as validation
from crossfade_lab import testing
from crossfade_lab.catalogs import catalogs, differences
from crossfade_lab.pgbouncer import Destination

#: What PostgreSQL itself grants whoever creates a role (16 and newer): none may take it back.
BY_ITSELF = "by postgres"


def cut_over(world: Any, direction: Direction = Direction.FORWARD) -> None:
    """Through the gate, to the other side."""
    run_id = f"cutover {direction}"
    if direction is Direction.FORWARD:
        validation.validate(world.m, run_id=run_id)
        phases.record_approval(world.m, run_id=run_id, approver="alice", approved_at=datetime.now(UTC))
    else:
        phases.record_rollback_approval(world.m, run_id=run_id, approver="alice", approved_at=datetime.now(UTC))
    order.run(world.m, run_id=run_id, direction=direction)


def seen(world: Any, side: str) -> Any:
    with world.admin(side) as admin:
        return catalogs(admin)


def clean(world: Any, **options: Any) -> CleanupReport:
    return cleanup(world.m, run_id="end", **{"early": True, **options})


def may_connect(world: Any, side: str) -> bool:
    try:
        psycopg.connect(world.pair.dsn(side, "shop_app"), connect_timeout=60).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture
def small(make_world: Callable[..., Any]) -> Any:
    """A world with few rows, whose way back is promised for no time."""
    return make_world(rows=200, rollback={"window": "0s"}, load={"waves": 1, "jobs": 2})


def of_ours(world: Any) -> list[str]:
    """Whatever bears our name on the target."""
    found = seen(world, "target")
    return [f"{kind}: {line}" for kind, lines in found.items() for line in lines if "crossfade_" in line.split(" ")[0]]


def test_the_source_is_what_it_was_and_the_target_has_what_it_has_and_nothing_of_ours(make_world: Callable) -> None:
    world = make_world(rollback={"window": "0s"}, target_from_source="way_back")
    known = world.m.resolve
    back = replace(known("shop_target"), user="way back", password="secret")
    world.m.resolve = lambda name: back if name == "way_back" else known(name)
    with world.admin("source") as source, world.admin("target") as target:
        source.execute("REVOKE CONNECT ON DATABASE shop FROM PUBLIC")
        source.execute("GRANT CONNECT ON DATABASE shop TO shop_app, shop_readers")
        target.execute("CREATE ROLE \"way back\" LOGIN REPLICATION PASSWORD 'secret'")
    before, empty = seen(world, "source"), seen(world, "target")
    world.load()
    cut_over(world)

    assert "shop: CONNECT to way back grantable f" in seen(world, "target")["databases"], "its stream logs in with it"

    report = clean(world, early=False, reopen_source=True)

    assert differences(before, seen(world, "source")) == []
    after = seen(world, "target")
    with world.m.session(Side.SOURCE, "test") as source, world.m.session(Side.TARGET, "test") as target:
        assert [str(each) for each in compare(source, target, world.m.plan.tables)] == []
    for kind in ("publications", "subscriptions", "slots", "origins", "event_triggers"):
        assert after[kind] == empty[kind], kind
    assert [line for line in after["namespaces"] if line.startswith("crossfade")] == []
    assert {line for line in after["roles"] - empty["roles"] if not line.startswith("shop_")} == set()
    added = after["memberships"] - empty["memberships"]
    assert [line for line in added if "crossfade in" in line and BY_ITSELF not in line] == []
    granted = {line for line in after["databases"] if line.startswith("shop:")}
    assert granted - {line for line in before["databases"] if line.startswith("shop:")} == set()
    assert (may_connect(world, "source"), may_connect(world, "target")) == (True, True)
    assert report.reopening == ()
    kept = json.loads(json.dumps(report.journal))
    assert [attempt["decision"] for attempt in kept["source"]["attempt"]] == ["commit"]
    assert kept["target"]["migration"][0]["state"] == "cut over"
    assert {step["name"] for step in kept["target"]["step"]} >= {"fence", "decide", "open"}
    with pytest.raises(NoMigration):
        clean(world)


def test_by_default_the_source_stays_closed_and_the_report_says_how_to_open_it(small: Any) -> None:
    world = small
    before = seen(world, "source")
    world.load()
    cut_over(world)
    with world.admin("source") as lingering:
        report = clean(world, early=False)
        assert any(f"pid {lingering.info.backend_pid}" in note for note in report.notes)
        assert (may_connect(world, "source"), may_connect(world, "target")) == (False, True)
        changed = differences(before, seen(world, "source"))
        assert {line.split(":")[0] for line in changed} == {"- databases"}, changed
        for statement in report.reopening:
            lingering.execute(statement.encode())
    assert differences(before, seen(world, "source")) == []
    with pytest.raises(PreconditionError, match="holds rows"):
        phases.prepare(world.m)
    with pytest.raises(NothingKnown, match="PgBouncer shop leads clients to the target"):
        recovery.settle(world.m)
    assert may_connect(world, "target")
    assert world.m.routers()[0].serving() is Side.TARGET


@pytest.mark.slow
def test_while_the_way_back_is_promised_it_takes_an_approval_of_that_very_run(world: Any) -> None:
    world.load()
    with pytest.raises(CleanupRefused, match="it is active"):
        clean(world)
    cut_over(world)
    before = seen(world, "source"), seen(world, "target")
    with pytest.raises(CleanupRefused, match="promised for 47 h 59 min"):
        cleanup(world.m, run_id="end")
    record_cleanup_approval(world.m, run_id="another", approver="alice", approved_at=datetime.now(UTC))
    with pytest.raises(CleanupRefused, match="promised"):
        cleanup(world.m, run_id="end")
    with pytest.raises(module.NotApproved, match="run end"):
        module.require_approval(world.m, "end")
    assert before == (seen(world, "source"), seen(world, "target"))
    cut_over(world, Direction.BACK)  # it is still there
    cut_over(world)

    record_cleanup_approval(world.m, run_id="end", approver="alice", approved_at=datetime.now(UTC))
    module.require_approval(world.m, "end")
    cleanup(world.m, run_id="end")

    assert of_ours(world) == []


def fault(*args: Any, **options: Any) -> None:
    raise RuntimeError("a fault of this test")


def test_a_failure_at_any_point_leaves_the_target_serving_and_the_next_try_goes_on(small: Any) -> None:
    world = small
    before = seen(world, "source")
    world.load()
    cut_over(world)
    real = remains.drop_schema

    def only_on_the_target(conn: Any) -> None:
        return fault() if conn.info.port == world.pair.source.port else real(conn)

    faults: list[tuple[Any, str, Any]] = [
        (LogicalEngine, "finish", fault),
        (LogicalEngine, "drop", fault),
        (Stream, "unpublish", fault),  # in the middle of dropping either direction
        (module, "give_up_grants", fault),  # in the target's last transaction
        (module, "_strangers", fault),  # after it
        (remains, "drop_schema", only_on_the_target),  # in the source's last transaction
    ]
    for owner, name, broken in faults:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, name, broken)
            with pytest.raises(RuntimeError):
                clean(world, reopen_source=True)
        assert recovery.settle(world.m).side is Side.TARGET, name
        assert (may_connect(world, "source"), may_connect(world, "target")) == (False, True), name
        if name == "unpublish":
            with world.admin("target") as admin:
                admin.execute("CREATE VIEW public.dashboard AS SELECT name, ms FROM crossfade.step")
                with pytest.raises(remains.InTheWay, match=r"view (public\.)?dashboard depends on table"):
                    clean(world)
                admin.execute("DROP VIEW public.dashboard")

    clean(world, reopen_source=True)

    assert differences(before, seen(world, "source")) == []
    assert of_ours(world) == []


@pytest.mark.slow
def test_poolers_that_lead_to_the_source_now_or_after_a_restart_are_in_the_way(small: Any) -> None:
    world = small
    with testing.bouncers(world.pair.source, world.pair.logins) as (reading,):
        with_readers(world, reading)
        world.load()
        cut_over(world)
        testing.lead_to(reading.databases, world.pair.target)
        reading.restart()
        (bouncer,) = world.bouncers
        text = bouncer.databases.read_text()
        bouncer.databases.write_text(text.replace(str(world.pair.target.port), str(world.pair.source.port)))
        with pytest.raises(CleanupRefused, match=r"databases\.ini leads shop to .* not the target") as refused:
            clean(world)
        assert len(refused.value.reasons) == 1
        bouncer.restart()
        with pytest.raises(CleanupRefused, match="PgBouncer shop leads to the source: lead it"):
            clean(world, poolers_are_permanent=True)
        bouncer.stop()
        with pytest.raises(CleanupRefused, match="PgBouncer shop could not be asked"):
            clean(world, poolers_are_permanent=True)
        bouncer.databases.write_text(text)
        bouncer.start()
        testing.lead_to(reading.databases, world.pair.source)
        reading.restart()
        with pytest.raises(CleanupRefused, match="PgBouncer shop leads to the source: lead it") as refused:
            clean(world)
        assert len(refused.value.reasons) == 1, "that of the readers"
        testing.lead_to(reading.databases, world.pair.target)
        reading.restart()
        clean(world)


def with_readers(world: Any, pooler: Any) -> None:
    """Give the plan a router for clients that only read."""
    entry, known = world.m.plan.routers[0], world.m.resolve
    reader = PgBouncerRouter.model_validate(
        {**entry.model_dump(), "side": "ro", "admin": ["readers"], "switch": {"file": str(pooler.databases)}}
    )
    console = Endpoint.from_dsn("readers", pooler.admin_dsn())
    world.m.resolve = lambda name: console if name == "readers" else known(name)
    world.m.plan = world.m.plan.model_copy(update={"routers": (entry, reader)})


@pytest.mark.slow
def test_a_main_file_that_the_cutover_chose_is_in_the_way_until_it_is_permanent(small: Any) -> None:
    world = small
    (bouncer,) = world.bouncers
    servers = {"source": world.pair.source, "target": world.pair.target}
    files = bouncer.write_conffiles(
        {
            side: {"shop": Destination(host=server.host, port=server.port, dbname="shop")}
            for side, server in servers.items()
        }
    )
    (entry,) = world.m.plan.routers
    switch = {"conffile": {side: str(path) for side, path in files.items()}}
    chosen = PgBouncerRouter.model_validate({**entry.model_dump(), "switch": switch})
    world.m.plan = world.m.plan.model_copy(update={"routers": (chosen,)})
    world.load()
    cut_over(world)

    with pytest.raises(CleanupRefused, match=r"console_0 reads .*target\.ini only because.*poolers_are_permanent"):
        clean(world)
    bouncer.conffile = files["target"]
    bouncer.restart()
    clean(world)


@pytest.mark.slow
def test_what_another_plan_needs_stays_and_the_completed_migration_is_kept(world: Any) -> None:
    world.load()
    cut_over(world)
    with world.m.session(Side.SOURCE, "other") as source, world.m.session(Side.TARGET, "other") as target:
        control.add_stream(source, "shop_dms_1")
        control.add_stream(target, "shop_dms_1")
        source.execute("CREATE PUBLICATION crossfade_shop_dms_1 FOR TABLE crossfade.watermark_shop_dms_1")
        source.execute("SELECT pg_create_logical_replication_slot('crossfade_shop_dms_1', 'pgoutput')")
        source.execute("SELECT pg_create_logical_replication_slot('crossfade_shop_7', 'pgoutput')")  # an older try's

    report = clean(world)

    assert "slot crossfade_shop_7" in report.removed
    assert any("which shop_dms need" in line for line in report.removed)
    with world.m.session(Side.SOURCE, "other") as source, world.m.session(Side.TARGET, "other") as target:
        slots = [row["slot_name"] for row in source.execute("SELECT slot_name FROM pg_replication_slots").fetchall()]
        assert slots == ["crossfade_shop_dms_1"]
        assert source.execute("SELECT plan FROM crossfade.attempt").fetchall() == []
        states = target.execute("SELECT plan, state FROM crossfade.migration").fetchall()
        assert states == [{"plan": "shop", "state": "completed"}]
        partitions = "SELECT relname FROM pg_class WHERE relname ~ '^watermark_' AND relkind = 'r'"
        for conn in (source, target):
            assert conn.execute(partitions).fetchall() == [{"relname": "watermark_shop_dms_1"}]
    assert may_connect(world, "target")
    with pytest.raises(PreconditionError, match="since the cutover of shop: preparing would shut them out"):
        phases.prepare(world.m)
    assert may_connect(world, "target")


def test_names_of_another_plan_that_begin_alike_are_never_taken_for_ours() -> None:
    pattern = remains.names_of("shop")
    taken = {name: bool(re.match(pattern, f"crossfade_{name}")) for name in ("shop_1", "shop_12_back", "shop_dms_1")}
    assert taken == {"shop_1": True, "shop_12_back": True, "shop_dms_1": False}
    assert not re.match(pattern, "crossfade_shop_1_1"), "the first wave of the plan shop_1"
