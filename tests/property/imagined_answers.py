"""What the imagined servers answer to statements about sessions, decisions and fences."""

from __future__ import annotations

from typing import Any

from imagined_database import MOVER, OURS, Backend, Session, State
from imagined_sql import Rows, Server, of, one, says

# --- sessions and locks


@says("pg_try_advisory_lock")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    key = params[0]
    holders = [backend for backend in server.database.backends if key in backend.locks]
    if free := holders in ([], [session.backend]):
        session.backend.locks.add(key)
    return one(free)


@says("SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    found = [each for each in server.database.backends if each.application == params[0]]
    for each in found:
        if each is not session.backend:
            server.database.end(each)
    return []  # that they were there is what a second look would still show of slow ones


@says("SELECT pg_terminate_backend(%s)")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    for each in [each for each in server.database.backends if each.pid == params[0]]:
        server.database.end(each)
    return one(True)


@says("l.database =")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    return []  # nobody is half logged in


def shown(backend: Backend) -> dict[str, Any]:
    return {"pid": backend.pid, "role": backend.role, "application_name": backend.application, "state": "idle"}


@says("AND usename <> ALL(")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    exempt = params["exempt"]
    return [shown(each) for each in server.database.backends if each.role not in exempt and each is not session.backend]


@says("a.application_name NOT LIKE 'crossfade/%%'")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    return []  # no transaction is open for long


@says("SELECT 1")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    return one(1)


@says("SET LOCAL")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    return []


@says("statement_timeout")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    return []


# --- the decision


@says("max(generation)")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    return one(max((row["generation"] for row in state.attempts), default=0))


@says("UPDATE crossfade.attempt SET decision = 'abort', decided_at = clock_timestamp() WHERE plan = %s")
def _(server: Server, session: Session, state: State, params: Any) -> int:
    void = [row for row in state.attempts if row["decision"] is None]
    for row in void:
        row["decision"] = "abort"
    return len(void)


@says("'commit', clock_timestamp(), clock_timestamp()) ON CONFLICT (id) DO NOTHING")
def _(server: Server, session: Session, state: State, params: Any) -> int:
    if not of(state, params[0]):
        state.attempts.append({**new_attempt(server, params), "decision": "commit", "finished": True})
    return 1


@says("INSERT INTO crossfade.attempt")
def _(server: Server, session: Session, state: State, params: Any) -> int:
    state.attempts.append(new_attempt(server, params))
    return 1


def new_attempt(server: Server, params: Any) -> dict[str, Any]:
    """A row of it."""
    attempt, _, direction, generation, _ = params
    row = {"id": attempt, "direction": str(direction), "generation": generation, "decision": None, "finished": False}
    return {**row, "asked": False, "beat": server.database.scheduler.now}


@says("SELECT id, document, direction, generation, decision")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    found = sorted(state.attempts, key=lambda row: row["generation"])[-1:]
    return [{**row, "document": {}, "silent": server.silent(row)} for row in found]


@says("SET heartbeat_at")
def _(server: Server, session: Session, state: State, params: Any) -> int:
    for row in of(state, params[0]):
        row["beat"] = server.database.scheduler.now
    return 1


@says("SET abort_asked_at")
def _(server: Server, session: Session, state: State, params: Any) -> int:
    for row in of(state, params[0]):
        row["asked"] = row["asked"] or row["decision"] is None
    return 1


@says("SELECT abort_asked_at IS NOT NULL")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    return one(any(row["asked"] or row["decision"] == "abort" for row in of(state, params[0])))


@says("SET finished_at")
def _(server: Server, session: Session, state: State, params: Any) -> int:
    for row in of(state, params[0]):
        row["finished"] = True
    return 1


@says("UPDATE crossfade.attempt SET decision = %s")
def _(server: Server, session: Session, state: State, params: Any) -> int:
    open_ones = [row for row in of(state, params[1]) if row["decision"] is None]
    for row in open_ones:
        row["decision"] = str(params[0])
    return len(open_ones)


@says("SELECT plan, decision FROM crossfade.attempt")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    return [{"plan": server.plan.name, "decision": row["decision"]} for row in of(state, params[0])]


# --- the fence


@says("DELETE FROM crossfade.fence")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    if state.ledger is None or state.ledger["plan"] != params[0]:
        return []
    ledger, state.ledger = state.ledger, None
    return [{"may_connect": ledger["may_connect"]}]


@says("INSERT INTO crossfade.fence")
def _(server: Server, session: Session, state: State, params: Any) -> int:
    if state.ledger is not None:
        return 0
    state.ledger = {"plan": params["plan"], "may_connect": params["may_connect"].obj}
    return 1


@says("UPDATE crossfade.fence SET may_connect = may_connect ||")
def _(server: Server, session: Session, state: State, params: Any) -> int:
    assert state.ledger is not None
    entries, role = state.ledger["may_connect"], params["role"]
    if any(entry["role"] in (role, "") for entry in entries):
        return 0
    state.ledger["may_connect"] = [*entries, {"role": role, "grantable": False}]
    return 1


@says("SELECT plan FROM crossfade.fence")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    return [{"plan": state.ledger["plan"]}] if state.ledger else []


@says("SELECT EXISTS (SELECT FROM crossfade.fence")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    return one(state.ledger is not None)


@says("aclexplode")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    return one([{"role": role, "grantable": grantable} for role, grantable in state.acl.items()])


@says("r.rolname <> ALL(")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    roles = server.database.roles - set(params["exempt"])
    return [{"role": role} for role in sorted(roles) if server.database.may_connect(role)]


@says("SELECT DISTINCT rolname AS role FROM pg_roles")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    return [{"role": OURS}, {"role": MOVER}]


@says("SELECT rolname, rolcanlogin FROM pg_roles")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    return [{"rolname": role, "rolcanlogin": True} for role in server.database.roles]


@says("SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    shut_only = [] if len(params) != 1 else [r for r in params[0] if not server.database.may_connect(r)]
    return [{"rolname": role} for role in shut_only]


@says("SELECT rolname FROM pg_roles")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    return [{"rolname": role} for role in server.database.roles]


@says("pg_get_userbyid(datdba)")
def _(server: Server, session: Session, state: State, params: Any) -> Rows:
    return one("owner")
