"""Servers for the schema's tests: started once, with fresh databases for each test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from crossfade import catalog
from crossfade.connect import Connection, Endpoint
from crossfade.plan import Tables
from crossfade.schema import archive, database, harden, restore, roles
from crossfade_lab.postgres import PostgresServer, binaries
from crossfade_lab.testing import ShopPair, shop_pair

_numbers = itertools.count(1)


@dataclass
class Move:
    """One move of a schema from a database to an empty one, step by step, as the migration role."""

    source_end: Endpoint
    target_end: Endpoint
    source: Connection
    target: Connection
    tables: Tables
    said: list[str]
    target_major: int = 18

    def report(self, text: str) -> None:
        self.said.append(text)

    def carry_roles(self, *applications: str) -> list[str]:
        return roles.ensure_roles(self.target, roles.read_roles(self.source, applications), self.report)

    def dump(self) -> bytes:
        return archive.dump_archive(self.source_end, self.tables, target_major=self.target_major)

    def restore(self, dumped: bytes) -> None:
        self.carry_roles()
        database.carry_database(self.source, self.target, self.report)
        restore.restore_pre_data(self.target, dumped, self.report)

    def copy_rows(self) -> None:
        """Rows by text COPY: few, and only where keys and triggers are not there yet."""
        for table in catalog.tables(self.source, self.tables):
            columns = ", ".join(f'"{c.name.replace(chr(34), chr(34) * 2)}"' for c in table.copied_columns)
            name = table.identifier.as_string()
            rows = f"(SELECT {columns} FROM ONLY {name})"  # noqa: S608  # names of our own, quoted
            with (
                self.source.cursor().copy(f"COPY {rows} TO STDOUT".encode()) as out,
                self.target.cursor().copy(f"COPY {name} ({columns}) FROM STDIN".encode()) as into,
            ):
                for block in out:
                    into.write(block)

    def build_keys(self, dumped: bytes) -> None:
        archived = archive.entries(dumped)
        builder = restore.IndexBuilder(archived, archive.classify(self.source, archived))
        for table in catalog.tables(self.source, self.tables):
            builder.build_all(self.target, table.oid, self.report)

    def harden(self, dumped: bytes, **options: float) -> None:
        archived = archive.entries(dumped)
        harden.harden(self.target, archived, archive.classify(self.source, archived), self.report, **options)

    def reconnect(self) -> None:
        self.target.close()
        self.target = self.target_end.connect("test")

    def everything(self) -> bytes:
        dumped = self.dump()
        self.restore(dumped)
        self.copy_rows()
        self.build_keys(dumped)
        self.harden(dumped)
        return dumped


@pytest.fixture(scope="session", autouse=True)
def client_programs() -> Iterator[None]:
    """PostgreSQL 18's programs for every test here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PG_BIN", str(binaries(18)))
        yield


@pytest.fixture(scope="session")
def servers() -> Iterator[ShopPair]:
    """The shop on 16, and an 18 with the migration role."""
    with shop_pair(rows=300) as pair:
        yield pair


def empty_database(server: PostgresServer) -> str:
    """A new empty database that belongs to the migration role."""
    name = f"empty_{next(_numbers)}"
    with server.connect() as conn:
        conn.execute(f"CREATE DATABASE {name} OWNER crossfade ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0".encode())
    return name


@pytest.fixture(scope="module")
def moves(servers: ShopPair) -> Iterator[Callable[..., Move]]:
    """Make a move from a database of the 16 (the shop) to a fresh one on the 18; or between other servers."""
    made: list[Move] = []

    def make(
        dbname: str = "shop",
        *,
        source: PostgresServer = servers.source,
        target: PostgresServer = servers.target,
        source_password: str = servers.logins.crossfade,
        tables: Tables | None = None,
    ) -> Move:
        there = source.dsn(user="crossfade", password=source_password, dbname=dbname)
        here = target.dsn(user="crossfade", password=servers.logins.crossfade, dbname=empty_database(target))
        ends = [Endpoint.from_dsn("source", there), Endpoint.from_dsn("target", here)]
        move = Move(*ends, *(end.connect("test") for end in ends), tables or Tables(), [], target.major)
        made.append(move)
        return move

    yield make
    for move in made:
        move.source.close()
        move.target.close()


@pytest.fixture
def shop_move(moves: Callable[..., Move]) -> Move:
    """The shop, on its way from 16 to 18."""
    return moves()


@pytest.fixture(scope="session")
def zoo(servers: ShopPair) -> str:
    """A database on the 16 with one of everything."""
    with servers.source.connect() as conn:
        conn.execute("CREATE DATABASE zoo ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0")
    servers.source.psql(Path(__file__).with_name("zoo.sql"), dbname="zoo")
    return "zoo"
