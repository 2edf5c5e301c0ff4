"""The fence: application roles kept off one database, their sessions ended, and nobody left; and lifting it again."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from crossfade import catalog
from crossfade.connect import Connection, scalar
from crossfade.errors import DeadlineExceeded, PreconditionError
from crossfade.queries import named_queries

log = logging.getLogger(__name__)

_QUERIES = named_queries(__file__)

_BETWEEN_SWEEPS = 0.003  #: seconds

MayConnect = Sequence[dict[str, Any]]  #: {"role": name or "" for PUBLIC, "grantable": bool}


class FenceIncomplete(PreconditionError):
    """Somebody can still reach, or still is in, a database that must be closed to applications."""

    def __init__(self, *, database: str, seen: str, remedy: str) -> None:
        super().__init__(f"{database} could not be closed to applications: {seen}. {remedy}")


def may_connect(conn: Connection) -> MayConnect:
    """Who holds CONNECT on this database now, PUBLIC's default included."""
    found: MayConnect = scalar(conn, _QUERIES["may_connect"])
    return found


def exempt_roles(conn: Connection, also: Collection[str] = ()) -> list[str]:
    """Roles the fence leaves alone: ours, those of replication, subscription owners, and the given ones."""
    return sorted({row["role"] for row in conn.execute(_QUERIES["exempt"]).fetchall()} | set(also))


def foreign_sessions(conn: Connection, exempt: Sequence[str]) -> list[dict[str, Any]]:
    """Client sessions in this database of other than the exempt roles: pid, role, application_name, address, state."""
    return conn.execute(_QUERIES["strangers"], {"exempt": list(exempt)}).fetchall()


def is_fenced(conn: Connection) -> bool:
    """Whether this database is closed to applications by us."""
    return bool(scalar(conn, "SELECT EXISTS (SELECT FROM crossfade.fence WHERE database = current_database())"))


def close(conn: Connection, *, plan: str, exempt: Sequence[str], opens_to: MayConnect | None = None) -> None:
    """
    Take CONNECT from everybody but the exempt roles; what was is kept in the ledger, the first time.

    REVOKE and not NOLOGIN: that would lock the roles out of the server's other databases, too.
    :param opens_to: who may connect when the fence is lifted; default: who may now
    Raises `FenceIncomplete` where a role can log in all the same.
    """
    database = sql.Identifier(conn.info.dbname)
    with conn.transaction():
        now = may_connect(conn)
        conn.execute(_QUERIES["remember"], {"plan": plan, "may_connect": Jsonb(list(opens_to or now))})
        holder = scalar(conn, "SELECT plan FROM crossfade.fence WHERE database = current_database()")
        if holder != plan:
            raise FenceIncomplete(
                database=conn.info.dbname,
                seen=f"the plan {holder} has closed it already",
                remedy="A fence closes a whole database: finish or abandon that migration first",
            )
        with _as_owner(conn):
            for role in exempt:
                conn.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, sql.Identifier(role)))
            for entry in now:
                if entry["role"] not in exempt:
                    revoke = sql.SQL("REVOKE CONNECT ON DATABASE {} FROM {} CASCADE")
                    conn.execute(revoke.format(database, _grantee(entry["role"])))
        welcome = [r["role"] for r in conn.execute(_QUERIES["still_welcome"], {"exempt": list(exempt)}).fetchall()]
        if welcome:
            raise FenceIncomplete(
                database=conn.info.dbname,
                seen=f"{', '.join(welcome)} would still be let in",
                remedy="They are members of an exempt role, or hold a grant that its owner did not make: revoke it",
            )


def lift(conn: Connection, plan: str) -> None:
    """
    Give CONNECT back exactly as the ledger has it, in the caller's transaction.

    Nothing to do where it is not fenced, or by another plan: that one alone may open what it closed.
    """
    row = conn.execute(
        "DELETE FROM crossfade.fence WHERE database = current_database() AND plan = %s RETURNING may_connect", [plan]
    ).fetchone()
    if row is None:
        return
    database = sql.Identifier(conn.info.dbname)
    first = {entry["role"]: entry["grantable"] for entry in row["may_connect"]}
    now = may_connect(conn)
    with _as_owner(conn):
        for entry in now:
            if entry["role"] not in first and entry["role"] != conn.info.user:  # we still have work to do here
                conn.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM {}").format(database, _grantee(entry["role"])))
        there = {row["rolname"] for row in conn.execute("SELECT rolname FROM pg_roles").fetchall()} | {""}
        for role, grantable in first.items():
            if role in there:
                conn.execute(_granting(conn, role, grantable))
            else:
                log.warning("the role %s could connect before the fence, and is gone since", role)


def open_for_good(conn: Connection, plan: str) -> None:
    """
    `lift`, and take back what our own role was granted for the move, in the caller's transaction.

    Nothing to do where this plan has not closed it.
    """
    ledger = ledger_of(conn, plan)
    if ledger is None:
        return
    lift(conn, plan)
    if conn.info.user not in ledger:
        take_back(conn, [conn.info.user])


def close_for_good(conn: Connection, plan: str) -> list[str]:
    """
    Forget the ledger and leave the database closed, in the caller's transaction; only our own role may still come.

    What other exempt roles were granted for the move is taken back. Returns the statements that would open it again as
    it was; none where this plan has not closed it.
    """
    ledger = ledger_of(conn, plan)
    if ledger is None:
        return []
    conn.execute("DELETE FROM crossfade.fence WHERE database = current_database() AND plan = %s", [plan])
    now = {entry["role"] for entry in may_connect(conn)}
    take_back(conn, now - ledger.keys() - {conn.info.user})
    return [f"{_granting(conn, role, grantable).as_string()};" for role, grantable in ledger.items() if role not in now]


def ledger_of(conn: Connection, plan: str) -> dict[str, bool] | None:
    """Who may connect when that plan's fence is lifted, and whether they may grant it; None where there is none."""
    query = "SELECT may_connect FROM crossfade.fence WHERE database = current_database() AND plan = %s"
    entries = scalar(conn, query, [plan])
    return None if entries is None else {entry["role"]: entry["grantable"] for entry in entries}


def take_back(conn: Connection, roles: Collection[str]) -> None:
    """Take CONNECT from those of these roles that were granted it; in the caller's transaction."""
    database = sql.Identifier(conn.info.dbname)
    granted = {entry["role"] for entry in may_connect(conn)}
    with _as_owner(conn):
        for role in sorted(granted.intersection(roles)):
            conn.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM {}").format(database, _grantee(role)))


def _granting(conn: Connection, role: str, grantable: bool) -> sql.Composed:
    option = sql.SQL(" WITH GRANT OPTION" if grantable else "")
    database = sql.Identifier(conn.info.dbname)
    return sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, _grantee(role)) + option


def reopen(conn: Connection, roles: Sequence[str]) -> None:
    """
    Let application roles connect where nothing tells any more who could: the ledger is gone, and they cannot.

    Nothing where they may, or do not exist.
    """
    query = (
        "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)"
        " AND NOT has_database_privilege(oid, current_database(), 'CONNECT')"
    )
    shut = [row["rolname"] for row in conn.execute(query, [list(roles)]).fetchall()]
    for role in shut:
        log.warning("%s may not connect, and the ledger of the fence is gone: CONNECT is granted again", role)
        let_in(conn, role)


@contextmanager
def _as_owner(conn: Connection) -> Iterator[None]:
    """
    Grant and revoke as the database's owner, inside the caller's transaction.

    In our own name PostgreSQL chooses any role of ours that holds a grant option: the REVOKE of another's grant then
    changes nothing, without an error.
    """
    owner = scalar(conn, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()")
    conn.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(owner)))
    yield
    conn.execute("SET LOCAL ROLE NONE")


def _grantee(role: str) -> sql.Composable:
    return sql.Identifier(role) if role else sql.SQL("PUBLIC")


def sweep(conn: Connection, *, exempt: Sequence[str], deadline: float) -> int:
    """
    End every foreign session and verify, twice in a row, that nobody is left. Returns how many were ended.

    A login that had passed its role check before the REVOKE shows only in pg_locks, hence both views.
    :param deadline: of `time.monotonic()`. Raises `FenceIncomplete`, `DeadlineExceeded`.
    """
    start, clean, ended = time.monotonic(), 0, set[int]()
    while clean < 2:
        strangers = foreign_sessions(conn, exempt)
        for stranger in strangers:
            _end(conn, stranger)
            ended.add(stranger["pid"])
        hidden = conn.execute(_QUERIES["half_logged_in"]).fetchall()
        clean = 0 if strangers or hidden else clean + 1
        if time.monotonic() > deadline:
            seen = f"sessions {strangers}, logins under way {[row['pid'] for row in hidden]}"
            raise DeadlineExceeded("ending foreign sessions", seconds=time.monotonic() - start, seen=seen)
        if clean < 2:
            time.sleep(_BETWEEN_SWEEPS)
    if prepared := catalog.prepared_transactions(conn):
        raise FenceIncomplete(
            database=conn.info.dbname,
            seen=f"prepared transactions wait for their end: {', '.join(p.gid for p in prepared)}",
            remedy="COMMIT PREPARED or ROLLBACK PREPARED them: they could still write behind the fence",
        )
    return len(ended)


def let_in(conn: Connection, role: str, *, keep: bool = False) -> bool:
    """
    Let one role connect to a fenced database.

    :param keep: also when the fence is lifted. Returns whether it then may for that reason alone
    """
    with conn.transaction(), _as_owner(conn):
        database = sql.Identifier(conn.info.dbname)
        conn.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, sql.Identifier(role)))
        if keep:
            conn.execute("SET LOCAL ROLE NONE")
            return conn.execute(_QUERIES["keep"], {"role": role}).rowcount > 0
    return False


def keep_out(conn: Connection, role: str) -> None:
    """Take from one role that it may connect to a fenced database; its sessions go on. Nothing where it is gone."""
    with conn.transaction(), _as_owner(conn):
        if scalar(conn, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)", [role]):
            database = sql.Identifier(conn.info.dbname)
            conn.execute(
                sql.SQL("REVOKE CONNECT ON DATABASE {} FROM {} CASCADE").format(database, sql.Identifier(role))
            )


def shut_out(conn: Connection, role: str, deadline: float) -> int:
    """
    Keep one role off a fenced database, end its sessions and verify twice that none is left; how many were ended.

    What such a session had under way is committed or rolled back when this returns, and nothing comes after it.
    :param deadline: of `time.monotonic()`. Raises `FenceIncomplete`, `DeadlineExceeded`.
    """
    keep_out(conn, role)
    if scalar(conn, "SELECT has_database_privilege(%s, current_database(), 'CONNECT')", [role]):
        raise FenceIncomplete(
            database=conn.info.dbname,
            seen=f"{role} would still be let in",
            remedy="It is a superuser, owns the database or is a member of a role that may connect: take that from it",
        )
    start, clean, ended = time.monotonic(), 0, set[int]()
    while clean < 2:
        sessions = conn.execute(_QUERIES["sessions_of"], {"role": role}).fetchall()
        for session in sessions:
            _end(conn, session)
            ended.add(session["pid"])
        hidden = conn.execute(_QUERIES["half_logged_in"]).fetchall()
        clean = 0 if sessions or hidden else clean + 1
        if time.monotonic() > deadline:
            seen = f"sessions {sessions}, logins under way {[row['pid'] for row in hidden]}"
            raise DeadlineExceeded(f"ending the sessions of {role}", seconds=time.monotonic() - start, seen=seen)
        if clean < 2:
            time.sleep(_BETWEEN_SWEEPS)
    return len(ended)


def _end(conn: Connection, stranger: dict[str, Any]) -> None:
    try:
        conn.execute("SELECT pg_terminate_backend(%s)", [stranger["pid"]])
    except psycopg.errors.InsufficientPrivilege as error:
        raise FenceIncomplete(
            database=conn.info.dbname,
            seen=f"{stranger['role']} is connected (pid {stranger['pid']}, {stranger['application_name'] or '-'})",
            remedy="Its session can not be ended by the migration role: close it and try again",
        ) from error
