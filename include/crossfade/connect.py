"""Opening connections to PostgreSQL: who we say we are, time limits, and session settings."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, LiteralString

import psycopg
import psycopg2
import psycopg2.extensions
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from crossfade.errors import DeadlineExceeded, Unreachable

Connection = psycopg.Connection[Any]

#: Every session of ours: no time limit of the server's ends a long copy, and values print the same everywhere.
SESSION_SETTINGS: Mapping[str, str] = {
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "lock_timeout": "0",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "client_encoding": "UTF8",
    "row_security": "off",  # an error instead of rows that silently are not seen
}

CONNECT_TIMEOUT = 10  #: seconds

#: Sessions that look after traffic: they may write, and their server forgets them soon after their host is lost, and
#: with them the lock that they hold. PostgreSQL's default is what the system has: two hours.
OF_TRAFFIC: Mapping[str, str] = {
    "default_transaction_read_only": "off",
    "tcp_keepalives_idle": "3",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "8000",
}

#: libpq's environment variable of each keyword that has one; who we are and our encoding are not an endpoint's to say.
_VARIABLES = {
    option.keyword.decode(): option.envvar.decode()
    for option in psycopg.pq.Conninfo.get_defaults()
    if option.envvar and option.keyword not in (b"application_name", b"client_encoding")
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """How one database is reached. The password never shows in its repr."""

    name: str  #: what people call it: the connection id
    host: str
    port: int = 5432
    dbname: str
    user: str
    password: str = field(default="", repr=False)
    #: Other libpq keywords: sslmode, sslrootcert, sslpassword …
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def from_dsn(cls, name: str, dsn: str) -> Endpoint:
        """Read a libpq DSN or URI. Raises `psycopg.ProgrammingError` where it is malformed."""
        parts = {k: str(v) for k, v in conninfo_to_dict(dsn).items() if v is not None}
        port = parts.pop("port", "5432")
        if not port.isdecimal():
            raise psycopg.ProgrammingError(f"{port!r} is not one port: name one server")
        return cls(
            name=name,
            host=parts.pop("host", "localhost"),
            port=int(port),
            dbname=parts.pop("dbname", "postgres"),
            user=parts.pop("user", os.environ.get("PGUSER", "postgres")),
            password=parts.pop("password", os.environ.get("PGPASSWORD", "")),
            options=parts,
        )

    @property
    def address(self) -> str:
        """Host, port and database, for messages."""
        return f"{self.host}:{self.port}/{self.dbname}"

    def conninfo(self, **extra: str) -> str:
        """The libpq connection string, *with the password*: for CREATE SUBSCRIPTION, never for a log."""
        return make_conninfo(
            **{
                **self.options,
                "host": self.host,
                "port": str(self.port),
                "dbname": self.dbname,
                "user": self.user,
                "password": self.password,
                **extra,
            }
        )

    def environment(self) -> dict[str, str]:
        """Environment for PostgreSQL's client programs: nothing secret on a command line."""
        env = {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGDATABASE": self.dbname,
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGCONNECT_TIMEOUT": str(CONNECT_TIMEOUT),
        }
        env.update({_VARIABLES[key]: value for key, value in self.options.items() if key in _VARIABLES})
        return env

    def with_database(self, dbname: str) -> Endpoint:
        """The same server, another database."""
        return replace(self, dbname=dbname)

    def impatient(self) -> Endpoint:
        """The same database for whoever looks after traffic: a host that does not answer is soon taken for dead."""
        return self.with_options(connect_timeout="4", tcp_user_timeout="5000")

    def with_options(self, **options: str) -> Endpoint:
        """The same database, with other libpq keywords, such as connect_timeout in seconds."""
        return replace(self, options={**self.options, **options})

    def connect(
        self, purpose: str, *, autocommit: bool = True, settings: Mapping[str, str] | None = None
    ) -> Connection:
        """
        Open a psycopg 3 connection whose application_name is ``crossfade/<purpose>``; rows are dicts.

        Raises `Unreachable`.
        """
        try:
            conn = psycopg.connect(
                self.conninfo(**{**_identity(purpose), **self._patience}),
                autocommit=autocommit,
                row_factory=dict_row,
                prepare_threshold=None,
            )
        except psycopg.OperationalError as error:
            raise Unreachable(name=self.name, address=self.address, reason=str(error)) from error
        _apply(conn, {**SESSION_SETTINGS, **(settings or {})})
        return conn

    @property
    def _patience(self) -> dict[str, str]:
        return {key: value for key, value in self.options.items() if key == "connect_timeout"}

    @contextmanager
    def session(self, purpose: str, *, settings: Mapping[str, str] | None = None) -> Iterator[Connection]:
        """An autocommit connection that is closed at the end."""
        conn = self.connect(purpose, settings=settings)
        try:
            yield conn
        finally:
            conn.close()

    def connect_bulk(self, purpose: str) -> psycopg2.extensions.connection:
        """Open a psycopg2 connection: its COPY moves twice the rows for the same client CPU. Raises `Unreachable`."""
        try:
            conn = psycopg2.connect(self.conninfo(**_identity(purpose)))
        except psycopg2.OperationalError as error:
            raise Unreachable(name=self.name, address=self.address, reason=str(error)) from error
        with conn.cursor() as cur:
            for key, value in SESSION_SETTINGS.items():
                cur.execute("SELECT set_config(%s, %s, false)", (key, value))
        conn.commit()
        return conn

    def connect_console(self) -> Connection:
        """
        Open a connection to a PgBouncer console, which knows only the simple query protocol. Raises `Unreachable`.
        """
        try:
            return psycopg.connect(
                self.conninfo(connect_timeout=str(CONNECT_TIMEOUT)),
                autocommit=True,
                row_factory=dict_row,
                prepare_threshold=None,
            )
        except psycopg.OperationalError as error:
            raise Unreachable(name=self.name, address=self.address, reason=str(error)) from error


def _identity(purpose: str) -> dict[str, str]:
    return {
        "application_name": f"crossfade/{purpose}"[:63],
        "connect_timeout": str(CONNECT_TIMEOUT),
        "keepalives_idle": "30",
        "keepalives_interval": "10",
        "keepalives_count": "3",
    }


def _apply(conn: Connection, settings: Mapping[str, str]) -> None:
    query = "SELECT " + ", ".join(["set_config(%s, %s, false)"] * len(settings))
    conn.execute(query, [part for item in settings.items() for part in item])


def scalar(conn: Connection, query: LiteralString | psycopg.sql.Composable, params: Any = None) -> Any:
    """The first column of the first row; None where there is no row."""
    row = conn.execute(query, params).fetchone()  # type: ignore[arg-type]  # Composable is accepted
    return None if row is None else next(iter(row.values()))


def end_sessions(conn: Connection, application_name: str, *, seconds: float = 10) -> int:
    """
    Terminate our own earlier sessions of that application_name in this database and wait until they are gone.

    A killed client's pending statement still lands (seen: an ALTER ROLE behind a lock took effect 2 s after the
    SIGKILL of its client), so whoever takes over ends it first.
    Returns how many there were. Raises `DeadlineExceeded`.
    """
    query = """
        SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = %s AND datname = current_database() AND pid <> pg_backend_pid()"""
    ended: set[int] = set()
    deadline = time.monotonic() + seconds
    while rows := conn.execute(query, [application_name]).fetchall():
        ended.update(row["pid"] for row in rows)
        if time.monotonic() > deadline:
            raise DeadlineExceeded(
                f"ending the sessions of {application_name}",
                seconds=seconds,
                seen=f"pids {sorted(ended)} still there",
            )
        time.sleep(0.05)
    return len(ended)
