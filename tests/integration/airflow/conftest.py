"""A real subscription from 16 to 18, reached through Airflow connections, as sensors reach it."""

import json
from dataclasses import dataclass, field

import psycopg
import pytest

from crossfade_lab.postgres import PostgresServer
from crossfade_lab.testing import cluster_pair

STREAM = "crossfade_test_1"


@dataclass
class Streaming:
    """Two servers between which one table is streamed."""

    source_server: PostgresServer
    target_server: PostgresServer
    source: psycopg.Connection = field(init=False)
    target: psycopg.Connection = field(init=False)

    def __post_init__(self):
        self.source, self.target = self.source_server.connect(), self.target_server.connect()

    def write(self, rows: int = 1, size: int = 10) -> None:
        """Insert rows of that many bytes on the source."""
        query = "INSERT INTO t (payload) SELECT repeat('x', %s) FROM generate_series(1, %s)"
        self.source.execute(query, [size, rows])


@pytest.fixture(scope="module")
def servers():
    with cluster_pair() as (source, target):
        yield source, target


@pytest.fixture
def streaming(servers, monkeypatch):
    """The stream, made anew for each test; the connections `test_source` and `test_target` lead to it."""
    pair = Streaming(*servers)
    for name, server in zip(("source", "target"), servers, strict=True):
        connection = {
            "conn_type": "postgres",
            "host": server.host,
            "port": server.port,
            "schema": "postgres",
            "login": server.user,
            "password": server.password,
        }
        monkeypatch.setenv(f"AIRFLOW_CONN_TEST_{name.upper()}", json.dumps(connection))
    for side in (pair.source, pair.target):
        side.execute("CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payload text)")
    pair.source.execute(f"CREATE PUBLICATION {STREAM} FOR TABLE t")
    dsn = pair.source_server.dsn().replace("'", "''")
    pair.target.execute(
        f"CREATE SUBSCRIPTION {STREAM} CONNECTION '{dsn}' PUBLICATION {STREAM} WITH (copy_data = false)"
    )
    yield pair
    pair.target.execute(f"ALTER SUBSCRIPTION {STREAM} DISABLE")
    pair.target.execute(f"ALTER SUBSCRIPTION {STREAM} SET (slot_name = NONE)")
    pair.target.execute(f"DROP SUBSCRIPTION {STREAM}")
    pair.source.execute(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active_pid IS NOT NULL"
    )
    for _ in range(1000):
        try:
            pair.source.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
            break
        except psycopg.errors.ObjectInUse:
            pair.source.execute("SELECT pg_sleep(0.05)")
    pair.source.execute(f"DROP PUBLICATION IF EXISTS {STREAM}")
    for side in (pair.source, pair.target):
        side.execute("DROP TABLE t")
        side.close()
