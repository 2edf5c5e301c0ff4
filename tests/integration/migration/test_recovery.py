"""An abort from states that no orderly end has left behind: a side that is dead, journals that are gone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from crossfade import phases
from crossfade.cutover import decision, fence, order, recovery, steps
from crossfade.cutover.authority import NothingKnown
from crossfade.cutover.decision import Undecided, WithoutAuthority
from crossfade.cutover.recovery import RecoveryIncomplete
from crossfade.cutover.watchdog import Watchdog
from crossfade.routers.base import Direction, Side
from crossfade.validation import run as validation
from crossfade_lab import testing
from crossfade_lab.postgres import binaries

from .conftest import World, migration


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """One world for all tests, which leave the source serving; the last one does not."""
    with (
        pytest.MonkeyPatch.context() as patch,
        testing.shop_pair() as pair,
        testing.bouncers(pair.source, pair.logins) as bouncers,
    ):
        patch.setenv("PG_BIN", str(binaries(18)))
        world = World(pair=pair, bouncers=bouncers, m=migration(pair, bouncers))
        world.load()
        validation.validate(world.m, run_id="one")
        phases.record_approval(world.m, run_id="one", approver="alice", approved_at=datetime.now(UTC))
        yield world


def _die_before(m: phases.Migration, name: str) -> None:
    kind = next(kind for kind in (*steps.BEFORE_DECISION, *steps.AFTER_DECISION) if kind.name == name)

    def run(step: steps.Step) -> None:
        assert step.section.watchdog is not None
        os.kill(step.section.watchdog.pid, signal.SIGKILL)  # nobody is to act but the test
        os.kill(os.getpid(), signal.SIGKILL)

    kind.run = run  # type: ignore[method-assign]  # in a process of its own
    order.run(m, run_id="one")


def die_before(world: World, step: str) -> None:
    victim = multiprocessing.get_context("fork").Process(target=_die_before, args=(world.m, step))
    victim.start()
    victim.join(120)
    assert victim.exitcode == -signal.SIGKILL


def test_with_a_dead_target_the_source_serves_again_and_the_rest_is_said(world: World) -> None:
    die_before(world, "drain")
    world.pair.target.kill()
    try:
        with pytest.raises(RecoveryIncomplete, match="the source serves"):
            recovery.settle(world.m)
        assert world.can_write()
    finally:
        world.pair.target.start()
    assert recovery.settle(world.m).side is Side.SOURCE
    assert world.open_sides() == [Side.SOURCE]


def test_with_a_dead_source_nothing_is_opened_until_it_can_be_read(world: World) -> None:
    die_before(world, "decide")
    world.pair.source.kill()
    try:
        with pytest.raises(Undecided, match="nothing was opened"):
            recovery.settle(world.m)
        assert world.open_sides() == []
    finally:
        world.pair.source.start()
    assert recovery.settle(world.m).side is Side.SOURCE
    assert world.can_write()


def test_with_the_targets_journal_gone_the_source_serves_again(world: World) -> None:
    die_before(world, "drain")
    with world.admin("target") as admin:
        admin.execute("ALTER SCHEMA crossfade RENAME TO crossfade_away")
    try:
        assert recovery.settle(world.m).side is Side.SOURCE
        assert world.can_write()
    finally:
        with world.admin("target") as admin:
            admin.execute("ALTER SCHEMA crossfade_away RENAME TO crossfade")
    with world.m.journal() as journal:  # nobody could tell it
        journal.conn.execute("UPDATE crossfade.migration SET state = 'active'")
    with world.m.session(Side.TARGET, "test") as target:
        target.execute("ALTER SUBSCRIPTION crossfade_shop_1 ENABLE")


def test_with_both_journals_gone_it_goes_by_what_it_sees(world: World) -> None:
    die_before(world, "drain")
    for side in ("source", "target"):
        with world.admin(side) as admin:
            admin.execute("ALTER SCHEMA crossfade RENAME TO crossfade_away")
    try:
        assert world.open_sides() == []
        assert recovery.settle(world.m).side is Side.SOURCE
        assert world.open_sides() == [Side.SOURCE], "the routers lead there: the application may come in again"
        assert world.can_write()
    finally:
        for side in ("source", "target"):
            with world.admin(side) as admin:
                admin.execute("ALTER SCHEMA crossfade_away RENAME TO crossfade")
    recovery.settle(world.m)
    assert world.open_sides() == [Side.SOURCE]


def test_a_role_that_is_gone_does_not_keep_the_fence_closed(world: World) -> None:
    with world.admin("source") as admin:
        admin.execute("CREATE ROLE passing LOGIN PASSWORD 'x'")
        admin.execute("GRANT CONNECT ON DATABASE shop TO passing")
    die_before(world, "drain")
    with world.admin("source") as admin:
        admin.execute("DROP ROLE passing")
    assert recovery.settle(world.m).side is Side.SOURCE
    assert world.can_write()


def test_a_login_that_is_let_in_for_good_is_in_the_ledger_once(world: World) -> None:
    with world.m.session(Side.TARGET, "test") as target, target.transaction(force_rollback=True):
        target.execute("UPDATE crossfade.fence SET may_connect = '[]'")
        for _ in range(2):
            fence.let_in(target, "shop_owner", keep=True)
        row = target.execute("SELECT may_connect AS ledger FROM crossfade.fence").fetchone()
        assert row is not None
        assert row["ledger"] == [{"role": "shop_owner", "grantable": False}]


def test_an_attempt_of_an_old_settlement_is_left_alone(world: World) -> None:
    with world.m.session(Side.SOURCE, "one") as source, world.m.session(Side.TARGET, "one") as target:
        first = decision.open_attempt(source, target, world.m.plan, Direction.FORWARD)
        second = decision.open_attempt(source, target, world.m.plan, Direction.FORWARD)
        assert "newer try" in recovery.settle(world.m, only=first.id, patience=0).sentence
        newest = decision.newest(source, "shop")
        assert newest is not None
        assert (newest.id, newest.decision) == (second.id, None)
    recovery.settle(world.m)


def test_a_watchdog_that_is_asked_goes_on_after_its_task(world: World) -> None:
    with world.m.session(Side.SOURCE, "one") as source, world.m.session(Side.TARGET, "one") as target:
        attempt = decision.open_attempt(source, target, world.m.plan, Direction.FORWARD)
        with Watchdog(world.m, attempt.id) as watchdog:
            watchdog.await_ready()
            watchdog.go_on_alone()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            newest = decision.newest(source, "shop")
            if newest is not None and newest.finished:
                break
            time.sleep(0.1)
        assert newest is not None
        assert newest.finished


def test_after_a_cutover_the_target_alone_tells_that_it_serves(world: World) -> None:
    """The last: the target serves from here on."""
    order.run(world.m, run_id="one")
    with (
        world.m.session(Side.SOURCE, "one") as source,
        world.m.session(Side.TARGET, "one") as target,
        pytest.raises(WithoutAuthority),
    ):
        decision.open_attempt(source, target, world.m.plan, Direction.FORWARD)
    world.pair.source.kill()
    try:
        assert recovery.settle(world.m).side is Side.TARGET
        assert world.can_write()
    finally:
        world.pair.source.start()
    for side in ("source", "target"):
        with world.admin(side) as admin:
            admin.execute("ALTER SCHEMA crossfade RENAME TO crossfade_away")
    try:
        with pytest.raises(NothingKnown, match="leads clients to the target"):
            recovery.settle(world.m)
        assert world.can_write()
    finally:
        for side in ("source", "target"):
            with world.admin(side) as admin:
                admin.execute("ALTER SCHEMA crossfade_away RENAME TO crossfade")
    assert world.open_sides() == [Side.TARGET]
