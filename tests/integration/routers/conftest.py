"""Two databases on one server as the two sides, and PgBouncers in front of them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from crossfade.connect import Endpoint
from crossfade.plan_routers import PgBouncerRouter
from crossfade.routers.base import Side
from crossfade.routers.pgbouncer import PgBouncerFleet
from crossfade_lab.pgbouncer import Destination, PgBouncer, write_databases
from crossfade_lab.postgres import PostgresServer
from crossfade_lab.testing import scratch_directory, server

APP, PASSWORD = "app", "it's app"
SIDES = {Side.SOURCE: "old", Side.TARGET: "it's new"}


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server with the databases of both sides, each with one table `side` that says which it is."""
    with server(16) as running:
        with running.connect() as conn:
            conn.execute(f"CREATE ROLE {APP} LOGIN PASSWORD 'it''s app'")
            for dbname in SIDES.values():
                conn.execute(f'CREATE DATABASE "{dbname}"')
        for side, dbname in SIDES.items():
            with running.connect(dbname) as conn:
                conn.execute("CREATE TABLE side (name text)")
                conn.execute("INSERT INTO side VALUES (%s)", [side.value])
                conn.execute("CREATE TABLE written (n int)")
                conn.execute(f"GRANT ALL ON side, written TO {APP}")
        yield running


@dataclass
class Pooled:
    """PgBouncers in front of one server, and the file that says where they lead."""

    postgres: PostgresServer
    bouncers: list[PgBouncer]
    file: Path
    names: tuple[str, ...]

    def sides(self) -> dict[Side, Endpoint]:
        return {
            side: Endpoint(name=f"shop_{side}", host="127.0.0.1", port=self.postgres.port, dbname=dbname, user="x")
            for side, dbname in SIDES.items()
        }

    def destination(self, side: Side) -> Destination:
        quoted = SIDES[side].replace("'", "''")
        return Destination(host="127.0.0.1", port=self.postgres.port, dbname=f"'{quoted}'")

    def consoles(self) -> list[Endpoint]:
        return [Endpoint.from_dsn(f"pgbouncer_{n}", each.admin_dsn()) for n, each in enumerate(self.bouncers, 1)]

    def entry(self, switch: object = None) -> PgBouncerRouter:
        return PgBouncerRouter.model_validate(
            {
                "kind": "pgbouncer",
                "admin": [console.name for console in self.consoles()],
                "database": self.names,
                "switch": switch or {"file": str(self.file)},
            }
        )

    def fleet(self, switch: object = None) -> PgBouncerFleet:
        return PgBouncerFleet(entry=self.entry(switch), consoles=self.consoles(), sides=self.sides())

    def client(self, number: int = 0, name: str | None = None) -> psycopg.Connection:
        """An application's connection, in autocommit."""
        dsn = self.bouncers[number].dsn(APP, name or self.names[0])
        return psycopg.connect(dsn, autocommit=True, prepare_threshold=None, connect_timeout=60)

    def side_seen(self, number: int = 0, name: str | None = None) -> str:
        with self.client(number, name) as conn:
            row = conn.execute("SELECT name FROM side").fetchone()
            assert row is not None
            return str(row[0])


@contextmanager
def pooled(
    postgres: PostgresServer, *, count: int = 2, names: tuple[str, ...] = ("shop",), **settings: str
) -> Iterator[Pooled]:
    """Instances that start by leading to the source."""
    with scratch_directory() as directory, ExitStack() as stack:
        file = directory / "databases.ini"
        setup = Pooled(postgres=postgres, bouncers=[], file=file, names=names)
        write_databases(file, {name: setup.destination(Side.SOURCE) for name in (*names, "neighbour")})
        for n in range(1, count + 1):
            bouncer = PgBouncer(directory / f"b{n}", file, {APP: PASSWORD}, settings=settings)
            setup.bouncers.append(stack.enter_context(bouncer))
        yield setup


@pytest.fixture
def one(postgres: PostgresServer) -> Iterator[Pooled]:
    """One PgBouncer."""
    with pooled(postgres, count=1) as setup:
        yield setup


@pytest.fixture
def two(postgres: PostgresServer) -> Iterator[Pooled]:
    """A fleet of two."""
    with pooled(postgres) as setup:
        yield setup
