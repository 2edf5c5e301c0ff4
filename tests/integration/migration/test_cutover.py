"""The critical section: refused, undone at every step, killed at every step; one side serves and nothing is lost."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from crossfade import phases
from crossfade.connect import end_sessions
from crossfade.cutover import decision, fence, order, recovery, steps
from crossfade.cutover.decision import Decision
from crossfade.errors import PreconditionError
from crossfade.journal import State
from crossfade.routers.base import Direction, Side
from crossfade.validation import run as validation
from crossfade_lab import verdict
from crossfade_lab.workload import Spec, WorkloadProcess

STEPS = [kind.name for kind in steps.BEFORE_DECISION]


@pytest.fixture
def ready(world: Any) -> Any:
    """A world whose migration is loaded and validated, but not approved."""
    world.load()
    validation.validate(world.m, run_id="one")
    return world


def approve(world: Any, run_id: str = "one", approver: str = "alice") -> None:
    phases.record_approval(world.m, run_id=run_id, approver=approver, approved_at=datetime.now(UTC))


def state(world: Any) -> dict[str, Any]:
    """What a cutover changes, as it is now."""
    with world.m.session(Side.SOURCE, "look") as source, world.m.session(Side.TARGET, "look") as target:
        subscriptions = target.execute("SELECT subname, subenabled FROM pg_subscription ORDER BY 1").fetchall()
        with world.m.journal() as journal:
            where = journal.get("shop").state
        return {
            "source lets in": fence.may_connect(source),
            "source fenced": fence.is_fenced(source),
            "target fenced": fence.is_fenced(target),
            "streams": subscriptions,
            "journal": where,
            "router": world.m.routers()[0].serving(),
        }


# --- refused ----------------------------------------------------------------------------------------------------------


def test_without_a_recorded_approval_it_refuses_and_changes_nothing(ready: Any) -> None:
    before = state(ready)
    with pytest.raises(order.Refused, match="Marking the gate as success opens nothing"):
        order.run(ready.m, run_id="one")
    assert state(ready) == before


def test_an_approval_of_another_run_does_not_count(ready: Any) -> None:
    approve(ready, run_id="another")
    with pytest.raises(order.Refused, match="nobody approved this run"):
        order.run(ready.m, run_id="one")


def test_an_approver_whom_the_plan_does_not_name_does_not_count(ready: Any) -> None:
    approve(ready, approver="mallory")
    with pytest.raises(order.Refused, match="'mallory' approved, but is none of the plan's approvers alice"):
        order.run(ready.m, run_id="one")


def test_an_approval_of_an_older_validation_does_not_count(ready: Any) -> None:
    approve(ready)
    validation.validate(ready.m, run_id="one")
    with pytest.raises(order.Refused, match="newer validation"):
        order.run(ready.m, run_id="one")


def test_an_approval_of_another_plan_does_not_count(make_world: Callable[..., Any]) -> None:
    world = make_world()
    world.load()
    validation.validate(world.m, run_id="one")
    approve(world)
    with world.m.journal() as journal:
        edited = world.m.plan.model_copy(update={"lag": world.m.plan.lag.model_copy(update={"samples": 9})})
        journal.pin(edited)
    with pytest.raises(order.Refused, match="approve it anew"):
        order.run(world.m, run_id="one")


def test_what_blocks_is_named_before_anybody_is_held(ready: Any) -> None:
    approve(ready)
    with ready.admin("source") as admin:
        admin.execute("SET application_name = 'a dashboard'")
        with pytest.raises(order.Refused, match=r"superuser postgres is connected .* a dashboard"):
            order.run(ready.m, run_id="one")
    assert ready.can_write()


def test_ddl_since_the_copy_blocks(ready: Any) -> None:
    approve(ready)
    with ready.admin("source") as admin:
        admin.execute("CREATE TABLE made_later (id int PRIMARY KEY)")
    with pytest.raises(order.Refused, match="DDL"):
        order.run(ready.m, run_id="one")


# --- undone -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, bool], None]:
    """Makes a step fail, before or after it had its effect."""

    def arrange(name: str, after: bool) -> None:
        kind = next(kind for kind in steps.BEFORE_DECISION if kind.name == name)
        real = kind.run

        def run(step: steps.Step) -> None:
            if after:
                real(step)
            raise PreconditionError("a fault of this test")

        monkeypatch.setattr(kind, "run", run)

    return arrange


def test_a_failure_at_any_step_before_the_decision_is_undone_and_the_next_try_succeeds(
    ready: Any, failing: Callable[[str, bool], None]
) -> None:
    approve(ready)
    before = state(ready)
    for name in STEPS:
        for after in (False, True):
            if after == (name == "decide"):  # after it, it is final; before its effect a step leaves what it found
                continue
            with pytest.MonkeyPatch.context() as patch:
                kind = next(kind for kind in steps.BEFORE_DECISION if kind.name == name)
                real = kind.run

                def run(step: steps.Step, real: Any = real, after: bool = after) -> None:
                    if after:
                        real(step)
                    raise PreconditionError("a fault of this test")

                patch.setattr(kind, "run", run)
                with pytest.raises(order.CutoverUndone, match=f"undone at the step {name}: a fault of this test"):
                    order.run(ready.m, run_id="one")
            assert state(ready) == before, f"{name}, {'after' if after else 'before'} its effect"
            assert ready.can_write()
            assert ready.open_sides() == [Side.SOURCE]

    order.run(ready.m, run_id="one")

    assert ready.open_sides() == [Side.TARGET]
    assert ready.can_write()


def test_a_failure_after_the_decision_goes_forward(ready: Any, failing: Callable[[str, bool], None]) -> None:
    approve(ready)
    failing("decide", True)
    order.run(ready.m, run_id="one")
    assert ready.open_sides() == [Side.TARGET]
    assert ready.can_write()


def test_a_transaction_longer_than_the_budget_undoes_the_cutover(make_world: Callable[..., Any]) -> None:
    world = make_world(
        cutover={"approvers": ["alice"], "application_roles": ["shop_app"], "max_pause": "500ms"},
    )
    world.load()
    validation.validate(world.m, run_id="one")
    approve(world)
    with psycopg.connect(world.through_router()) as client:
        client.execute("UPDATE orders SET updated_at = now() WHERE id = (SELECT min(id) FROM orders)")
        with pytest.raises(order.CutoverUndone, match="pause"):
            order.run(world.m, run_id="one")
        client.commit()
    assert world.can_write()
    assert world.open_sides() == [Side.SOURCE]


def test_a_smoke_statement_that_fails_undoes_the_cutover(make_world: Callable[..., Any]) -> None:
    smoke = {"approvers": ["alice"], "application_roles": ["shop_app"], "smoke": ["select 1 from nowhere"]}
    world = make_world(cutover=smoke)
    world.load()
    validation.validate(world.m, run_id="one")
    approve(world)
    with pytest.raises(order.CutoverUndone, match="select 1 from nowhere"):
        order.run(world.m, run_id="one")
    assert world.can_write()


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
    approve(ready)
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
        assert state(writing)["journal"] is State.ACTIVE


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
    ready: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    approve(ready)
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
    assert state(ready)["journal"] is State.CUT_OVER
    assert ready.can_write()


def test_two_cutovers_at_once_are_refused(ready: Any) -> None:
    approve(ready)
    with ready.m.session(Side.SOURCE, "another") as another:
        decision.act_alone(another, "shop", seconds=1)
        with pytest.raises(order.Refused, match="another cutover or abort of shop is under way") as refused:
            order.run(ready.m, run_id="one")
    assert isinstance(refused.value.__cause__, decision.AnotherActs)
    assert ready.can_write()
    assert ready.open_sides() == [Side.SOURCE]
