"""Foreign keys, triggers and indexes go and come back as they were, whatever was killed in between."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from crossfade.errors import DeadlineExceeded
from crossfade.schema import patience
from crossfade.schema.ledger import Kind, Ledger, NotRestored
from crossfade_lab import testing
from crossfade_lab.postgres import PostgresServer

from .dropping import MAJORS, Session, Target, target_on

ITEMS = ("Strange Place", "Order Items")
TABLES = [ITEMS, ("public", "customers"), ("public", "keyed"), ("public", "events"), ("public", "follows")]
FEW = [("public", "events_1"), ("public", "follows"), ("public", "keyed")]
LEFT = """
    SELECT (SELECT count(*) FROM pg_constraint
            WHERE contype = 'f' AND connamespace <> 'crossfade'::regnamespace) AS keys,
           (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal) AS triggers,
           (SELECT array_agg(relname::text ORDER BY relname) FROM pg_class
            WHERE relkind IN ('i', 'I') AND relnamespace IN ('public'::regnamespace, '"Strange Place"'::regnamespace)
              AND relname NOT LIKE '%_pkey') AS indexes"""


@pytest.fixture(scope="module", params=MAJORS)
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    with testing.server(request.param) as running:
        yield running


@pytest.fixture
def target(server: PostgresServer) -> Iterator[Target]:
    with target_on(server, "ledger.sql") as found:
        yield found


def drop_everything(target: Target, conn: Session | None = None, tables: list[tuple[str, str]] = TABLES) -> None:
    ledger = Ledger(conn or target.conn, target.migration)
    ledger.drop_foreign_keys(tables, target.report)
    ledger.drop_triggers(tables, target.report)
    ledger.drop_indexes(tables, target.report)


def test_everything_is_dropped_and_comes_back_as_it_was(target: Target) -> None:
    before = target.catalog()
    drop_everything(target)
    # what is only on a partition that was not named stays, as do keys and replica identities
    assert tuple(target.conn.execute(LEFT).fetchone().values()) == (0, 0, ["keyed_a", "only_here"])
    assert "index keyed_a on public.keyed stays: it is a replica identity" in target.said
    ledger = Ledger(target.conn, target.migration)
    assert {entry.name for entry in ledger.pending(Kind.TRIGGER)} == {"Always On", "late", "seen"}

    assert ledger.restore(target.report) == 5 + 3 + 9
    assert target.catalog() == before
    assert ledger.pending() == []
    assert ledger.restore(target.report) == 0


def test_an_index_that_a_foreign_key_needs_stays_where_the_key_does(target: Target) -> None:
    Ledger(target.conn, target.migration).drop_indexes([("public", "customers")], target.report)
    assert "index by_code on public.customers stays: a foreign key points at it" in target.said
    assert "index one_email on public.customers dropped" in target.said


def test_an_invalid_index_is_left_alone(target: Target) -> None:
    target.conn.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'public.keyed_b'::regclass")
    assert Ledger(target.conn, target.migration).drop_indexes([("public", "keyed")], target.report) == 0
    assert "index keyed_b on public.keyed stays: it is invalid: REINDEX or drop it" in target.said


def test_whatever_was_killed_while_dropping_is_in_the_ledger(target: Target) -> None:
    before = target.catalog()

    def restored() -> None:
        Ledger(target.conn, target.migration).restore(target.report)
        assert target.catalog() == before

    assert target.killed_everywhere(lambda conn: drop_everything(target, conn, FEW), restored) > 20


def test_a_restore_that_is_killed_anywhere_is_taken_up(target: Target) -> None:
    before = target.catalog()
    drop_everything(target, tables=FEW)

    def restore(conn: Session) -> None:
        Ledger(conn, target.migration).restore(target.report)

    assert target.killed_everywhere(restore, lambda: drop_everything(target, tables=FEW)) > 20
    assert target.catalog() == before


def test_what_somebody_else_made_again_is_left_as_it_is(target: Target) -> None:
    before = target.catalog()
    ledger = Ledger(target.conn, target.migration)
    ledger.drop_foreign_keys([ITEMS], target.report)
    target.conn.execute(
        'ALTER TABLE "Strange Place"."Order Items" ADD CONSTRAINT "100% its own" FOREIGN KEY (parent)'
        ' REFERENCES "Strange Place"."Order Items" ON DELETE CASCADE NOT VALID;'
        """COMMENT ON CONSTRAINT "100% its own" ON "Strange Place"."Order Items" IS 'it''s; a %s comment'"""
    )
    ledger.restore(target.report)
    assert target.catalog() == before


def test_rows_that_break_a_key_are_named_and_the_rest_follows_when_they_are_gone(target: Target) -> None:
    before = target.catalog()
    ledger = Ledger(target.conn, target.migration)
    ledger.drop_foreign_keys([ITEMS], target.report)
    target.conn.execute('UPDATE "Strange Place"."Order Items" SET parent = 99 WHERE id = 7')
    with pytest.raises(NotRestored, match=r"100% its own on Strange Place\.Order Items .*\(parent\)=\(99\).*reload it"):
        ledger.restore(target.report)
    target.conn.execute('UPDATE "Strange Place"."Order Items" SET parent = 1 WHERE id = 7')
    ledger.restore(target.report)
    assert target.catalog() == before


def test_rows_that_are_there_twice_are_named(target: Target) -> None:
    ledger = Ledger(target.conn, target.migration)
    ledger.drop_indexes([("public", "customers")], target.report)
    target.conn.execute("UPDATE public.customers SET email = 'same' WHERE id IN (3, 4)")
    with pytest.raises(NotRestored, match=r"one_email on public\.customers .*\(email\)=\(same\).*there twice"):
        ledger.restore(target.report)


def test_a_busy_table_is_waited_for_in_short_turns(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LOCK_TIMEOUT", "30ms")
    reader = psycopg.connect(target.server.dsn(dbname=target.dbname))
    reader.execute("SELECT FROM public.keyed")

    def until_the_second_try(text: str) -> None:
        target.report(text)
        if sum("trying again" in said for said in target.said) == 2:
            reader.close()

    assert Ledger(target.conn, target.migration).drop_indexes([("public", "keyed")], until_the_second_try) == 1


def test_a_table_that_is_never_free_ends_in_an_error(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LOCK_TIMEOUT", "10ms")
    monkeypatch.setattr(patience.patiently, "__kwdefaults__", {"retry": patience.LOCKED, "seconds": 0.2})
    ledger = Ledger(target.conn, target.migration)
    with psycopg.connect(target.server.dsn(dbname=target.dbname)) as reader:
        reader.execute("SELECT FROM public.keyed")
        with pytest.raises(DeadlineExceeded, match=r"index keyed_b on public\.keyed"):
            ledger.drop_indexes([("public", "keyed")], target.report)
    assert ledger.pending() == []


def test_what_was_emptied_is_forgotten(target: Target) -> None:
    ledger = Ledger(target.conn, target.migration)
    ledger.drop_indexes([("public", "keyed")], target.report)
    ledger.forget()
    assert ledger.pending() == []
