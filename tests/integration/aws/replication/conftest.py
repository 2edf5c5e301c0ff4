"""One pair of servers for all tests of the data plane, and two fresh databases for each of them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossfade_lab.postgres import PostgresServer

sys.path.insert(0, str(Path(__file__).parent))  # importmode=importlib leaves helpers beside the tests unreachable

from replication_tasks import Task, servers, task_between


@pytest.fixture(scope="session")
def pair() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    with servers() as running:
        yield running


@pytest.fixture
def task(pair: tuple[PostgresServer, PostgresServer]) -> Iterator[Task]:
    with task_between(*pair) as fresh:
        yield fresh
