"""A dozen cases of the crash matrix, one of each fault; and that the matrix notices what it looks for."""

from __future__ import annotations

from collections.abc import Iterator

import evidence
import pytest
from cases import Case, Runner
from faults import fault
from victim import why_not_contained

from crossfade.routers.base import Direction, Side

FORWARD, BACK = Direction
PATIENCE = 3.0  #: promises are for a machine of their own, tests share theirs

CASES = [
    Case(direction=FORWARD, step="fence", after=True, fault="task"),
    Case(direction=FORWARD, step="decide", after=True, fault="task"),
    Case(direction=FORWARD, step="prove", after=False, fault="cut"),
    Case(direction=BACK, step="decide", after=False, fault="task"),
    Case(direction=BACK, step="arm", after=True, fault="target"),
    Case(direction=FORWARD, step="drain", after=False, fault="source"),
    Case(direction=BACK, step="open", after=False, fault="task+watchdog"),
    Case(direction=BACK, step="stop", after=True, fault="frozen"),
    Case(direction=FORWARD, step="open", after=False, fault="pooler"),
    Case(direction=FORWARD, step="arm", after=True, fault="container"),
    Case(direction=BACK, step="fence", after=True, fault="marked-failed"),
    Case(direction=FORWARD, step="pause", after=True, fault="cleared"),
]


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with Runner(patience=PATIENCE) as running:
        yield running


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_clients_are_served_again_and_nothing_is_lost(runner: Runner, case: Case) -> None:
    if fault(case.fault).contained and (why := why_not_contained()):
        pytest.skip(why)
    result = runner.run(case)
    assert result.ok, result
    assert result.acked > 0


def test_writes_on_the_side_that_does_not_serve_are_noticed(runner: Runner) -> None:
    world = runner.prepare(Side.SOURCE)
    serving, idle = Side.SOURCE, Side.TARGET
    write = "INSERT INTO events (uid, kind, value, payload) VALUES (%s, 'order.put', %s, '{}')"
    with world.servers[serving].connect("shop") as there, world.servers[idle].connect("shop") as here:
        there.execute(write, ["tampered-0-1", 1])
        assert evidence.same_on_both(world, serving, "tampered", seconds=30) == []
        assert evidence.taken_in_turn(world, "tampered", [serving]) == []
        here.execute(write, ["tampered-0-2", 2])
        there.execute(write, ["tampered-0-3", 3])
        assert "1 writes only on the side" in evidence.same_on_both(world, serving, "tampered", seconds=1)[0]
        assert evidence.taken_in_turn(world, "tampered", [serving]) == [
            f"writes were taken by {serving} > {idle} > {serving}; should be {serving}"
        ]
        here.execute("DELETE FROM events WHERE uid = 'tampered-0-2'")


def test_an_open_fence_and_a_pooler_that_leads_elsewhere_are_noticed(runner: Runner) -> None:
    world = runner.prepare(Side.SOURCE)
    serving, idle = Side.SOURCE, Side.TARGET
    assert evidence.one_side_serves(world, serving) == []
    assert len(evidence.one_side_serves(world, idle)) == 1 + len(world.bouncers)
    with world.servers[idle].connect("shop") as admin:
        admin.execute("GRANT CONNECT ON DATABASE shop TO shop_app")
        assert evidence.one_side_serves(world, serving) == [
            f"open to applications: source, target; should be {serving}"
        ]
        admin.execute("REVOKE CONNECT ON DATABASE shop FROM shop_app")
