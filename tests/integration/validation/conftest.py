"""Two servers, started once, with pairs of databases that are the same on both, strange names and all."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from crossfade.connect import Connection, Endpoint
from crossfade.plan import Tables
from crossfade.validation.sides import BothSides
from crossfade_lab.postgres import PostgresServer
from crossfade_lab.testing import server

_numbers = itertools.count(1)
_PASSWORD = "for tests only"  # of servers that last as long as the tests

ROLES = f"""
    CREATE ROLE keeper NOLOGIN;
    CREATE ROLE "Read Only" NOLOGIN;
    CREATE ROLE app LOGIN IN ROLE "Read Only";
    CREATE ROLE checker LOGIN PASSWORD '{_PASSWORD}' IN ROLE pg_read_all_data, pg_monitor;
    CREATE ROLE stranger LOGIN PASSWORD '{_PASSWORD}';
"""


@dataclass(frozen=True)
class Twins:
    """A database of the same name and content on two servers."""

    source: PostgresServer
    target: PostgresServer
    name: str

    def end(self, side: str, user: str = "postgres") -> Endpoint:
        """How it is reached on that side."""
        password = None if user == "postgres" else _PASSWORD
        chosen: PostgresServer = getattr(self, side)
        return Endpoint.from_dsn(side, chosen.dsn(user=user, password=password, dbname=self.name))

    def connect(self, side: str, user: str = "postgres") -> Connection:
        """An autocommit session."""
        return self.end(side, user).connect("test")

    def on_both(self, statements: str) -> None:
        """Run them as the superuser."""
        for side in ("source", "target"):
            with self.end(side).session("test") as conn:
                conn.execute(statements.encode())


def _running(major: int) -> Iterator[PostgresServer]:
    with server(major) as running:
        with running.connect() as admin:
            admin.execute(ROLES.encode())
        yield running


@pytest.fixture(scope="session")
def server_15() -> Iterator[PostgresServer]:
    """The oldest that the tests have."""
    yield from _running(15)


@pytest.fixture(scope="session")
def server_16() -> Iterator[PostgresServer]:
    """The usual source."""
    yield from _running(16)


@pytest.fixture(scope="session")
def server_18() -> Iterator[PostgresServer]:
    """The usual target."""
    yield from _running(18)


def make_twins(source: PostgresServer, target: PostgresServer) -> Twins:
    """A fresh pair."""
    twins = Twins(source, target, f"twin_{next(_numbers)}")
    for each in (source, target):
        with each.connect() as admin:
            admin.execute(f"CREATE DATABASE {twins.name} ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0".encode())
    twins.on_both(Path(__file__).with_name("twins.sql").read_text(encoding="utf-8"))
    return twins


@pytest.fixture(scope="module")
def shared(server_16: PostgresServer, server_18: PostgresServer) -> Twins:
    """A pair for tests that change nothing for good."""
    return make_twins(server_16, server_18)


@pytest.fixture
def twins(server_16: PostgresServer, server_18: PostgresServer) -> Twins:
    """A pair of the test's own."""
    return make_twins(server_16, server_18)


@pytest.fixture
def both() -> Iterator[Callable[..., BothSides]]:
    """Opens sessions on both sides of a pair; they end with the test."""
    opened: list[BothSides] = []

    def make(twins: Twins, user: str = "checker", **known: object) -> BothSides:
        source, target = (twins.connect(side, user) for side in ("source", "target"))
        sides = BothSides(source=source, target=target, tables=Tables(), **known)
        opened.append(sides)
        return sides

    yield make
    for sides in opened:
        sides.source.close()
        sides.target.close()
