"""The main job without Airflow: a migration from end to end while clients write."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from crossfade import phases
from crossfade.cutover import order, steps
from crossfade.cutover.abandon import abandon
from crossfade.errors import NotOursToWrite, PreconditionError
from crossfade.journal import State
from crossfade.routers.base import Side
from crossfade.schema.compare import compare
from crossfade.validation import run as validation
from crossfade.validation.verdicts import MismatchFound
from crossfade_lab import processes, samples, verdict
from crossfade_lab.workload import Spec, WorkloadProcess


def approve(m: phases.Migration, run_id: str) -> None:
    phases.record_approval(m, run_id=run_id, approver="alice", approved_at=datetime.now(UTC))


def test_moves_a_database_that_is_written_to_and_loses_nothing(make_world: Callable, ledger: Path) -> None:
    world = make_world(rows=20_000, poolers=2)
    m = world.m
    endpoints = [bouncer.dsn(user="shop_app", dbname="shop") for bouncer in world.bouncers]
    with WorkloadProcess(Spec(endpoints=endpoints, directory=str(ledger), clients=8, rate=200)):
        world.load()
        found = validation.validate(m, run_id="one")
        approve(m, "one")
        began = time.time()
        summary = order.run(m, run_id="one")
        time.sleep(1)
        ended = time.time()

    assert len(found.tables) == 15
    assert [step.name for step in summary.steps] == [
        "pause", "fence", "drain", "stop", "not_null", "sequences", "arm", "prove", "smoke", "decide", "open",
    ]  # fmt: skip
    judged = verdict.verify(ledger, world.through_router())
    assert judged.ok, judged
    assert judged.acked_writes > 500
    stretch = samples.stretch(samples.read(ledger), began, ended)
    assert stretch.failed == 0
    with world.admin("target") as target:
        served_by = target.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'shop_app'").fetchone()
    assert served_by is not None
    validation.reconcile(m)


def test_source_and_target_are_defined_alike_afterwards(world: object) -> None:
    world.load()
    with world.m.session(Side.SOURCE, "test") as source, world.m.session(Side.TARGET, "test") as target:
        assert [str(difference) for difference in compare(source, target, world.m.plan.tables)] == []


def test_after_the_cutover_nothing_writes_to_the_target_again(world: object) -> None:
    world.load()
    validation.validate(world.m, run_id="one")
    approve(world.m, "one")
    order.run(world.m, run_id="one")

    with pytest.raises(NotOursToWrite, match="cut over"):
        phases.load_wave(world.m, 1)
    with pytest.raises(NotOursToWrite):
        phases.prepare(world.m)
    with pytest.raises(NotOursToWrite):
        abandon(world.m)
    with psycopg.connect(world.through_router()) as client:
        assert client.execute("SELECT count(*) FROM orders").fetchone() is not None
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(world.pair.dsn("source", "shop_app"))
    assert order.run(world.m, run_id="one").paused_ms == 0, "cleared again, it finds its work done"


def test_abandoning_leaves_no_slot_on_the_source(world: object) -> None:
    world.load()

    abandon(world.m)

    with world.admin("source") as source:
        assert source.execute("SELECT slot_name FROM pg_replication_slots").fetchall() == []
        assert source.execute("SELECT pubname FROM pg_publication").fetchall() == []
    with world.admin("target") as target:
        assert target.execute("SELECT subname FROM pg_subscription").fetchall() == []
        assert target.execute("SELECT roname FROM pg_replication_origin").fetchall() == []
    with world.m.journal() as journal:
        assert journal.find("shop") is None
    assert State.ABANDONED == "abandoned"


def test_ddl_after_the_copy_is_refused_and_taken_up_by_preparing_again(world: object) -> None:
    world.load()
    with world.admin("source") as source:
        source.execute("ALTER TABLE orders ADD COLUMN added_later integer DEFAULT 7")
    validation_refused = pytest.raises(MismatchFound, match="added_later")
    with validation_refused:
        validation.validate(world.m, run_id="one")

    world.load()

    assert len(validation.validate(world.m, run_id="two").tables) == 15


def test_what_an_undo_could_not_tidy_is_tidied_by_the_watchdog(world: object, monkeypatch: pytest.MonkeyPatch) -> None:
    world.load()
    validation.validate(world.m, run_id="one")
    approve(world.m, "one")

    def fail(step: steps.Step) -> None:
        raise PreconditionError("a fault of this test")

    enabled = "SELECT bool_and(subenabled) FROM pg_subscription"
    with monkeypatch.context() as broken:
        broken.setattr(steps.Smoke, "run", fail)
        broken.setattr(steps.Stop, "undo", fail)
        with pytest.raises(order.CutoverUndone, match="at the step smoke"):
            order.run(world.m, run_id="one")
    with psycopg.connect(world.through_router()) as client:
        assert client.execute("SELECT count(*) FROM orders").fetchone() is not None
    with world.admin("target") as target:
        assert processes.wait_until(lambda: target.execute(enabled).fetchone() == (True,), seconds=60, every=0.1)

    def tidied() -> bool:
        with world.m.journal() as journal:
            return journal.get("shop").state is State.ACTIVE

    assert processes.wait_until(tidied, seconds=60, every=0.1)
