"""What the gate of a rollback shows, and what is confirmed after one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crossfade import phases
from crossfade.cutover import order
from crossfade.cutover.rollback_gate import gate_body
from crossfade.errors import PreconditionError
from crossfade.routers.base import Direction, Side
from crossfade.validation import run as validation
from crossfade.validation.returned import NotReturned, ReturnDoubted, confirm_return


def go(world: Any, direction: Direction, run_id: str) -> None:
    at = datetime.now(UTC)
    if direction is Direction.FORWARD:
        validation.validate(world.m, run_id=run_id)
        phases.record_approval(world.m, run_id=run_id, approver="alice", approved_at=at)
    else:
        phases.record_rollback_approval(world.m, run_id=run_id, approver="alice", approved_at=at)
    order.run(world.m, run_id=run_id, direction=direction)


def row(body: str, name: str) -> str:
    """The value of a row of the gate's table."""
    (found,) = [line for line in body.splitlines() if line.startswith(f"| {name} |")]
    return found.split("|")[2].strip()


def test_the_gate_of_a_rollback_and_its_confirmation(world: Any) -> None:
    world.load()
    body = gate_body(world.m, run_id="too early", declared=[])
    assert "shop is active: a rollback begins where it is cut over" in body
    assert "unknown: the journal holds no moment of a cutover" in body
    with pytest.raises(NotReturned, match="there is no rollback of shop to confirm"):
        confirm_return(world.m)

    go(world, Direction.FORWARD, "there")
    with world.admin("target") as admin:
        for _ in range(3):
            admin.execute("UPDATE customers SET email = email")
        admin.execute("SELECT pg_stat_force_next_flush()")
        admin.execute("SELECT 1")
        customers = admin.execute("SELECT count(*) FROM customers").fetchone()[0]

    body = gate_body(world.m, run_id="back", declared=["lag.samples: 5 -> 6"])

    assert "Nothing stands in the way right now" in body, body
    assert "`lag.samples: 5 -> 6`" in body
    assert row(body, "the target serves since").endswith("s ago")
    assert row(body, "the way back is promised").startswith("for 47 h 59 min more")
    taken = int(row(body, "row changes on the target since").split()[1].rstrip(",").replace(",", ""))
    assert 3 * customers <= taken < 4 * customers + 100
    assert " ms, " in row(body, "way back: a watermark's way to the source")

    with world.m.session(Side.TARGET, "test") as target:
        moment = datetime.now(UTC) - timedelta(hours=49)
        target.execute("UPDATE crossfade.migration SET cut_over_at = %s, writes_at_opening = NULL", [moment])
    with world.admin("source") as admin:
        admin.execute("ALTER TABLE orders ADD COLUMN sneaked_in int")
    body = gate_body(world.m, run_id="back", declared=[])
    assert "**no more**" in row(body, "the way back is promised")
    assert row(body, "row changes on the target since") == "unknown"
    assert "the rollback would refuse" in body
    assert "sneaked_in" in body
    with world.admin("source") as admin:
        admin.execute("ALTER TABLE orders DROP COLUMN sneaked_in")

    go(world, Direction.BACK, "back")
    confirmed = confirm_return(world.m)
    assert len(confirmed) == 4
    assert "a watermark took" in confirmed[-1]

    with world.admin("target") as admin:
        admin.execute("ALTER SUBSCRIPTION crossfade_shop_1 DISABLE")
        admin.execute("SELECT setval('orders_id_seq', 1000000)")
        admin.execute("ALTER TABLE orders ALTER COLUMN currency SET DEFAULT 'x'")
    with pytest.raises(ReturnDoubted) as doubted:
        confirm_return(world.m)
    said = str(doubted.value)
    assert "replication to the target:" in said
    assert "the target was at next 1000001" in said
    assert "definition: " in said


def test_the_gate_says_that_the_way_back_is_broken(world: Any) -> None:
    world.load()
    go(world, Direction.FORWARD, "there")
    with world.admin("source") as admin:
        admin.execute("ALTER SUBSCRIPTION crossfade_shop_1_back DISABLE")

    body = gate_body(world.m, run_id="back", declared=[])

    assert "These stand in the way right now; the rollback would refuse" in body
    with pytest.raises(PreconditionError):
        go(world, Direction.BACK, "back")
