"""Ranges come from the planner's statistics, and cover every row about evenly."""

from __future__ import annotations

import itertools

import pytest
from psycopg import sql

from crossfade import catalog
from crossfade.connect import Endpoint, scalar
from crossfade.engines.dms.ranges import TableRanges, table_ranges
from crossfade.plan import Tables

SETUP = """
CREATE TABLE ints (id bigint PRIMARY KEY, filler text);
INSERT INTO ints SELECT n * n, repeat('x', 50) FROM generate_series(1, 20000) n;
CREATE TABLE "Order Items" ("select" int, line int, filler text, PRIMARY KEY ("select", line));
INSERT INTO "Order Items" SELECT n / 100, n, repeat('x', 50) FROM generate_series(1, 20000) n;
CREATE TABLE "naïve""quote" (id uuid PRIMARY KEY, filler text);
INSERT INTO "naïve""quote" SELECT md5(n::text)::uuid, repeat('x', 50) FROM generate_series(1, 20000) n;
CREATE TABLE days (day date PRIMARY KEY, filler text);
INSERT INTO days SELECT date '1970-01-01' + n, repeat('x', 50) FROM generate_series(1, 20000) n;
CREATE TABLE moments (at timestamptz PRIMARY KEY, filler text);
INSERT INTO moments SELECT timestamptz '1970-01-01' + n * interval '1 h', repeat('x', 50)
FROM generate_series(1, 20000) n;
CREATE TABLE codes (code varchar(40) COLLATE "C" PRIMARY KEY, filler text);
INSERT INTO codes SELECT chr(65 + n % 2 * 32) || md5(n::text), repeat('x', 50) FROM generate_series(1, 20000) n;
CREATE TABLE few (kind int, id int, filler text, PRIMARY KEY (kind, id));
INSERT INTO few SELECT n % 4, n, repeat('x', 50) FROM generate_series(1, 20000) n;
CREATE TABLE texts (id text PRIMARY KEY);
INSERT INTO texts SELECT repeat(n::text, 20) FROM generate_series(1, 20000) n;
CREATE TABLE keyless (id int);
INSERT INTO keyless SELECT generate_series(1, 50000);
CREATE TABLE "100%" (id int PRIMARY KEY);
INSERT INTO "100%" SELECT generate_series(1, 50000);
CREATE TABLE small (id int PRIMARY KEY);
INSERT INTO small VALUES (1), (2);
ANALYZE;
CREATE TABLE unknown (id int PRIMARY KEY);
INSERT INTO unknown SELECT generate_series(1, 50000);
ALTER TABLE unknown SET (autovacuum_enabled = off);
"""
SPLIT = 400_000  # bytes


@pytest.fixture(scope="module")
def found(source: Endpoint) -> dict[str, TableRanges]:
    with source.session("test") as conn:
        conn.execute(SETUP)
        tables = catalog.tables(conn, Tables())
        return {one.name: one for one in table_ranges(conn, tables, split_larger_than=SPLIT)}


def rows_of_parts(source: Endpoint, split: TableRanges) -> list[int]:
    """How many rows each part loads: above the boundary before, up to its own."""
    column = sql.Identifier(split.column)
    edges = [None, *split.boundaries, None]
    counts = []
    with source.session("test") as conn:
        for low, high in itertools.pairwise(edges):
            above = sql.SQL("true") if low is None else sql.SQL("{} > {}").format(column, sql.Literal(low))
            upto = sql.SQL("true") if high is None else sql.SQL("{} <= {}").format(column, sql.Literal(high))
            counts.append(
                scalar(
                    conn,
                    sql.SQL("SELECT count(*) FROM {} WHERE {} AND {}").format(
                        sql.Identifier(split.schema, split.name), above, upto
                    ),
                )
            )
    return counts


@pytest.mark.parametrize("name", ["ints", "Order Items", 'naïve"quote', "days", "moments", "codes"])
def test_parts_are_about_equal_and_hold_every_row(source: Endpoint, found: dict[str, TableRanges], name: str) -> None:
    counts = rows_of_parts(source, found[name])
    assert sum(counts) == 20_000
    assert len(counts) >= 4
    assert max(counts) < 1.5 * 20_000 / len(counts)
    assert min(counts) > 0.5 * 20_000 / len(counts)


def test_the_leading_column_of_a_composite_key_is_used(found: dict[str, TableRanges]) -> None:
    assert found["Order Items"].column == "select"


def test_few_distinct_values_give_few_parts(source: Endpoint, found: dict[str, TableRanges]) -> None:
    assert rows_of_parts(source, found["few"]) == [5000, 5000, 5000, 5000]


@pytest.mark.parametrize("name", ["texts", "keyless", "small", "unknown", "100%"])
def test_a_table_that_cannot_be_split_loads_as_a_whole(found: dict[str, TableRanges], name: str) -> None:
    assert name not in found


def test_parts_are_bounded(source: Endpoint) -> None:
    with source.session("test") as conn:
        tables = [table for table in catalog.tables(conn, Tables()) if table.name == "ints"]
        (split,) = table_ranges(conn, tables, split_larger_than=10_000, most_parts=5)
    assert len(rows_of_parts(source, split)) == 5
