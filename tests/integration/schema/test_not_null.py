"""NOT NULL goes and comes back as it was, whatever was killed in between, and keeps nobody from writing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest

from crossfade.errors import DeadlineExceeded
from crossfade.schema import patience
from crossfade.schema.ledger import Kind, Ledger, NotRestored
from crossfade.schema.not_null import (
    Column,
    ColumnGone,
    NotDroppable,
    NullsFound,
    drop_not_null,
    enforce,
    relax,
    restore_not_null,
)
from crossfade_lab import testing
from crossfade_lab.postgres import PostgresServer

from .dropping import HERE, MAJORS, Session, Target, target_on

ITEMS = '"Strange Place"."Order Items"'
QUOTE: Column = ("Strange Place", "Order Items", 'naïve"quote')
JSON: Column = ("Strange Place", "Order Items", "100% json;")
COLUMNS: list[Column] = [
    QUOTE,
    JSON,
    ("public", "events_2a", "note"),
    ("public", "loose_1", "note"),
    ("public", "animals", "name"),
]
FEW: list[Column] = [QUOTE, ("public", "events_2a", "note")]
COLUMNS_OF_18: list[Column] = [("public", "lenient", "note"), ("public", "lenient_too", "note")]


@pytest.fixture(scope="module", params=MAJORS)
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    with testing.server(request.param) as running:
        yield running


@pytest.fixture
def target(server: PostgresServer) -> Iterator[Target]:
    with target_on(server, "not_null.sql") as found:
        if server.major >= 18:
            found.conn.execute((HERE / "not_null_18.sql").read_text(encoding="utf-8").encode())
        yield found


def columns_of(target: Target) -> list[Column]:
    return COLUMNS + (COLUMNS_OF_18 if target.server.major >= 18 else [])


def drop(target: Target, columns: Sequence[Column] | None = None, conn: Session | None = None) -> int:
    chosen = columns_of(target) if columns is None else columns
    return drop_not_null(conn or target.conn, target.migration, chosen, target.report)


def restore(target: Target, conn: Session | None = None) -> int:
    return restore_not_null(conn or target.conn, target.migration, target.report)


def not_null(target: Target) -> set[str]:
    rows = target.conn.execute(
        "SELECT c.relname || '.' || a.attname AS name FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE a.attnotnull AND a.attnum > 0 AND c.relkind IN ('r', 'p')"
        """ AND n.nspname IN ('public', 'Strange Place')"""
    ).fetchall()
    return {row["name"] for row in rows}


def checks(target: Target) -> int:
    query = "SELECT count(*) AS n FROM pg_constraint WHERE conname ~ '^crossfade_not_null_'"
    return int(target.conn.execute(query).fetchone()["n"])


def test_exactly_what_was_asked_for_becomes_nullable_and_comes_back_as_it_was(target: Target) -> None:
    before, held = target.catalog(), not_null(target)
    assert drop(target) == len(columns_of(target))
    gone = {'Order Items.naïve"quote', "Order Items.100% json;", "events.note", "events_1.note", "events_2.note"}
    gone |= {"events_2a.note", "loose_1.note", "animals.name", "dogs.name"}
    if target.server.major >= 18:
        gone |= {"lenient.note", "lenient_too.note", "local_too.name"}
    assert held - not_null(target) == gone
    target.conn.execute(b'UPDATE "Strange Place"."Order Items" SET "100% json;" = NULL WHERE id = 7')
    target.conn.execute(b"""UPDATE "Strange Place"."Order Items" SET "100% json;" = '{}' WHERE id = 7""")

    assert restore(target) == len(gone)
    assert target.catalog() == before
    assert Ledger(target.conn, target.migration).pending() == []
    assert restore(target) == 0


def test_columns_that_must_stay_are_refused_all_at_once_and_nothing_is_touched(target: Target) -> None:
    before = target.catalog()
    asked = [
        QUOTE,
        ("Strange Place", "Order Items", "select"),
        ("Strange Place", "Order Items", "counted"),
        ("Strange Place", "Order Items", "domained"),
        ("Strange Place", "Order Items", "nowhere"),
        ("public", "keyed", "a"),
    ]
    with pytest.raises(NotDroppable) as refused:
        drop(target, asked)
    for part in (
        "Order Items.select: it is part of the primary key",
        "Order Items.counted: it is an identity column",
        "Order Items.domained: its type, the domain",
        "given, is NOT NULL",
        "Order Items.nowhere: there is no such column",
        "public.keyed.a: it is part of the replica identity",
    ):
        assert part in str(refused.value)
    assert QUOTE[2] not in str(refused.value)
    assert target.catalog() == before
    assert Ledger(target.conn, target.migration).pending() == []


def test_a_column_that_an_index_only_includes_can_be_dropped(target: Target) -> None:
    assert drop(target, [("public", "keyed", "b")]) == 1


def test_a_column_that_is_nullable_already_is_left_alone(target: Target) -> None:
    assert drop(target, [("Strange Place", "Order Items", "free")]) == 0
    assert "Strange Place.Order Items.free is nullable already" in target.said
    assert Ledger(target.conn, target.migration).pending() == []


def test_whatever_was_killed_while_dropping_is_in_the_ledger(target: Target) -> None:
    before = target.catalog()

    def restored() -> None:
        restore(target)
        assert target.catalog() == before

    assert target.killed_everywhere(lambda conn: drop(target, FEW, conn), restored) > 10


def test_a_restore_that_is_killed_anywhere_is_taken_up(target: Target) -> None:
    before = target.catalog()
    drop(target, FEW)
    deaths = target.killed_everywhere(lambda conn: restore(target, conn), lambda: _drop_what_is_back(target))
    assert deaths > 20
    assert target.catalog() == before


def _drop_what_is_back(target: Target) -> None:
    """Take up the restore that was killed, then begin again."""
    restore(target)
    drop(target, FEW)


def test_nulls_are_counted_with_the_key_of_one_and_the_checks_go_again(target: Target) -> None:
    before = target.catalog()
    drop(target)
    target.conn.execute('UPDATE "Strange Place"."Order Items" SET "naïve""quote" = NULL WHERE id IN (3, 4)'.encode())
    target.conn.execute("UPDATE public.events SET note = NULL WHERE id = 10")
    with pytest.raises(NullsFound) as found:
        restore(target)
    message = str(found.value)
    assert 'Strange Place.Order Items.naïve"quote is NULL in 2 rows, for example where id = 3, select = 0' in message
    assert "public.events_2a.note is NULL in 1 rows, for example where ctid = (" in message
    assert "100% json" not in message
    assert "reload the tables" in message
    assert checks(target) == 0

    target.conn.execute('UPDATE "Strange Place"."Order Items" SET "naïve""quote" = \'\' WHERE id IN (3, 4)'.encode())
    target.conn.execute("UPDATE public.events SET note = '' WHERE id = 10")
    restore(target)
    assert target.catalog() == before


def test_new_nulls_are_refused_between_the_pause_and_the_restore(target: Target) -> None:
    before = target.catalog()
    drop(target)
    target.conn.execute(b'UPDATE "Strange Place"."Order Items" SET "100% json;" = NULL WHERE id = 9')
    nullable = target.catalog()
    assert enforce(target.conn, target.migration) >= 6
    assert enforce(target.conn, target.migration) == 0
    for statement in (
        'UPDATE "Strange Place"."Order Items" SET "100% json;" = NULL WHERE id = 1',
        "INSERT INTO public.events VALUES (99, 3, NULL)",
        "UPDATE public.dogs SET name = NULL",
    ):
        with pytest.raises(psycopg.errors.CheckViolation):
            target.conn.execute(statement.encode())

    assert relax(target.conn, target.migration) >= 6
    assert target.catalog() == nullable
    assert relax(target.conn, target.migration) == 0

    enforce(target.conn, target.migration)
    with pytest.raises(NullsFound):
        restore(target)
    assert checks(target) > 0, "the checks of the pause stay"
    target.conn.execute(b"""UPDATE "Strange Place"."Order Items" SET "100% json;" = '1' WHERE id = 9""")
    restore(target)
    assert target.catalog() == before


def test_others_write_while_rows_are_read_and_nothing_is_read_under_the_long_lock(target: Target) -> None:
    drop(target, [QUOTE, JSON])
    notices: list[str] = []
    written: list[int] = []
    writer = psycopg.connect(target.server.dsn(dbname=target.dbname), autocommit=True, options="-c lock_timeout=2s")

    def write(statement: str) -> None:
        """The transaction that validates is still open, and holds its lock."""
        if "VALIDATE CONSTRAINT" in statement:
            insert = f"INSERT INTO {ITEMS} VALUES (0, %s, 'x', '{{}}', NULL, DEFAULT, 'd')"  # noqa: S608
            writer.execute(insert.encode(), [1000 + len(written)])
            written.append(len(written))

    with target.session() as conn:
        conn.execute("SET client_min_messages = debug1")
        conn.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        conn.after = write
        restore(target, conn)
    writer.close()
    assert len(written) == 1, "both columns are read by one statement"
    sufficient = [notice for notice in notices if "are sufficient to prove that it does not contain nulls" in notice]
    assert len(sufficient) == 2, notices


def test_a_table_in_use_is_waited_for_in_short_turns(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LOCK_TIMEOUT", "20ms")
    drop(target, [QUOTE])
    with psycopg.connect(target.server.dsn(dbname=target.dbname)) as reader:
        reader.execute(f"SELECT FROM {ITEMS}".encode())
        with pytest.raises(DeadlineExceeded, match=r"refusing NULL in Strange Place\.Order Items"):
            enforce(target.conn, target.migration, seconds=0.3)
    assert enforce(target.conn, target.migration, seconds=0.3) == 1


def test_a_column_that_is_gone_is_said_so(target: Target) -> None:
    drop(target, [QUOTE])
    target.conn.execute(f'ALTER TABLE {ITEMS} DROP COLUMN "naïve""quote"'.encode())
    with pytest.raises(ColumnGone, match=r'Order Items\.naïve"quote.*id \d+'):
        restore(target)


def test_a_name_that_somebody_else_took_is_said_so(target: Target) -> None:
    if target.server.major < 18:
        pytest.skip("NOT NULL has a name from 18 on")
    drop(target, [QUOTE])
    target.conn.execute(f'ALTER TABLE {ITEMS} ADD CONSTRAINT "must be; 100% said" CHECK (id > 0)'.encode())
    with pytest.raises(NotRestored, match="must be; 100% said"):
        restore(target)
    target.conn.execute(f'ALTER TABLE {ITEMS} DROP CONSTRAINT "must be; 100% said"'.encode())
    assert restore(target) == 1


def test_a_partition_that_was_attached_keeps_its_name(target: Target) -> None:
    if target.server.major < 18:
        pytest.skip("NOT NULL has a name from 18 on")
    target.conn.execute("CREATE TABLE public.attached (id int, day int NOT NULL, note text NOT NULL)")
    target.conn.execute("ALTER TABLE public.events ATTACH PARTITION public.attached FOR VALUES FROM (30) TO (40)")
    before = _names(target)
    drop(target, [("public", "events", "note")])
    restore(target)
    assert _names(target) == before
    assert "attached attached_note_not_null" in before


def _names(target: Target) -> dict[str, Any]:
    rows = target.conn.execute(
        "SELECT conrelid::regclass || ' ' || conname AS name, coninhcount FROM pg_constraint WHERE contype = 'n'"
        " AND connamespace = 'public'::regnamespace"
        " AND conname ~ 'note_not_null'"
    ).fetchall()
    return {row["name"]: row["coninhcount"] for row in rows}


def test_an_entry_stays_what_was_seen_first(target: Target) -> None:
    drop(target, [QUOTE])
    entered = Ledger(target.conn, target.migration).pending(Kind.NOT_NULL)
    drop(target, [QUOTE])
    assert Ledger(target.conn, target.migration).pending(Kind.NOT_NULL) == entered
