"""The admin console of one PgBouncer: typed answers, a time limit on every command, a new connection when one is lost.

The console takes the simple query protocol only. A PAUSE that waits is never answered once somebody resumes (seen with
1.18), and no cancel reaches it: so every wait has an end of its own, after which the connection is dropped.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Collection
from dataclasses import dataclass

import psycopg
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from crossfade.connect import Connection, Endpoint
from crossfade.errors import TransientError
from crossfade.routers.pgbouncer_ini import Destination

ANSWER_SECONDS = 5.0  #: for every command but PAUSE: answers take about a millisecond
PING_SECONDS = 1.0  #: after which an open connection counts as lost
Row = dict[str, str]


class ConsoleRefused(TransientError):
    """PgBouncer answered a command with an error."""

    def __init__(self, *, name: str, command: str, reason: str) -> None:
        self.name, self.command, self.reason = name, command, reason
        super().__init__(f"{name} refused {command}: {reason}")


class ConsoleLost(TransientError):
    """The connection to a console broke."""

    def __init__(self, *, name: str, address: str, reason: str) -> None:
        super().__init__(f"the connection to the console of {name} ({address}) was lost: {reason.strip()}")


class NoAnswer(TransientError):
    """A console did not answer in time; the connection was dropped."""

    def __init__(self, *, name: str, command: str) -> None:
        super().__init__(f"{name} gave no answer to {command} in time")


@dataclass(frozen=True, kw_only=True, slots=True)
class ServedDatabase:
    """One line of SHOW DATABASES."""

    name: str
    destination: Destination
    paused: bool  #: also while a PAUSE still waits for transactions
    pool_mode: str  #: empty where the database sets none of its own
    forced_user: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """One line of SHOW POOLS: what the clients of one user in one database do."""

    database: str
    user: str
    pool_mode: str
    clients_active: int
    clients_waiting: int
    servers: int  #: connections to PostgreSQL in any state
    logins: int  #: of these, how many have not finished logging in
    longest_wait: float  #: seconds that the first client in the queue has waited


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """All that the assessment wants to know of one instance."""

    version: str
    settings: dict[str, str]
    databases: dict[str, ServedDatabase]
    pools: tuple[Pool, ...]


def quoted(name: str) -> str:
    """A database's name for a console command."""
    return '"' + name.replace('"', '""') + '"'


def quoted_value(value: str) -> str:
    """A setting's value for a console command."""
    return "'" + value.replace("'", "''") + "'"


class Console:
    """A connection to the console of one instance, opened when needed."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._connection: Connection | None = None

    @property
    def name(self) -> str:
        """The connection id of the instance."""
        return self.endpoint.name

    def open(self) -> None:
        """Connect, unless a connection still answers. Raises `Unreachable`."""
        if self._connection is not None:
            try:
                self._ask("SHOW VERSION", time.monotonic() + PING_SECONDS)
                return
            except TransientError:
                self.close()
        self._connection = self.endpoint.connect_console()

    def close(self) -> None:
        """Drop the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def abort(self) -> None:
        """Break the connection under whoever waits on it in another thread: that call then ends with `ConsoleLost`."""
        if (connection := self._connection) is None:
            return
        with (
            contextlib.suppress(OSError, psycopg.Error),  # closed meanwhile: just as well
            socket.socket(fileno=os.dup(connection.pgconn.socket)) as same,
        ):
            same.shutdown(socket.SHUT_RDWR)

    def command(self, command: str) -> list[Row]:
        """
        Run a command that may be run twice; once more on a new connection where the old one was lost.

        Raises `Unreachable`, `ConsoleRefused`, `ConsoleLost`, `NoAnswer`.
        """
        fresh = self._connection is None
        try:
            return self.command_once(command, time.monotonic() + ANSWER_SECONDS)
        except ConsoleLost:
            if fresh:
                raise
        return self.command_once(command, time.monotonic() + ANSWER_SECONDS)

    def command_once(self, command: str, deadline: float) -> list[Row]:
        """Run a command, waiting for its answer until this `time.monotonic()`. Raises as `command` does."""
        if self._connection is None:
            self._connection = self.endpoint.connect_console()
        try:
            return self._ask(command, deadline)
        except (ConsoleLost, NoAnswer):
            self.close()
            raise

    def databases(self) -> dict[str, ServedDatabase]:
        """SHOW DATABASES, by name."""
        return {
            row["name"]: ServedDatabase(
                name=row["name"],
                destination=Destination(host=row["host"], port=int(row["port"]), dbname=row["database"]),
                paused=row["paused"] == "1",
                pool_mode=row["pool_mode"],
                forced_user=row["force_user"],
            )
            for row in self.command("SHOW DATABASES")
        }

    def pools(self) -> list[Pool]:
        """SHOW POOLS: one line for every database and user that has been here."""
        return [
            Pool(
                database=row["database"],
                user=row["user"],
                pool_mode=row["pool_mode"],
                clients_active=int(row["cl_active"]),
                clients_waiting=int(row["cl_waiting"]),
                servers=sum(int(value) for key, value in row.items() if key.startswith("sv_")),
                logins=int(row["sv_login"]),
                longest_wait=int(row["maxwait"]) + int(row.get("maxwait_us", "0")) / 1e6,
            )
            for row in self.command("SHOW POOLS")
        ]

    def server_pids(self) -> set[int]:
        """The pids of its sessions, as the servers count them, on every server that it leads to."""
        return {int(row["remote_pid"]) for row in self.command("SHOW SERVERS")}

    def settings(self) -> dict[str, str]:
        """SHOW CONFIG, by key; an unset value is empty."""
        return {row["key"]: row["value"] for row in self.command("SHOW CONFIG")}

    def version(self) -> str:
        """As it calls itself: ``PgBouncer 1.18.0``."""
        return self.command("SHOW VERSION")[0]["version"]

    def observe(self) -> Observation:
        """Everything at once, for the assessment."""
        return Observation(
            version=self.version(),
            settings=self.settings(),
            databases=self.databases(),
            pools=tuple(self.pools()),
        )

    def _ask(self, command: str, deadline: float) -> list[Row]:
        assert self._connection is not None
        pgconn = self._connection.pgconn
        try:
            pgconn.send_query(command.encode())
            result = _last_result(pgconn, deadline)
        except psycopg.OperationalError as error:
            raise ConsoleLost(name=self.name, address=self.endpoint.address, reason=str(error)) from error
        if result is None:
            raise NoAnswer(name=self.name, command=command)
        if result.status == ExecStatus.FATAL_ERROR:
            reason = result.get_error_message().strip()
            if pgconn.status != ConnStatus.OK:
                raise ConsoleLost(name=self.name, address=self.endpoint.address, reason=reason)
            raise ConsoleRefused(name=self.name, command=command, reason=reason)
        return _rows(result)


def _last_result(pgconn: PGconn, deadline: float) -> PGresult | None:
    """The answer to the query sent, or None when the deadline has passed first."""
    last: PGresult | None = None
    poll = select.poll()
    writing = pgconn.flush() == 1
    poll.register(pgconn.socket, select.POLLIN | (select.POLLOUT if writing else 0))
    while True:
        while pgconn.is_busy():
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                return None
            if writing and pgconn.flush() == 0:
                writing = False
                poll.modify(pgconn.socket, select.POLLIN)
            pgconn.consume_input()
        result = pgconn.get_result()
        if result is None:
            return last
        last = result


def _rows(result: PGresult) -> list[Row]:
    names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
    return [
        {name: (result.get_value(row, column) or b"").decode(errors="replace") for column, name in enumerate(names)}
        for row in range(result.ntuples)
    ]


def holders(console: Console, names: Collection[str]) -> list[str]:
    """Who keeps the server connections of these database names busy, in words."""
    clients = {row["ptr"]: row for row in console.command("SHOW CLIENTS")}
    servers = [row for row in console.command("SHOW SERVERS") if row["database"] in names]
    return [f"{console.name}: {_in_words(row, clients.get(row['link']))}" for row in servers]


def _in_words(server: Row, client: Row | None) -> str:
    pid = f"server pid {server['remote_pid']}"
    if client is None:
        return f"{server['user']}@{server['database']} is in state {server['state']} ({pid})"
    name = client.get("application_name") or "no name"
    return (
        f"{client['user']}@{client['database']} from {client['addr']}:{client['port']} ({name}) "
        f"is in a transaction, last active {server['request_time']} ({pid})"
    )
