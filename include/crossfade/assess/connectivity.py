"""Connectivity: each server reaches the other one with the right password, and what it reaches is what we see."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
from psycopg import sql

from crossfade.assess.registry import Problem, Severity, check
from crossfade.assess.scene import Database, Routes
from crossfade.connect import Connection, Endpoint
from crossfade.errors import PreconditionError
from crossfade.queries import named_queries
from crossfade.routers.base import Side
from crossfade.schema.binaries import require

_QUERIES = named_queries(__file__)
_TRIES = 8  #: connections made to be seen by the other server; each lives for some milliseconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """What came of one server's connection to the other."""

    error: str = ""  #: empty: it connected
    seen: bool = False  #: the other server showed that connection, in the database that we are connected to


@check("connectivity.two_databases", severity=Severity.BLOCKER)
def source_and_target_differ(source: Database, target: Database) -> Iterator[Problem]:
    """A plan whose source and target are the same database."""
    if source.rows(_QUERIES["identity"]) == target.rows(_QUERIES["identity"]):
        yield Problem(
            f"{source.endpoint.name}, {target.endpoint.name}",
            f"both lead to the same database ({source.endpoint.address} and {target.endpoint.address})",
            "Correct the host, port or database of one of the two connections",
        )


@check("connectivity.source_from_target", severity=Severity.BLOCKER, engines={"logical"})
def target_reaches_source(source: Database, target: Database, routes: Routes) -> Iterator[Problem]:
    """A subscription on the target could not connect to the source, or would reach another database."""
    yield from probe_problems(target, source, routes.source_from_target, "source_from_target")


def probe_problems(via: Database, to: Database, route: Endpoint, key: str) -> Iterator[Problem]:
    """
    What would keep a subscription on one server from reaching the other.

    :param key: of the plan, which names the route
    """
    probe = probe_route(via, to, route)
    other = "target" if to.side is Side.SOURCE else "source"
    if probe.error:
        yield Problem(
            route.name,
            f"the {other}'s server could not connect to {route.address} as {route.user}: {probe.error}",
            f"Let the {other}'s server reach that address and log in for replication (firewall, pg_hba.conf, password; "
            f"'{key}' in the plan names a connection for it)",
        )
    elif not probe.seen:
        yield Problem(
            route.name,
            f"{_TRIES} connections of the {other}'s server to {route.address} succeeded, but none was seen in "
            f"{to.endpoint.address}: it reaches another server or database",
            f"Correct '{key}' in the plan: it must lead to the database that {to.endpoint.name} leads to",
        )


def probe_route(via: Database, to: Database, route: Endpoint) -> Probe:
    """
    Let one server connect to the other as a subscription would, and look there for that very connection.

    CREATE SUBSCRIPTION connects and asks for its publication before it stores anything; it runs in a transaction that
    is always rolled back, makes no slot, and asks for a publication that cannot exist.
    """
    for _ in range(_TRIES):
        token = f"crossfade/probe/{secrets.token_hex(8)}"
        with _Lookout(to, token) as lookout:
            error = _connect_as_subscription(via.conn, route, token)
        if error or lookout.seen:
            return Probe(error=error, seen=lookout.seen)
    return Probe()


def _connect_as_subscription(conn: Connection, route: Endpoint, token: str) -> str:
    """Why the connection failed; empty where it did not."""
    statement = sql.SQL(
        "CREATE SUBSCRIPTION {} CONNECTION {} PUBLICATION {} "
        "WITH (connect = true, create_slot = false, enabled = false, slot_name = NONE, copy_data = false)"
    ).format(
        sql.Identifier(token.replace("/", "_")),
        sql.Literal(route.conninfo(application_name=token, connect_timeout="10")),
        sql.Identifier(token),
    )
    try:
        with conn.transaction(force_rollback=True):
            conn.execute("SET TRANSACTION READ WRITE")
            conn.execute(_QUERIES["keep_password_out_of_log"])
            conn.execute(statement)
    except psycopg.Error as error:
        primary = error.diag.message_primary or str(error)
        return " ".join(f"{primary} {error.diag.message_detail or ''}".split())
    return ""


class _Lookout:
    """Watches one database for a session of that application_name, from a thread with a connection of its own."""

    def __init__(self, database: Database, token: str) -> None:
        self.seen = False
        self._stop = threading.Event()
        self._conn = database.endpoint.connect("assess", settings={"default_transaction_read_only": "on"})
        self._token = token
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self.seen and not self._stop.is_set():
            row = self._conn.execute(_QUERIES["seen"], {"name": self._token}).fetchone()
            self.seen = row is not None

    def __enter__(self) -> _Lookout:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._conn.close()


@check("connectivity.client_programs", severity=Severity.BLOCKER)
def client_programs_are_new_enough(target: Database) -> Iterator[Problem]:
    """pg_dump and pg_restore that are missing here, or older than the target."""
    for program in ("pg_dump", "pg_restore"):
        try:
            require(program, target.can.major)
        except PreconditionError as error:
            yield Problem(
                program,
                str(error),
                f"apt-get install postgresql-client-{target.can.major}\n"
                f"export PG_BIN=/usr/lib/postgresql/{target.can.major}/bin",
            )
