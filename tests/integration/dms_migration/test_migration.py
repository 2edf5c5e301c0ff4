"""A migration with AWS DMS from end to end, under a workload whose every write is counted again."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from crossfade import phases
from crossfade.cleanup import cleanup
from crossfade.cutover import order, rehearsal
from crossfade.engines.dms import phases as dms_phases
from crossfade.engines.dms.records import DmsRecords
from crossfade.journal import Journal
from crossfade.routers.base import Side
from crossfade.schema.ledger import Ledger
from crossfade.validation import run as validation
from crossfade_lab.verdict import verify
from crossfade_lab.workload import Spec, WorkloadProcess

NOT_NULL = """
    SELECT string_agg(format('%s.%s', attrelid::regclass, attname), ' ' ORDER BY attrelid::regclass::text, attnum)
    FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
    WHERE attnotnull AND attnum > 0 AND relkind IN ('r', 'p')
      AND relnamespace::regnamespace::text IN ('public', 'billing')
"""


def test_no_write_is_lost_and_the_target_is_whole(world: Any, tmp_path: Path) -> None:
    spec = Spec(
        endpoints=[world.bouncers[0].dsn(user="shop_app", dbname="shop")],
        directory=str(tmp_path / "ledger"),
        clients=6,
        rate=120.0,
        customers=100,
    )
    (tmp_path / "ledger").mkdir()
    required = world.value("source", NOT_NULL)
    with WorkloadProcess(spec):
        world.complete()
        with world.m.session(Side.TARGET, "test") as conn:
            record = Journal(conn).get("shop")
            assert len(Ledger(conn, record.id).pending()) > 3  # NOT NULL of text, jsonb and arrays
        assert world.value("target", NOT_NULL) != required
        validation.validate(world.m, run_id="one")
        dms_phases.check_lobs(world.m)
        shown = rehearsal.rehearse(world.m)
        assert shown.blockers == ()
        assert shown.drain_ms is not None
        phases.record_approval(world.m, run_id="one", approver="alice", approved_at=datetime.now(UTC))
        summary = order.run(world.m, run_id="one")
        assert [step.name for step in summary.steps] == [
            "pause", "fence", "drain", "stop", "not_null", "sequences", "arm", "prove", "smoke", "decide", "open",
        ]  # fmt: skip
        with (
            psycopg.connect(world.pair.dsn("target", "shop_app"), autocommit=True) as app,
            pytest.raises(psycopg.errors.CheckViolation),
        ):
            app.execute("INSERT INTO documents (title, body) VALUES ('no body', NULL)")
        validation.reconcile(world.m)
    verdict = verify(tmp_path / "ledger", world.pair.dsn("target", "shop_owner"))
    assert verdict.ok, verdict
    assert world.value("target", NOT_NULL) == required
    assert world.task.status == "stopped"
    assert world.value("source", "SELECT count(*) FROM pg_replication_slots") == 0
    with world.m.session(Side.TARGET, "test") as conn:
        record = Journal(conn).get("shop")
        assert Ledger(conn, record.id).pending() == []
        assert DmsRecords(conn, record.id).identifier("slot") is None
    cleanup(world.m, run_id="end", early=True)
    assert world.dms.describe_replication_instances()["ReplicationInstances"] == []
    assert world.dms.describe_endpoints()["Endpoints"] == []
    for side in ("source", "target"):
        assert world.value(side, "SELECT to_regnamespace('crossfade')") is None
    assert world.value("target", "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'crossfade\\_%'") == 0
