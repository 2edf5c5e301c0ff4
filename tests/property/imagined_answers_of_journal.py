"""What the imagined servers answer to statements of the journal and of replication."""

from __future__ import annotations

from typing import Any

from imagined_database import Session, State
from imagined_sql import Rows, Server, one, says

# --- the journal


@says("SELECT to_regclass('crossfade.migration')")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    return one("crossfade.migration")


@says("SELECT id, state, document, archive")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    return [{**state.record, "document": {}}] if state.record else []


@says("UPDATE crossfade.migration SET state = %s, changed_at = clock_timestamp() WHERE id = %s AND state = %s")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    assert state.record is not None
    if state.record["state"] != str(params[2]):
        return []
    state.record["state"] = str(params[0])
    return [{"plan": server.plan.name}]


@says("UPDATE crossfade.migration SET state = %s")
def _(server: Server, session: Session, state: State, params: Any) -> int:
    assert state.record is not None
    state.record["state"] = str(params[0])
    return 1


@says("UPDATE crossfade.migration SET state = 'active'")
def _(server: Server, session: Session, state: State, params: Any) -> int:
    assert state.record is not None
    state.record |= {"state": "active", "carrier": params[0], "cut_over_at": None, "writes_at_opening": None}
    return 1


@says("UPDATE crossfade.migration SET cut_over_at")
def _(server: Server, session: Session, state: State, params: Any) -> int:
    assert state.record is not None
    state.record |= {"cut_over_at": server.database.scheduler.now, "writes_at_opening": params[0]}
    return 1


@says("SELECT plan, state FROM crossfade.migration")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    assert state.record is not None
    return [{"plan": server.plan.name, "state": state.record["state"]}]


@says("INSERT INTO crossfade.step")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    return one(1)


@says("UPDATE crossfade.step")
def _(server: Server, session: Session, state: State, params: Any) -> int:
    return 1


@says("FROM crossfade.part")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    return [{"wave": 1, "schema": "public", "name": "orders"}]


# --- replication


@says("WHERE slot_name = ANY(")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    written = len(server.database.wal)
    return [
        {
            "slot_name": name,
            "wal_status": "reserved",
            "passed": params["lsn"] is None or position >= int(params["lsn"]),
            "bytes_behind": written - position,
        }
        for name, position in state.slots.items()
        if name in params["names"]
    ]


@says("SELECT pg_current_wal_insert_lsn()")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    return one(str(len(server.database.wal)))


@says("leaf.oid AND l.relkind")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    return []


@says("pg_replication_origin_drop")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    return []
