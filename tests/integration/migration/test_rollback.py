"""The way back: there and back again under load, and every write of either side on the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crossfade import phases
from crossfade.cutover import order, recovery, steps
from crossfade.errors import PreconditionError
from crossfade.journal import State
from crossfade.routers.base import Direction, Side
from crossfade.validation import run as validation
from crossfade_lab import verdict
from crossfade_lab.workload import Spec, WorkloadProcess


def leftovers(world: Any) -> dict[str, list[str]]:
    """Slots and subscriptions on each side."""
    found: dict[str, list[str]] = {}
    for side in ("source", "target"):
        with world.admin(side) as admin:
            slots = admin.execute("SELECT slot_name FROM pg_replication_slots ORDER BY 1").fetchall()
            subscriptions = admin.execute("SELECT subname FROM pg_subscription ORDER BY 1").fetchall()
            found[side] = [f"slot {name}" for (name,) in slots] + [f"sub {name}" for (name,) in subscriptions]
    return found


FORWARD = {
    "source": ["slot crossfade_shop_1", "slot crossfade_shop_2"],
    "target": ["sub crossfade_shop_1", "sub crossfade_shop_2"],
}
BACK = {
    "source": ["sub crossfade_shop_1_back", "sub crossfade_shop_2_back"],
    "target": ["slot crossfade_shop_1_back", "slot crossfade_shop_2_back"],
}


def approve(world: Any, direction: Direction, run_id: str) -> None:
    if direction is Direction.FORWARD:
        validation.validate(world.m, run_id=run_id)
        phases.record_approval(world.m, run_id=run_id, approver="alice", approved_at=datetime.now(UTC))
    else:
        phases.record_rollback_approval(world.m, run_id=run_id, approver="alice", approved_at=datetime.now(UTC))


def go(world: Any, direction: Direction, run_id: str) -> order.CutoverSummary:
    approve(world, direction, run_id)
    return order.run(world.m, run_id=run_id, direction=direction)


def digest(world: Any, side: str) -> list[Any]:
    """What clients wrote: every event and every order, as that side has it."""
    with world.admin(side) as admin:
        return [
            admin.execute("SELECT count(*), sum(hashtextextended(e::text, 0)::numeric) FROM events e").fetchone(),
            admin.execute("SELECT count(*), sum(hashtextextended(o::text, 0)::numeric) FROM orders o").fetchone(),
        ]


def test_there_and_back_again_under_load_loses_and_doubles_nothing(world: Any, ledger: Path) -> None:
    world.load()
    spec = Spec(endpoints=[world.through_router()], directory=str(ledger), clients=4, rate=100)
    with WorkloadProcess(spec):
        for number, direction in enumerate((Direction.FORWARD, Direction.BACK, Direction.FORWARD, Direction.BACK)):
            summary = go(world, direction, f"run {number}")
            assert [step.name for step in summary.steps][-1] == "open"
            assert world.open_sides() == [direction.new]
            assert leftovers(world) == (BACK if direction is Direction.FORWARD else FORWARD)
            time.sleep(1)

    judged = verdict.verify(ledger, world.through_router())
    assert judged.ok, judged
    assert judged.acked_writes > 100
    with world.m.journal() as journal:
        assert journal.get("shop").state is State.ACTIVE
    deadline = time.monotonic() + 30
    while digest(world, "source") != digest(world, "target") and time.monotonic() < deadline:
        time.sleep(0.2)
    assert digest(world, "source") == digest(world, "target")
    validation.validate(world.m, run_id="at the end")


def test_a_rollback_that_fails_at_any_step_is_undone_and_the_next_try_succeeds(world: Any) -> None:
    world.load()
    go(world, Direction.FORWARD, "there")
    approve(world, Direction.BACK, "back")
    for kind in steps.BEFORE_DECISION:
        with pytest.MonkeyPatch.context() as patch:
            real = kind.run

            def run(step: steps.Step, real: Any = real) -> None:
                if step.name != "decide":
                    real(step)
                raise PreconditionError("a fault of this test")

            patch.setattr(kind, "run", run)
            with pytest.raises(order.CutoverUndone, match=f"rollback was undone at the step {kind.name}"):
                order.run(world.m, run_id="back", direction=Direction.BACK)
        assert world.open_sides() == [Side.TARGET], kind.name
        assert leftovers(world) == BACK, kind.name
        with world.m.journal() as journal:
            assert journal.get("shop").state is State.CUT_OVER

    order.run(world.m, run_id="back", direction=Direction.BACK)

    assert world.open_sides() == [Side.SOURCE]
    assert recovery.settle(world.m).side is Side.SOURCE
    assert order.run(world.m, run_id="back", direction=Direction.BACK).steps == (), "it is done already"


def test_a_rollback_without_an_approval_of_its_own_is_refused(world: Any) -> None:
    world.load()
    go(world, Direction.FORWARD, "there")
    with pytest.raises(order.Refused, match="clear approve_rollback"):
        order.run(world.m, run_id="there", direction=Direction.BACK)
    assert world.open_sides() == [Side.TARGET]


def test_before_a_cutover_there_is_nothing_to_roll_back(world: Any) -> None:
    world.load()
    with pytest.raises(PreconditionError, match="a rollback begins where it is cut over"):
        order.run(world.m, run_id="back", direction=Direction.BACK)


@pytest.mark.parametrize(("source_major", "target_major"), [(15, 18), pytest.param(16, 15, marks=pytest.mark.slow)])
def test_there_and_back_with_a_version_that_tells_no_origins(
    make_world: Callable[..., Any], ledger: Path, source_major: int, target_major: int
) -> None:
    world = make_world(source_major=source_major, target_major=target_major)
    world.load()
    spec = Spec(endpoints=[world.through_router()], directory=str(ledger), clients=4, rate=60)
    with WorkloadProcess(spec):
        for number, direction in enumerate((Direction.FORWARD, Direction.BACK, Direction.FORWARD)):
            go(world, direction, f"run {number}")
            assert world.open_sides() == [direction.new]
            time.sleep(0.5)
    judged = verdict.verify(ledger, world.through_router())
    assert judged.ok, judged
    deadline = time.monotonic() + 30
    while digest(world, "source") != digest(world, "target") and time.monotonic() < deadline:
        time.sleep(0.2)
    assert digest(world, "source") == digest(world, "target")
