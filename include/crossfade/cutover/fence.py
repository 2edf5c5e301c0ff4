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
        for role, grantable in first.items():
            option = sql.SQL(" WITH GRANT OPTION") if grantable else sql.SQL("")
            conn.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, _grantee(role)) + option)


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
        strangers = conn.execute(_QUERIES["strangers"], {"exempt": list(exempt)}).fetchall()
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


def let_in(conn: Connection, role: str) -> None:
    """Let one role connect to a fenced database."""
    with conn.transaction(), _as_owner(conn):
        database = sql.Identifier(conn.info.dbname)
        conn.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, sql.Identifier(role)))


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
