"""LOBs are measured as they are, not as they are stored, and so none is cut."""

from __future__ import annotations

import psycopg
import pytest

from crossfade.connect import Endpoint, scalar
from crossfade.engines.dms.lobs import (
    LobLimit,
    LobsNotMeasured,
    LobsOutgrown,
    kept_where_they_suffice,
    limits,
    lob_tables,
    measure,
    remeasured,
    require_whole,
)

MILLION = 1_000_000

SETUP = """
CREATE DOMAIN note AS text CHECK (length(VALUE) > 0);
CREATE DOMAIN short_note AS note;
CREATE DOMAIN tags AS text[];
CREATE TYPE address AS (street text, city text);
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE articles (id int PRIMARY KEY, body text, title varchar(200), number numeric, at timestamptz);
INSERT INTO articles VALUES (1, repeat('a', 1000000), 'x'), (2, 'short', 'y'), (3, NULL, NULL);
CREATE TABLE zoo (
    id int PRIMARY KEY, plain text, binary_data bytea, j json, jb jsonb, x xml, numbers int[], labels tags,
    dom short_note,
    home address, m mood, words tsvector, made tsvector GENERATED ALWAYS AS (to_tsvector('simple', plain)) STORED,
    shape polygon, code char(10), u uuid, p point
);
INSERT INTO zoo (id, plain, binary_data, j, jb, numbers, labels, dom, home, words, shape) VALUES (
    1, repeat('é', 10), decode(repeat('00', 5000), 'hex'), '{"a":   1}', '{"a":1}',
    ARRAY(SELECT 1000 FROM generate_series(1, 1000)), ARRAY['x', 'yy'], 'domain', ROW('Main street', 'Ulm'),
    'fat cat', '((0,0),(1,1),(1,0))'
);
CREATE TABLE "Order Items" ("select" text, "naïve""quote" jsonb, "a_b%c" bytea);
INSERT INTO "Order Items" VALUES (repeat('x', 321), '{"k": "vvvv"}', '\\x0102');
CREATE TABLE parent (id int, payload text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE parent_low PARTITION OF parent FOR VALUES FROM (0) TO (10);
CREATE TABLE parent_high PARTITION OF parent FOR VALUES FROM (10) TO (20);
INSERT INTO parent VALUES (1, repeat('x', 11)), (11, repeat('x', 2222));
CREATE TABLE legacy (id int PRIMARY KEY, payload text);
CREATE TABLE legacy_child () INHERITS (legacy);
INSERT INTO legacy VALUES (1, 'abc');
INSERT INTO legacy_child VALUES (1, repeat('x', 9999));
CREATE TABLE numbers_only (id int PRIMARY KEY, n numeric, d date);
CREATE TABLE empty (id int PRIMARY KEY, payload jsonb);
"""


@pytest.fixture(scope="module", autouse=True)
def zoo(source: Endpoint) -> None:
    with source.session("test") as conn:
        conn.execute(SETUP)


def largest(source: Endpoint, *names: str) -> dict[str, dict[str, int]]:
    found = measure(source, [("public", name) for name in names], jobs=2)
    return {one.table.name: dict(one.largest) for one in found}


def chosen(source: Endpoint, *names: str, headroom: float = 1.0) -> list[LobLimit]:
    return limits(
        measure(source, [("public", name) for name in names], jobs=1),
        headroom=headroom,
        largest_limited_bytes=100 * 1024**2,
        outliers="inline",
        inline_limit_bytes=65536,
    )


def test_a_limit_from_the_stored_size_would_cut_what_ours_keeps(source: Endpoint) -> None:
    with source.session("test") as conn:
        stored = scalar(conn, "SELECT max(pg_column_size(body)) FROM articles")
    assert stored * 3 * 2 < MILLION, "the value must be one that compresses well"
    assert largest(source, "articles") == {"articles": {"body": MILLION}}
    (limit,) = chosen(source, "articles")
    assert limit.limit_kb * 1024 >= 3 * MILLION
    assert (limit.largest_column, limit.largest_bytes) == ("body", MILLION)


def test_every_type_is_measured_as_its_text_and_bytea_as_its_bytes(source: Endpoint) -> None:
    assert largest(source, "zoo")["zoo"] == {
        "plain": 20,
        "binary_data": 5000,
        "j": len('{"a":   1}'),
        "jb": len('{"a": 1}'),
        "x": 0,  # the lab's servers cannot make one
        "numbers": 1000 * 5 + 1,
        "labels": len("{x,yy}"),
        "dom": len("domain"),
        "home": len('("Main street",Ulm)'),
        "words": len("'cat' 'fat'"),
        "shape": len("((0,0),(1,1),(1,0))"),
    }


def test_awkward_names_are_measured(source: Endpoint) -> None:
    expected = {"select": 321, 'naïve"quote': len('{"k": "vvvv"}'), "a_b%c": 2}
    assert largest(source, "Order Items") == {"Order Items": expected}


def test_partitions_and_children_are_measured_alone(source: Endpoint) -> None:
    found = largest(source, "parent", "parent_low", "parent_high", "legacy", "legacy_child")
    assert found == {
        "parent_low": {"payload": 11},
        "parent_high": {"payload": 2222},
        "legacy": {"payload": 3},
        "legacy_child": {"payload": 9999},
    }


def test_tables_without_lobs_are_left_out_and_empty_ones_are_not(source: Endpoint) -> None:
    assert largest(source, "numbers_only", "empty") == {"empty": {"payload": 0}}
    assert measure(source, [("public", "numbers_only")], jobs=2) == []


def test_the_largest_table_comes_first_and_keys_are_known(source: Endpoint) -> None:
    with source.session("test") as conn:
        found = lob_tables(conn, [("public", name) for name in ("empty", "Order Items", "zoo", "articles")])
    assert next(table.name for table in found) == "articles"
    assert {table.name: table.primary_key for table in found}["Order Items"] is False
    assert {table.name: table.primary_key for table in found}["zoo"] is True


def again(source: Endpoint, limits: list[LobLimit]) -> list[LobLimit]:
    """The limits with what a second measurement found."""
    return list(remeasured(limits, measure(source, [(one.schema, one.name) for one in limits], jobs=1)))


def test_a_value_that_outgrew_its_limit_is_told(source: Endpoint) -> None:
    with source.session("test") as conn:
        conn.execute("CREATE TABLE growing (id int PRIMARY KEY, note text, more jsonb)")
        conn.execute("INSERT INTO growing VALUES (1, repeat('x', 20000), '{}')")
        limit = chosen(source, "growing", headroom=1.5)
        require_whole(again(source, limit))
        conn.execute("UPDATE growing SET note = repeat('x', 30000)")
        require_whole(again(source, limit))
        conn.execute("INSERT INTO growing VALUES (2, repeat('y', 31000), '{}')")
    with pytest.raises(LobsOutgrown, match=r"^public\.growing: note now holds 30\.3 kB, DMS cuts it at 29\."):
        require_whole(again(source, limit))


def test_limits_stay_where_they_suffice(source: Endpoint) -> None:
    with source.session("test") as conn:
        conn.execute("CREATE TABLE steady (id int PRIMARY KEY, note text)")
        conn.execute("CREATE TABLE swelling (id int PRIMARY KEY, note text)")
        conn.execute("INSERT INTO steady VALUES (1, repeat('x', 20000))")
        conn.execute("INSERT INTO swelling VALUES (1, repeat('x', 20000))")
        before = [*chosen(source, "steady", headroom=1.5), *chosen(source, "swelling", headroom=1.5)]
        conn.execute("UPDATE steady SET note = repeat('x', 25000)")
        conn.execute("UPDATE swelling SET note = repeat('x', 50000)")
    wanted = [*chosen(source, "steady", headroom=1.5), *chosen(source, "swelling", headroom=1.5)]
    kept, changed = kept_where_they_suffice(before, wanted)
    assert changed == (("public", "swelling"),)
    assert [(one.name, one.limit_kb, one.largest_bytes) for one in kept] == [
        ("steady", before[0].limit_kb, 25000),
        ("swelling", wanted[1].limit_kb, 50000),
    ]
    assert wanted[1].limit_kb > before[1].limit_kb


def test_a_table_that_cannot_be_read_is_named(source: Endpoint) -> None:
    with source.session("test") as conn:
        conn.execute("CREATE ROLE blind LOGIN PASSWORD 'blind'; GRANT SELECT ON articles TO blind")
    blind = Endpoint(
        name="source", host=source.host, port=source.port, dbname=source.dbname, user="blind", password="blind"
    )
    with pytest.raises(LobsNotMeasured, match=r"LOBs of public\.zoo could not be measured: permission denied"):
        measure(blind, [("public", "articles"), ("public", "zoo"), ("public", "empty")], jobs=1)


def test_a_failure_ends_the_other_jobs(source: Endpoint) -> None:
    """One table takes ten minutes to read, the other cannot be read at all."""
    with source.session("test") as conn:
        conn.execute("CREATE TYPE slow AS (n int)")
        conn.execute("CREATE FUNCTION slowly(slow) RETURNS text LANGUAGE sql AS 'SELECT pg_sleep(600)::text'")
        conn.execute("CREATE CAST (slow AS text) WITH FUNCTION slowly(slow)")
        conn.execute("CREATE TABLE sleepy (id int PRIMARY KEY, t slow); INSERT INTO sleepy VALUES (1, ROW(1))")
        conn.execute("CREATE ROLE half LOGIN PASSWORD 'half'; GRANT SELECT ON sleepy TO half")
        half = Endpoint(
            name="source", host=source.host, port=source.port, dbname=source.dbname, user="half", password="half"
        )
        with pytest.raises(LobsNotMeasured, match=r"public\.empty"):
            measure(half, [("public", "sleepy"), ("public", "empty")], jobs=2)
        running = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'half' AND state = 'active'"
        assert scalar(conn, running) == 0


def test_a_table_that_is_gone_is_not_measured(source: Endpoint) -> None:
    with source.session("test") as conn:
        conn.execute("CREATE TABLE brief (id int PRIMARY KEY, t text)")
        limit = chosen(source, "brief")
        conn.execute("DROP TABLE brief")
        with pytest.raises(psycopg.errors.UndefinedTable):
            conn.execute("SELECT FROM brief")
    assert again(source, limit) == limit
