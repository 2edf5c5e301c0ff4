"""A target to drop things on: servers of several versions, sessions that are killed, and what the catalog says."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import dict_row

from crossfade import control
from crossfade.plan import Tables
from crossfade.routers.base import Side
from crossfade.schema.inventory import inventory
from crossfade_lab.postgres import PostgresServer

MAJORS = (16, 18)  #: before and after constraints NOT NULL came into the catalog
HERE = Path(__file__).parent

_numbers = itertools.count(1)


class Session(psycopg.Connection[Any]):
    """A session that is ended before its n-th statement, or that calls somebody after each."""

    statements: int | None = None  #: how many it may still run; None: any number
    after: Callable[[str], None] | None = None  #: called with the text of each statement that was run
    kill: Callable[[int], None]

    def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
        if self.statements is not None:
            if self.statements == 0:
                self.kill(self.info.backend_pid)
            self.statements -= 1
        found = super().execute(query, *args, **kwargs)
        if self.after is not None:
            self.after(query.as_string() if isinstance(query, psycopg.sql.Composable) else str(query))
        return found


@dataclass
class Target:
    """A database with a migration in its journal."""

    server: PostgresServer
    dbname: str
    conn: Session = field(init=False)
    migration: UUID = field(init=False)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.conn = self.session()
        control.install(self.conn, Side.TARGET)
        query = "INSERT INTO crossfade.migration (plan, hash, document) VALUES ('shop', 'h', '{}') RETURNING id"
        self.migration = self.conn.execute(query).fetchone()["id"]

    def report(self, text: str) -> None:
        self.said.append(text)

    def session(self, statements: int | None = None) -> Session:
        """A session of its own; killed before the statement after that many."""
        conn = Session.connect(
            self.server.dsn(dbname=self.dbname), autocommit=True, row_factory=dict_row, prepare_threshold=None
        )
        conn.statements, conn.kill = statements, self._kill
        return conn

    def _kill(self, pid: int) -> None:
        with self.server.connect() as admin:
            deadline = time.monotonic() + 60
            while admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s", [pid]
            ).fetchone():
                assert time.monotonic() < deadline

    def killed_everywhere(self, work: Callable[[Session], object], after_each: Callable[[], None]) -> int:
        """Do the work again and again, killed one statement later each time, until it is done; how often it died."""
        for statements in itertools.count():
            with closing(self.session(statements)) as conn:  # nothing is committed on what may be half dead
                try:
                    work(conn)
                except psycopg.OperationalError:
                    after_each()
                else:
                    return statements
        raise AssertionError

    def catalog(self) -> dict[Any, Any]:
        """Everything that must come back: the inventory, and the constraints NOT NULL that 18 has."""
        rows = self.conn.execute(
            "SELECT conrelid::regclass::text AS t, conkey, conname, conislocal, coninhcount, connoinherit, convalidated"
            " FROM pg_constraint WHERE contype = 'n' AND conrelid <> 0 AND connamespace <> 'crossfade'::regnamespace"
        ).fetchall()
        named = {("n", row["t"], *row["conkey"]): tuple(row.values()) for row in rows}
        return {**inventory(self.conn, Tables()), **named}


@contextmanager
def target_on(server: PostgresServer, script: str) -> Iterator[Target]:
    """A fresh database in which a script of this directory was run."""
    dbname = f"dropping_{next(_numbers)}"
    with server.connect() as admin:
        admin.execute(f"CREATE DATABASE {dbname} TEMPLATE template0".encode())
    found = Target(server, dbname)
    found.conn.execute((HERE / script).read_text(encoding="utf-8").encode())
    yield found
    found.conn.close()
