"""Watching a migration: quiet while all is well, a sentence for whatever is not, and the source protected."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from crossfade import cleanup, phases, watch
from crossfade.cutover import decision, order
from crossfade.errors import Unreachable
from crossfade.journal import State
from crossfade.plan import Plan
from crossfade.plan_watch import SourceProtection, Watch
from crossfade.quantities import parse_duration
from crossfade.routers.base import Direction, Side
from crossfade.validation import run as validation


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PATIENCE", 2.0)


@pytest.fixture
def small(make_world: Callable[..., Any]) -> Any:
    """A world with few rows in one wave."""
    return make_world(rows=200, load={"waves": 1, "jobs": 2})


def findings(world: Any) -> list[str]:
    """What is wrong with the world's migration, of which there must be one."""
    watched = watch.watch(world.m)
    assert watched is not None
    return list(watched.findings)


def become(world: Any, pattern: str | None) -> list[str]:
    """Wait until the one finding matches; None: until there is none."""
    deadline = time.monotonic() + 60
    while True:
        seen = findings(world)
        if (pattern is None and not seen) or (pattern and len(seen) == 1 and re.search(pattern, seen[0])):
            return seen
        assert time.monotonic() < deadline, seen


def pinned(world: Any, **changes: Any) -> None:
    """Have the world's plan pinned with these sections."""
    plan: Plan = world.m.plan.model_copy(update=changes)
    world.m.plan = plan
    with world.m.journal() as journal:
        journal.pin(plan)


def samples(world: Any) -> int:
    with world.admin("target") as admin:
        return int(admin.execute("SELECT count(*) FROM crossfade.lag_sample").fetchone()[0])


def run_statement_of(world: Any, side: str, finding: str) -> None:
    """The remedy at the end of a finding, as a person would paste it."""
    with world.admin(side) as admin:
        admin.execute(finding.rsplit(": ", 1)[1].encode())


def test_what_happens_to_the_streams_is_told_before_and_after_the_cutover(small: Any) -> None:
    world = small
    assert watch.watch(world.m) is None, "no migration yet"
    phases.prepare(world.m)
    assert watch.watch(world.m) == watch.Watched(state=State.ACTIVE), "nothing streams yet"
    world.load()
    quiet = watch.watch(world.m)
    assert quiet is not None and quiet.findings == ()
    assert quiet.lag is not None and quiet.lag.seconds is not None and quiet.lag.seconds < 2
    assert samples(world) == 1

    with world.admin("target") as target:
        target.execute("ALTER SUBSCRIPTION crossfade_shop_1 DISABLE")
        (disabled,) = become(world, "crossfade_shop_1 on the target is disabled")
        run_statement_of(world, "target", disabled)
        become(world, None)
        target.execute("GRANT CONNECT ON DATABASE shop TO shop_app")
        become(world, "shop_app may connect to the target, which does not serve")
        target.execute("REVOKE CONNECT ON DATABASE shop FROM shop_app")
        become(world, None)
    pinned(world, source_protection=SourceProtection(max_retained_wal=1))
    become(world, r"crossfade_shop_1 keeps .* on the source, more than source_protection.max_retained_wal \(1 B\)")
    pinned(world, source_protection=SourceProtection())

    go_over(world)
    watched = watch.watch(world.m)
    assert watched is not None and (watched.state, watched.findings) == (State.CUT_OVER, ())
    assert watched.lag is not None and watched.lag.seconds is not None
    with world.admin("source") as source, world.admin("target") as target:
        source.execute("GRANT CONNECT ON DATABASE shop TO shop_app")
        become(world, "shop_app may connect to the source, which does not serve")
        source.execute("REVOKE CONNECT ON DATABASE shop FROM shop_app")
        source.execute("ALTER SUBSCRIPTION crossfade_shop_1_back DISABLE")
        become(world, "crossfade_shop_1_back on the source is disabled")
        pinned(world, source_protection=SourceProtection(max_retained_wal=1, on_exceed="drop_slot"))
        assert any("on the target, more than" in finding for finding in findings(world))
        assert slots(target) == ["crossfade_shop_1_back"], "the way back's is never dropped"
        pinned(world, source_protection=SourceProtection())
        target.execute(
            "SELECT pg_terminate_backend(active_pid, 10000) FROM pg_replication_slots WHERE active_pid IS NOT NULL"
        )
        target.execute("SELECT pg_drop_replication_slot('crossfade_shop_1_back')")
        assert any("The way back is lost" in finding for finding in findings(world))
    with world.m.journal() as journal:
        journal.mark(journal.get("shop").id, cleanup.BEGUN)
    become(world, r"a cleanup has begun .* trigger shop\.cleanup")


def go_over(world: Any) -> None:
    """Through the gate."""
    validation.validate(world.m, run_id="one")
    phases.record_approval(world.m, run_id="one", approver="alice", approved_at=datetime.now(UTC))
    order.run(world.m, run_id="one")


def slots(admin: psycopg.Connection) -> list[str]:
    return [name for (name,) in admin.execute("SELECT slot_name FROM pg_replication_slots ORDER BY 1").fetchall()]


def test_a_row_in_the_way_a_lost_cutover_and_a_slot_that_keeps_too_much(small: Any) -> None:
    world = small
    world.load()

    # a cutover whose host was lost while clients were held
    with world.m.session(Side.SOURCE, "test") as source, world.m.session(Side.TARGET, "test") as target:
        decision.open_attempt(source, target, world.m.plan, Direction.FORWARD)
        source.execute("UPDATE crossfade.attempt SET heartbeat_at = now() - interval '1 h'")
    (router,) = world.m.routers()
    with router:
        router.pause(time.monotonic() + 10)
    assert [finding for finding in findings(world) if "has been settled: No cutover of shop is final" in finding]
    with psycopg.connect(world.through_router(), connect_timeout=10) as client:
        assert client.execute("SELECT 1").fetchone() == (1,)
    become(world, None)

    # a row that keeps another from being applied
    insert = "INSERT INTO customers (id, email, name) OVERRIDING SYSTEM VALUE VALUES (900000, 'a@b', %s)"
    with world.admin("source") as source, world.admin("target") as target:
        pinned(world, guard=Watch(max_lag=parse_duration("3s")))
        target.execute(insert, ["early"])
        source.execute(insert, ["late"])
        wait_for(world, r"crossfade_shop_1 has failed \d+ times to apply")
        wait_for(world, r"longer than guard\.max_lag \(3s\)")
        pinned(world, guard=Watch())
        target.execute("DELETE FROM customers WHERE id = 900000")
        become(world, "has met rows on the target that were not as they had to be")

    # the target dies, the slot keeps ever more WAL, and the plan says what then
    protection = SourceProtection(max_retained_wal=1, on_exceed="drop_slot")
    world.m.plan = world.m.plan.model_copy(update={"source_protection": protection})
    world.pair.target.stop()
    unreachable, given_up = findings(world)
    assert "cannot connect to shop_target" in unreachable
    assert "crossfade_shop_1 dropped" in given_up and "Run the DAG abort with action abandon" in given_up
    with world.admin("source") as source:
        assert slots(source) == []
    world.pair.target.start()
    with world.m.journal() as journal:
        assert journal.get("shop").state is State.ACTIVE
    assert any("crossfade_shop_1 on the source is missing" in finding for finding in findings(world))


def test_slots_of_ours_are_dropped_whatever_the_engine_and_nobody_elses(small: Any) -> None:
    world = small
    phases.prepare(world.m)
    protection = SourceProtection(max_retained_wal=1, on_exceed="drop_slot")
    world.m.plan = world.m.plan.model_copy(update={"engine": "dms", "source_protection": protection})
    made = "SELECT pg_create_logical_replication_slot(%s, 'pgoutput')"
    with world.admin("source") as source:
        for name in ("crossfade_shop_1", "named_by_dms"):  # as a rollback arms the way forward; as DMS makes its own
            source.execute(made, [name])
        world.pair.target.stop()
        _, given_up = findings(world)
        assert "crossfade_shop_1 dropped" in given_up
        assert slots(source) == ["named_by_dms"]


def wait_for(world: Any, pattern: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        seen = findings(world)
        if any(re.search(pattern, finding) for finding in seen):
            return
        assert time.monotonic() < deadline, seen


@pytest.mark.slow
def test_a_slot_that_keeps_too_much_ends_the_migration_where_the_plan_says_so(small: Any) -> None:
    world = small
    world.load()
    pinned(world, source_protection=SourceProtection(max_retained_wal=1, on_exceed="drop_slot"))

    watched = watch.watch(world.m)

    assert watched is not None and watched.state is State.ABANDONED
    assert "Its streams are dropped, the source keeps no WAL for it" in watched.findings[0]
    with world.admin("source") as source:
        assert slots(source) == []
    with psycopg.connect(world.through_router(), connect_timeout=10) as client:
        assert client.execute("SELECT 1").fetchone() == (1,)
    assert watch.watch(world.m) is None
    for server in (world.pair.source, world.pair.target):
        server.stop()
    with pytest.raises(Unreachable):
        watch.watch(world.m)
