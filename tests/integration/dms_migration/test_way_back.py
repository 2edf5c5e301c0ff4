"""The way back by AWS DMS: armed by its slot in the pause, started and proved once clients have gone on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crossfade import phases, watch
from crossfade.connect import Endpoint
from crossfade.cutover import order, rehearsal, rollback_gate
from crossfade.engines.dms.starting import prove_armed, start_armed
from crossfade.migration import Migration
from crossfade.routers.base import Direction
from crossfade.validation import run as validation
from crossfade.validation.returned import confirm_return
from crossfade_lab.processes import wait_until
from crossfade_lab.shop import data as shop
from crossfade_lab.verdict import verify
from crossfade_lab.workload import Spec, WorkloadProcess

SLOTS = "SELECT coalesce(string_agg(slot_name, ' ' ORDER BY 1), '') FROM pg_replication_slots"
NOT_NULL = """
    SELECT string_agg(format('%s.%s', attrelid::regclass, attname), ' ' ORDER BY attrelid::regclass::text, attnum)
    FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
    WHERE attnotnull AND attnum > 0 AND relkind IN ('r', 'p')
      AND relnamespace::regnamespace::text IN ('public', 'billing')
"""
TABLES = """
    SELECT c.oid::regclass::text FROM pg_class c
    WHERE relkind = 'r' AND relnamespace::regnamespace::text IN ('public', 'billing') ORDER BY 1
"""
BACK = {
    "source": {"connection": "back_source", "tls": "none"},
    "target": {"connection": "back_target", "tls": "none"},
    "plugin": "pgoutput",  # what the lab's servers have, and the local DMS reads
}
DMS = {"back": BACK, "settings": {"ChangeProcessingTuning": {"MinTransactionSize": 1}}}  # each change at once


def going_back(world: Any) -> Any:
    """The same world, where DMS can also go from the target to the source."""
    pair, known = world.pair, world.m.resolve
    ends = {"back_source": "target", "back_target": "source"}

    def resolve(asked: str) -> Endpoint:
        if asked in ends:
            return Endpoint.from_dsn(asked, pair.dsn(ends[asked], "shop_dms_back"))
        found: Endpoint = known(asked)
        return found

    shop.grant_dms_back_roles(pair.source, pair.target, pair.logins)
    moved = replace(world, m=Migration(world.m.plan, resolve, world.m.clients))
    phases.prepare(moved.m)
    shop.let_local_dms_read_back(pair.target)
    return moved


def cut_over(world: Any, run: str) -> None:
    validation.validate(world.m, run_id=run)
    phases.record_approval(world.m, run_id=run, approver="alice", approved_at=datetime.now(UTC))
    order.run(world.m, run_id=run)


def roll_back(world: Any, run: str) -> None:
    phases.record_rollback_approval(world.m, run_id=run, approver="alice", approved_at=datetime.now(UTC))
    order.run(world.m, run_id=run, direction=Direction.BACK)


def findings(world: Any) -> str:
    seen = watch.watch(world.m)
    assert seen is not None
    return " ".join(seen.findings)


def test_there_and_back_again_and_there_nothing_is_lost(make_world: Callable[..., Any], tmp_path: Path) -> None:
    world = going_back(make_world(rows=1_000, rollback={"way_back": "dms"}, dms=DMS, lag={"max_seconds": 30.0}))
    spec = Spec(
        endpoints=[world.bouncers[0].dsn(user="shop_app", dbname="shop")],
        directory=str(tmp_path / "ledger"),
        clients=4,
        rate=60.0,
        customers=100,
    )
    (tmp_path / "ledger").mkdir()
    required = world.value("source", NOT_NULL)
    with WorkloadProcess(spec):
        world.complete()
        shown = rehearsal.rehearse(world.m)
        assert shown.blockers == ()
        assert world.value("target", SLOTS) == ""
        validation.validate(world.m, run_id="zero")
        assert "proved only after clients went on" in rehearsal.gate_body(world.m, run_id="zero", declared=[])

        cut_over(world, "one")
        assert world.value("target", SLOTS) == "crossfade_shop_1_back"
        assert "not proved yet" in findings(world)
        assert "not proved yet" in rollback_gate.gate_body(world.m, run_id="back", declared=[])
        with pytest.raises(order.Refused, match="was not started"):
            roll_back(world, "back")
        start_armed(world.m)
        start_armed(world.m)  # a task that was cleared
        prove_armed(world.m)
        assert world.value("source", NOT_NULL) != required  # DMS writes large objects in two steps
        validation.reconcile(world.m)
        assert world.value("source", "SELECT count(*) FROM pg_replication_slots") == 0
        assert findings(world) == ""

        roll_back(world, "back")
        start_armed(world.m)
        prove_armed(world.m)
        confirm_return(world.m)
        assert world.value("source", NOT_NULL) == required
        assert world.value("source", SLOTS) == "crossfade_shop_1"
        assert world.value("target", SLOTS) == ""
        assert findings(world) == ""
        phases.prepare(world.m)  # finds its work done

        cut_over(world, "two")
        start_armed(world.m)
        prove_armed(world.m)
        validation.reconcile(world.m)
    verdict = verify(tmp_path / "ledger", world.pair.dsn("target", "shop_owner"))
    assert verdict.ok, verdict
    assert world.value("target", NOT_NULL) == required
    for table in world.rows("source", TABLES):
        same = f"SELECT count(*), sum(hashtextextended(t::text, 0)::numeric) FROM {table[0]} AS t"  # noqa: S608

        def equal(same: str = same) -> bool:
            return bool(world.rows("source", same) == world.rows("target", same))

        assert wait_until(equal, seconds=30, every=0.1), table
