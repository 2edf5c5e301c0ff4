"""The rehearsal: what is real in it leaves no trace, and what it finds is what the cutover asks."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from crossfade import phases
from crossfade.cutover import order, recovery, rehearsal, tryout
from crossfade.cutover.rehearsal import gate_body, rehearse
from crossfade.routers.base import Side
from crossfade.validation import run as validation
from crossfade_lab import processes, testing, verdict
from crossfade_lab.postgres import binaries
from crossfade_lab.workload import Spec, WorkloadProcess

from .conftest import World, migration

CUTOVER = {"approvers": ["alice"], "application_roles": ["shop_app"], "rehearsals": 2}


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One world for all tests, loaded and validated, with clients writing."""
    with (
        pytest.MonkeyPatch.context() as patch,
        testing.shop_pair() as pair,
        testing.bouncers(pair.source, pair.logins, count=2) as bouncers,
    ):
        patch.setenv("PG_BIN", str(binaries(18)))
        world = World(pair=pair, bouncers=bouncers, m=migration(pair, bouncers, cutover=CUTOVER))
        world.load()
        ledger = tmp_path_factory.mktemp("workload") / "ledger"
        with WorkloadProcess(Spec(endpoints=[world.through_router()], directory=str(ledger), clients=4, rate=60)):
            yield world
        judged = verdict.verify(ledger, world.through_router())
        assert judged.ok, judged
        assert judged.failed == 0, judged


def traces(world: World) -> list[Any]:
    """What a rehearsal touches, as it is now."""
    found: list[Any] = []
    for side in ("source", "target"):
        with world.admin(side) as admin:
            for query in (
                "SELECT slot_name FROM pg_replication_slots ORDER BY 1",
                "SELECT subname, subenabled FROM pg_subscription ORDER BY 1",
                "SELECT pubname FROM pg_publication ORDER BY 1",
                "SELECT relname FROM pg_class WHERE relname LIKE 'watermark%' ORDER BY 1",
                "SELECT datacl FROM pg_database WHERE datname = current_database()",
            ):
                found.append(admin.execute(query.encode()).fetchall())
    return found


def test_it_proves_the_way_back_and_holds_clients_for_an_instant(ready: World) -> None:
    rehearse(ready.m)  # grants CONNECT to the login of the way back, once
    before = traces(ready)

    shown = rehearse(ready.m)

    assert shown.blockers == ()
    assert shown.back_ms is not None
    assert shown.pause_ms is not None
    assert shown.held_ms is not None
    assert shown.held_ms >= shown.pause_ms > 0
    assert shown.predicted_ms is not None
    assert traces(ready) == before
    for bouncer in ready.bouncers:
        with psycopg.connect(bouncer.dsn(user="shop_app", dbname="shop"), connect_timeout=30) as client:
            client.execute("SELECT 1")


def test_a_cutover_without_the_rehearsals_that_the_plan_requires_is_refused(ready: World) -> None:
    validation.validate(ready.m, run_id="one")
    phases.record_approval(ready.m, run_id="one", approver="alice", approved_at=datetime.now(UTC))
    with ready.m.journal() as journal:
        journal.conn.execute("DELETE FROM crossfade.rehearsal")
    rehearse(ready.m)
    with pytest.raises(order.Refused, match="1 rehearsals found nothing in the way, the plan requires 2"):
        order.run(ready.m, run_id="one")


def test_what_is_in_the_way_is_listed_and_counts_as_no_clean_rehearsal(ready: World) -> None:
    with ready.m.journal() as journal:
        record = journal.get("shop")
        before = journal.clean_rehearsals(record)
    with ready.admin("source") as admin:
        admin.execute("SET application_name = 'a dashboard'")
        shown = rehearse(ready.m)
    assert any("a dashboard" in blocker for blocker in shown.blockers)
    assert shown.held_ms is None, "nobody is held where it would be for nothing"
    with ready.m.journal() as journal:
        assert journal.clean_rehearsals(record) == before


def test_the_gate_tells_of_rehearsals_and_of_the_way_back_and_holds_nobody(
    ready: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rehearse(ready.m)

    def held(*_: object) -> None:
        raise AssertionError("the gate held clients")

    monkeypatch.setattr(tryout, "_held", held)
    body = gate_body(ready.m, run_id="one", declared=[])
    assert "a watermark took" in body
    assert "clients were held for" in body
    assert "of 2 that the plan requires" in body


def test_a_transaction_that_stays_open_ends_the_hold_and_is_told(ready: World) -> None:
    with psycopg.connect(ready.through_router()) as client:
        client.execute("SELECT 1")  # in a transaction of its own until the end of the block
        shown = rehearse(ready.m)
    assert any("clients could not be held within 1 s" in blocker for blocker in shown.blockers)


def _rehearse_and_die(m: phases.Migration, where: str) -> None:
    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    target: Any = {"holding": tryout, "armed": tryout}[where]
    setattr(target, "let_traffic_flow" if where == "holding" else "_held", die)
    rehearse(m)


@pytest.mark.parametrize("where", ["holding", "armed"])
def test_killed_in_the_middle_it_is_tidied_and_clients_are_let_go(ready: World, where: str) -> None:
    before = traces(ready)
    victim = multiprocessing.get_context("fork").Process(target=_rehearse_and_die, args=(ready.m, where))
    victim.start()
    victim.join(60)
    assert victim.exitcode == -signal.SIGKILL

    def flows() -> bool:
        with psycopg.connect(ready.through_router(), connect_timeout=30) as client:
            client.execute("SELECT 1")
        return traces(ready) == before

    assert processes.wait_until(flows, seconds=30, every=0.2), "the watchdog looks after it"
    assert recovery.settle(ready.m).side is Side.SOURCE


def test_what_would_happen_is_told_in_words(ready: World) -> None:
    steps = rehearsal.what_would_happen(ready.m)
    assert [step.split(":")[0] for step in steps] == [
        "pause", "fence", "drain", "stop", "not_null", "sequences", "arm", "prove", "smoke", "decide", "open",
    ]  # fmt: skip
