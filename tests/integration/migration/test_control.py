"""The control schema: fresh on both sides, brought up from version 1, refused where it is newer."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.rows import dict_row

from crossfade import control
from crossfade.connect import Connection
from crossfade.queries import named_queries
from crossfade.routers.base import Side
from crossfade_lab import testing
from crossfade_lab.postgres import PostgresServer

DDL = named_queries(control.__file__)
OF_DMS = {"restore", "lob", "resource"}

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with testing.server(18) as running:
        yield running


@pytest.fixture
def conn(server: PostgresServer) -> Iterator[Connection]:
    """A session in an empty database."""
    dbname = f"control_{next(_numbers)}"
    with server.connect() as admin:
        admin.execute(f"CREATE DATABASE {dbname} TEMPLATE template0".encode())
    with psycopg.connect(server.dsn(dbname=dbname), autocommit=True, row_factory=dict_row) as found:
        yield found


def tables(conn: Connection) -> set[str]:
    rows = conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'crossfade'").fetchall()
    return {row["tablename"] for row in rows}


def make_version_1(conn: Connection, side: Side) -> None:
    conn.execute("CREATE SCHEMA crossfade; CREATE TABLE crossfade.version (version integer NOT NULL)")
    conn.execute("INSERT INTO crossfade.version VALUES (1)")
    conn.execute(DDL["both"])
    if side is Side.TARGET:
        conn.execute(DDL["target"])
        conn.execute("INSERT INTO crossfade.migration (plan, hash, document) VALUES ('shop', 'h', '{}')")


def test_each_side_gets_its_tables_and_a_second_time_nothing(conn: Connection) -> None:
    control.install(conn, Side.SOURCE)
    assert tables(conn) == {"version", "attempt", "fence", "watermark", "restore"}
    assert control.version(conn) == control.VERSION == 5
    control.install(conn, Side.TARGET)
    assert tables(conn) >= {"attempt", "migration", "step", "part"} | OF_DMS
    before = tables(conn)
    control.install(conn, Side.TARGET)
    control.install(conn, Side.SOURCE)
    assert tables(conn) == before


def test_a_target_of_version_1_keeps_its_journal_and_gets_what_is_new(conn: Connection) -> None:
    make_version_1(conn, Side.TARGET)
    assert not tables(conn) & OF_DMS
    control.install(conn, Side.TARGET)
    assert tables(conn) >= OF_DMS
    assert control.version(conn) == control.VERSION
    conn.execute("UPDATE crossfade.migration SET state = 'rolling back'")
    assert conn.execute("SELECT plan FROM crossfade.migration").fetchall() == [{"plan": "shop"}]


def test_a_source_of_version_1_gets_its_new_version_and_no_journal(conn: Connection) -> None:
    make_version_1(conn, Side.SOURCE)
    control.install(conn, Side.SOURCE)
    assert tables(conn) == {"version", "attempt", "fence", "watermark", "restore"}
    assert control.version(conn) == control.VERSION
    conn.execute("SELECT generation, abort_asked_at FROM crossfade.attempt")


@pytest.mark.parametrize("side", list(Side))
def test_a_newer_one_is_refused_and_left_alone(conn: Connection, side: Side) -> None:
    control.install(conn, Side.SOURCE)
    conn.execute("UPDATE crossfade.version SET version = 6")
    with pytest.raises(control.NewerJournal, match=r"has version 6, this program knows 5"):
        control.install(conn, side)
    assert control.version(conn) == 6
    assert "migration" not in tables(conn)


def test_version_3_gets_a_ledger_that_holds_entries_of_migrations_elsewhere(conn: Connection) -> None:
    conn.execute("CREATE SCHEMA crossfade; CREATE TABLE crossfade.version (version integer NOT NULL)")
    conn.execute("INSERT INTO crossfade.version VALUES (3)")
    for part in ("both", "both_3", "target"):
        conn.execute(DDL[part])
    ledger = (
        DDL["both_4"].split("ALTER TABLE")[0].replace("uuid NOT NULL", "uuid NOT NULL REFERENCES crossfade.migration")
    )
    conn.execute(ledger.encode())
    for part in ("target_2", "target_3"):
        conn.execute(DDL[part])
    control.install(conn, Side.TARGET)
    assert control.version(conn) == control.VERSION
    conn.execute(
        "INSERT INTO crossfade.restore (migration_id, kind, schema, table_name, name, definition)"
        " VALUES (gen_random_uuid(), 'not null', 's', 't', 'c', ARRAY['x'])"
    )
    conn.execute("INSERT INTO crossfade.migration (plan, hash, document, carrier) VALUES ('shop', 'h', '{}', 'slot')")
