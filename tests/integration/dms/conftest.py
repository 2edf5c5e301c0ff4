"""A source with tables of awkward names, awkward types and values of known sizes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crossfade.connect import Endpoint
from crossfade_lab.postgres import PostgresServer
from crossfade_lab.testing import server


@pytest.fixture(scope="package")
def postgres() -> Iterator[PostgresServer]:
    """One server for the tests here."""
    with server(16) as running:
        yield running


@pytest.fixture(scope="module")
def source(postgres: PostgresServer, request: pytest.FixtureRequest) -> Endpoint:
    """A database of its own for each module."""
    name = f"dms_{request.module.__name__.rpartition('.')[2]}"
    with postgres.connect() as conn:
        conn.execute(f"CREATE DATABASE {name}".encode())
    return Endpoint.from_dsn("source", postgres.dsn(dbname=name))
