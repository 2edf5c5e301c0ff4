"""Whether the application's own login works on the new side before it is opened, and reaches it through the router."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode

import asyncpg
import psycopg
from psycopg.rows import dict_row

from crossfade.connect import CONNECT_TIMEOUT, Connection, Endpoint, scalar
from crossfade.cutover import smoke
from crossfade.errors import FatalError, PreconditionError, TransientError, Unreachable

_BETWEEN_TRIES = 0.2  #: seconds

#: libpq's keywords that asyncpg takes; others it would send to the server as settings.
_TLS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslpassword", "sslcrl")

#: Tells one running database from every other, also from a physical copy of it: that has the same system identifier.
_IDENTITY = """
    SELECT concat_ws('/', extract(epoch FROM pg_postmaster_start_time())::text,
                     (SELECT oid FROM pg_database WHERE datname = current_database()))"""


class LoginRefuted(PreconditionError):
    """The application could not log in on the new side."""

    def __init__(self, *, app: Endpoint, new_side: Endpoint, sqlstate: str, reason: str, remedy: str) -> None:
        self.role, self.sqlstate = app.user, sqlstate
        super().__init__(
            f"the application's login {app.user!r}, of the connection {app.name!r}, is not accepted by "
            f"{new_side.address}: {reason} ({sqlstate}). {remedy}"
        )


class FenceMissing(FatalError):
    """The new side lets the application in, though it must be closed to it."""

    def __init__(self, *, app: Endpoint, new_side: Endpoint) -> None:
        super().__init__(
            f"{app.user!r} was let in by {new_side.address}, which must be closed to applications until the cutover is "
            "decided: somebody granted CONNECT. Find out whether anything was written there, then clear prepare"
        )


class NotThroughRouter(TransientError):
    """The application's connection does not lead to the new side."""


def prove_login(app: Endpoint, new_side: Endpoint) -> None:
    """
    Prove that the new side accepts the application's user and password, while it is fenced.

    A server checks who it is before it asks whether that role may connect to the database: "permission denied for
    database" (42501) therefore means that the login is right (seen of 15, 16 and 18). libpq does not tell SQLSTATEs of
    a connection that failed, and messages are translated, hence asyncpg.

    :param app: the application's user and password; where it leads does not matter
    :param new_side: host, port, database and TLS of the new side itself, not of a router
    Raises `LoginRefuted`, `FenceMissing`, `Unreachable`.
    """
    state, reason = asyncio.run(_refusal(app, new_side))
    if state is None:
        raise FenceMissing(app=app, new_side=new_side)
    if state == "42501":
        return
    if remedy := _REMEDIES.get(state):
        raise LoginRefuted(app=app, new_side=new_side, sqlstate=state, reason=reason, remedy=remedy)
    raise Unreachable(name=new_side.name, address=new_side.address, reason=f"{reason} ({state})")


_REMEDIES = {
    "28P01": (
        "The password is another there, has expired, or the role does not exist: ALTER ROLE … PASSWORD on the new side "
        "with what the application uses, or correct the connection"
    ),
    "28000": (
        "The role may not log in there, or pg_hba.conf has no line for it: ALTER ROLE … LOGIN, or add the line and "
        "SELECT pg_reload_conf()"
    ),
    "3D000": "There is no such database: clear prepare",
}


async def _refusal(app: Endpoint, new_side: Endpoint) -> tuple[str | None, str]:
    """With which SQLSTATE and message the new side refuses the application; None where it lets it in."""
    tls = {key: value for key, value in new_side.options.items() if key in _TLS}
    try:
        conn = await asyncpg.connect(
            f"postgresql://?{urlencode(tls)}",
            host=new_side.host,
            port=new_side.port,
            user=app.user,
            password=app.password,
            database=new_side.dbname,
            timeout=CONNECT_TIMEOUT,
            server_settings={"application_name": "crossfade/login"},
        )
    except asyncpg.PostgresError as error:
        return str(error.sqlstate), str(error.args[0]) if error.args else type(error).__name__
    except (OSError, ssl.SSLError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        reason = str(error) or type(error).__name__
        raise Unreachable(name=new_side.name, address=new_side.address, reason=reason) from error
    await conn.close(timeout=CONNECT_TIMEOUT)
    return None, ""


def identity(conn: Connection) -> str:
    """What tells the database of a connection from every other; another after a restart of its server."""
    return str(scalar(conn, _IDENTITY))


def smoke_through_router(app: Endpoint, statements: Sequence[str], *, expect: str, deadline: float) -> None:
    """
    Connect as the application does, see that this leads to the new side, and run the smoke statements, rolled back.

    Tried again until the deadline while the router refuses, or still leads elsewhere, as DNS and proxies do for a
    while. No setting of the session is changed: a pooler would hand it on to the application.

    :param app: the application's connection, through the router
    :param expect: `identity` of the new side, read on a session of ours after its last restart
    :param deadline: of time.monotonic()
    Raises `NotThroughRouter` at the deadline, `SmokeFailed`.
    """
    for statement in statements:
        smoke.refuse_transaction_control(statement)
    while True:
        try:
            return _try(app, statements, expect, deadline)
        except NotThroughRouter:
            if time.monotonic() + _BETWEEN_TRIES > deadline:
                raise
        time.sleep(_BETWEEN_TRIES)


def _try(app: Endpoint, statements: Sequence[str], expect: str, deadline: float) -> None:
    left = max(deadline - time.monotonic(), 0.1)
    try:
        with _connected(app, left) as conn, conn.transaction(force_rollback=True):
            reached = identity(conn)
            if reached != expect:
                raise NotThroughRouter(
                    f"the application's connection {app.name!r} ({app.address}) does not lead to the new side: it "
                    f"reached the database {reached}, the new side is {expect}. See where the router sends clients"
                )
            left = max(deadline - time.monotonic(), 0.1)
            conn.execute("SELECT set_config('statement_timeout', %s, true)", [f"{int(left * 1000)}ms"])
            for statement in statements:
                _run(conn, statement)
    except psycopg.Error as error:
        raise NotThroughRouter(
            f"the application's connection {app.name!r} ({app.address}) does not lead to the new side: "
            f"{' '.join(str(error).split())}. See where the router sends clients"
        ) from error


def _run(conn: Connection, statement: str) -> None:
    try:
        conn.execute(statement.encode(), binary=True)  # the extended protocol takes one statement only
    except psycopg.Error as error:
        if conn.broken:
            raise
        raise smoke.SmokeFailed(statement=statement, reason=str(error)) from error


@contextmanager
def _connected(app: Endpoint, seconds: float) -> Iterator[Connection]:
    """
    A session that is cut after that time: a pooler that holds its clients answers nothing, and no server counts.
    """
    conn: psycopg.Connection[dict[str, Any]] = psycopg.connect(
        app.conninfo(application_name="crossfade/router", connect_timeout=str(max(int(seconds), 2))),
        autocommit=True,
        row_factory=dict_row,
        prepare_threshold=None,
    )
    timer = threading.Timer(seconds, _cut, [conn])
    timer.daemon = True
    timer.start()
    try:
        yield conn
    finally:
        timer.cancel()
        conn.close()


def _cut(conn: Connection) -> None:
    with contextlib.suppress(OSError, psycopg.OperationalError), socket.socket(fileno=os.dup(conn.fileno())) as raw:
        raw.shutdown(socket.SHUT_RDWR)
