"""The watchdog: clients are served again within moments, whatever becomes of the task, and nobody has to ask for it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest

from crossfade import phases
from crossfade.cutover import decision, order, recovery, steps
from crossfade.cutover.guard import STALE, Guard
from crossfade.cutover.watchdog import Watchdog
from crossfade.journal import State
from crossfade.routers.base import Direction, Side
from crossfade.validation import run as validation
from crossfade_lab import processes, testing, verdict
from crossfade_lab.postgres import binaries
from crossfade_lab.workload import Spec, WorkloadProcess

from .conftest import World, migration

PATIENCE = 30.0  #: seconds: what is broken ends here; how long it takes is measured elsewhere


@pytest.fixture(scope="module")
def writing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, WorkloadProcess]]:
    """One world for all tests, ready for its cutover, with clients writing; the ledger is judged at the end."""
    ledger = tmp_path_factory.mktemp("workload") / "ledger"
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
        spec = Spec(endpoints=[world.through_router()], directory=str(ledger), clients=4, rate=100)
        with WorkloadProcess(spec) as workload:
            yield world, workload
        judged = verdict.verify(ledger, world.through_router())
        assert judged.ok, judged
        assert judged.acked_writes > 0


def _cut_over(m: phases.Migration, name: str, do: Callable[[], None]) -> None:
    """Cut over in this process, in which that happens before the step."""
    kind = next(kind for kind in (*steps.BEFORE_DECISION, *steps.AFTER_DECISION) if kind.name == name)
    real = kind.run

    def run(step: steps.Step) -> None:
        do()
        real(step)

    kind.run = run  # type: ignore[method-assign]  # in a process of its own
    order.run(m, run_id="one")


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _hang() -> None:
    time.sleep(3600)


def victim(m: phases.Migration, name: str, do: Callable[[], None]) -> Any:
    process = multiprocessing.get_context("fork").Process(target=_cut_over, args=(m, name, do), daemon=True)
    process.start()
    return process


def served_again(workload: WorkloadProcess) -> None:
    before = workload.status()["acked"]
    assert processes.wait_until(lambda: workload.status().get("acked", 0) > before + 50, seconds=PATIENCE, every=0.1)


def settled(world: Any) -> bool:
    """Whether the newest attempt is finished: the last thing that whoever looks after it does."""
    with world.m.session(Side.SOURCE, "look") as source:
        attempt = decision.newest(source, "shop")
    return attempt is not None and attempt.finished


def killed_and_looked_after(world: World, workload: WorkloadProcess, step: str, serves: Side) -> None:
    """The task is killed before that step; nobody does anything."""
    process = victim(world.m, step, _die)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL

    assert processes.wait_until(lambda: settled(world), seconds=PATIENCE, every=0.1)

    served_again(workload)
    assert recovery.settle(world.m).side is serves
    with world.m.journal() as journal:
        assert journal.get("shop").state is (State.ACTIVE if serves is Side.SOURCE else State.CUT_OVER)


@pytest.mark.parametrize("step", ["fence", "prove", "decide"])
def test_a_task_that_is_killed_in_the_pause_is_looked_after(writing: Any, step: str) -> None:
    killed_and_looked_after(*writing, step, Side.SOURCE)


def test_a_task_that_hangs_in_the_pause_is_killed_and_looked_after(writing: Any) -> None:
    world, workload = writing
    process = victim(world.m, "drain", _hang)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    served_again(workload)
    assert recovery.settle(world.m).side is Side.SOURCE


def test_without_the_watchdog_and_the_task_the_guard_acts(writing: Any) -> None:
    world, workload = writing
    process = victim(world.m, "stop", _die_with_the_watchdog)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    guard = Guard(world.m)
    assert guard.act() is None, "its heartbeat is fresh: nobody knows that the host is lost"

    def acted() -> bool:
        return guard.act() is not None

    assert processes.wait_until(acted, seconds=STALE + PATIENCE, every=0.2)
    guard.close()

    served_again(workload)
    assert settled(world)
    assert recovery.settle(world.m).side is Side.SOURCE


def _die_with_the_watchdog() -> None:
    subprocess.run(["pkill", "-KILL", "-P", str(os.getpid()), "-f", "crossfade.cutover.watchdog_process"], check=True)
    _die()


def test_a_dead_watchdog_undoes_a_cutover_that_lives(writing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world, workload = writing
    real = steps.Fence.run

    def run(step: steps.Step) -> None:
        real(step)
        assert step.section.watchdog is not None
        os.kill(step.section.watchdog.pid, signal.SIGKILL)
        processes.wait_until(lambda: not step.section.watchdog.alive, seconds=PATIENCE, every=0.01)

    monkeypatch.setattr(steps.Fence, "run", run)
    with pytest.raises(order.CutoverUndone, match="watchdog died"):
        order.run(world.m, run_id="one")
    served_again(workload)


def test_an_abort_that_is_asked_for_is_heard_between_two_steps(writing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world, workload = writing
    real = steps.Drain.run

    def run(step: steps.Step) -> None:
        real(step)
        decision.ask_to_abort(step.section.old, step.section.attempt.id)

    monkeypatch.setattr(steps.Drain, "run", run)
    with pytest.raises(order.CutoverUndone, match="asked this cutover to give up"):
        order.run(world.m, run_id="one")
    served_again(workload)
    assert recovery.settle(world.m).side is Side.SOURCE


def test_without_a_watchdog_nobody_is_held(writing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world, workload = writing
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(order.Refused, match="the watchdog did not start"):
        order.run(world.m, run_id="one")
    served_again(workload)
    assert settled(world)


def test_a_watchdog_whose_task_is_done_leaves_everything_alone(writing: Any) -> None:
    world, _ = writing
    with world.m.session(Side.SOURCE, "one") as source, world.m.session(Side.TARGET, "one") as target:
        attempt = decision.open_attempt(source, target, world.m.plan, Direction.FORWARD).id
        with Watchdog(world.m, attempt) as watchdog:
            watchdog.await_ready()
            first = _heartbeat(source, attempt)
            assert processes.wait_until(lambda: _heartbeat(source, attempt) > first, seconds=PATIENCE, every=0.1)
        assert not watchdog.alive
        newest = decision.newest(source, "shop")
        assert newest is not None
        assert newest.decision is None
        decision.decide(source, attempt, decision.Decision.ABORT)
        decision.finish(source, attempt)


def test_a_host_that_is_lost_before_its_first_heartbeat_is_noticed_as_soon(writing: Any) -> None:
    world, workload = writing
    with world.m.session(Side.SOURCE, "one") as source, world.m.session(Side.TARGET, "one") as target:
        decision.open_attempt(source, target, world.m.plan, Direction.FORWARD)
    guard = Guard(world.m)
    assert guard.act() is None
    assert processes.wait_until(lambda: guard.act() is not None, seconds=2 * STALE, every=0.5)
    guard.close()
    served_again(workload)
    assert settled(world)


def _heartbeat(conn: psycopg.Connection[Any], attempt: UUID) -> datetime:
    row = conn.execute("SELECT heartbeat_at FROM crossfade.attempt WHERE id = %s", [attempt]).fetchone()
    assert row is not None
    at: datetime = row["heartbeat_at"]
    return at


def test_a_task_that_is_killed_after_the_decision_is_completed(writing: Any) -> None:
    """The last: the target serves from here on."""
    killed_and_looked_after(*writing, "open", Side.TARGET)
