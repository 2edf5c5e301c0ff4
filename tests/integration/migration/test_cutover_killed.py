"""The critical section killed, or believed dead and alive: one side serves and nothing is lost."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from crossfade import phases
from crossfade.connect import end_sessions
from crossfade.cutover import decision, fence, order, recovery, steps
from crossfade.cutover.decision import Decision
from crossfade.journal import State
from crossfade.routers.base import Direction, Side
from crossfade.validation import run as validation
from crossfade_lab import verdict
from crossfade_lab.workload import Spec, WorkloadProcess

# --- killed -----------------------------------------------------------------------------------------------------------


def _cut_over_and_die(m: phases.Migration, name: str, after: bool) -> None:
    kind = next(kind for kind in (*steps.BEFORE_DECISION, *steps.AFTER_DECISION) if kind.name == name)
    real = kind.run

    def run(step: steps.Step) -> None:
        if after:
            real(step)
        os.kill(os.getpid(), signal.SIGKILL)

    kind.run = run  # type: ignore[method-assign]  # this process is about to die
    order.run(m, run_id="one")


@pytest.fixture
def writing(ready: Any, ledger: Path) -> Iterator[Any]:
    """The ready world, with clients writing; judged at the end."""
    ready.approve()
    spec = Spec(endpoints=[ready.through_router()], directory=str(ledger), clients=4, rate=100)
    with WorkloadProcess(spec):
        yield ready
    judged = verdict.verify(ledger, ready.through_router())
    assert judged.ok, judged
    assert judged.acked_writes > 0


@pytest.mark.parametrize(
    ("name", "after", "serves"),
    [
        ("pause", True, Side.SOURCE),
        ("stop", True, Side.SOURCE),
        ("decide", True, Side.TARGET),
        ("open", True, Side.TARGET),
    ],
)
def test_killed_at_a_step_an_abort_opens_the_side_that_has_authority(
    writing: Any, name: str, after: bool, serves: Side
) -> None:
    victim = multiprocessing.get_context("fork").Process(target=_cut_over_and_die, args=(writing.m, name, after))
    victim.start()
    victim.join(60)
    assert victim.exitcode == -signal.SIGKILL

    assert recovery.settle(writing.m).side is serves
    assert recovery.settle(writing.m).side is serves, "an abort may be run twice"

    assert writing.open_sides() == [serves]
    assert writing.can_write()
    if serves is Side.SOURCE:
        assert writing.state()["journal"] is State.ACTIVE


def test_clearing_a_killed_cutover_completes_it(writing: Any) -> None:
    victim = multiprocessing.get_context("fork").Process(target=_cut_over_and_die, args=(writing.m, "stop", True))
    victim.start()
    victim.join(60)

    order.run(writing.m, run_id="one")

    assert writing.open_sides() == [Side.TARGET]
    assert writing.can_write()


# --- believed dead ----------------------------------------------------------------------------------------------------


def test_a_task_that_was_believed_dead_cannot_lift_the_fence_of_its_successor(ready: Any) -> None:
    with (
        ready.m.session(Side.SOURCE, "zombie") as zombie,
        ready.m.session(Side.SOURCE, "successor") as successor,
        ready.m.session(Side.TARGET, "look") as target,
    ):
        first = decision.open_attempt(zombie, target, ready.m.plan, Direction.FORWARD).id
        decision.open_attempt(successor, target, ready.m.plan, Direction.FORWARD)
        fence.close(successor, plan="shop", exempt=fence.exempt_roles(successor))

        assert decision.decide(zombie, first, Decision.COMMIT) is Decision.ABORT
        assert decision.decide(zombie, first, Decision.ABORT) is Decision.ABORT
        assert fence.is_fenced(successor)
    recovery.settle(ready.m)
    assert ready.open_sides() == [Side.SOURCE]


def test_a_task_whose_sessions_were_ended_undoes_and_leaves_its_successor_alone(
    make_world: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = {"approvers": ["alice"], "application_roles": ["shop_app"], "max_pause": "2min"}
    ready = make_world(cutover=patient)  # or its watchdog would end the first task, which is this process
    ready.load()
    validation.validate(ready.m, run_id="one")
    ready.approve()
    real, seen = steps.Drain.run, []

    def overtaken(step: steps.Step) -> None:
        if seen:
            return real(step)
        seen.append(step)
        with ready.m.session(Side.SOURCE, "takeover") as conn:
            end_sessions(conn, "crossfade/shop/cutover")
        order.run(ready.m, run_id="one")  # the successor, from beginning to end
        return real(step)

    monkeypatch.setattr(steps.Drain, "run", overtaken)
    with pytest.raises(order.CutoverUndone):
        order.run(ready.m, run_id="one")

    assert ready.open_sides() == [Side.TARGET]
    assert ready.state()["journal"] is State.CUT_OVER
    assert ready.can_write()


def test_two_cutovers_at_once_are_refused(ready: Any) -> None:
    ready.approve()
    with ready.m.session(Side.SOURCE, "another") as another:
        decision.act_alone(another, "shop", seconds=1)
        with pytest.raises(order.Refused, match="another cutover or abort of shop is under way") as refused:
            order.run(ready.m, run_id="one")
    assert isinstance(refused.value.__cause__, decision.AnotherActs)
    assert ready.can_write()
    assert ready.open_sides() == [Side.SOURCE]
