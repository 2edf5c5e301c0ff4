"""Types that DMS changes, cuts or leaves out, in the full load and in the stream."""

from replication_tasks import Task

NUMBERS = "CREATE TABLE numbers (id int PRIMARY KEY, free numeric, fixed numeric(50, 10), f float8)"
FREE = "SELECT id, free::text FROM numbers ORDER BY id"


def test_numeric_without_precision_keeps_six_decimals(task: Task) -> None:
    task.both(NUMBERS)
    insert = "INSERT INTO numbers VALUES ({}, 1.23456789, 1234567890123456789012345678901234567890.1234567891, 0.1)"
    task.execute("source", insert.format(1))
    task.start().wait_for_stream()
    task.execute("source", insert.format(2))
    task.wait(lambda: task.execute("target", FREE) == [(1, "1.234568"), (2, "1.234568")])
    rest = "SELECT fixed, f FROM numbers"
    assert task.execute("target", rest) == task.execute("source", rest)


def test_numeric_as_a_string_helps_the_load_but_not_the_stream(task: Task) -> None:
    task.both(NUMBERS)
    task.execute("source", "INSERT INTO numbers VALUES (1, 1.23456789)")
    task.configure(source={"MapUnboundedNumericAsString": True})
    task.start().wait_for_stream()
    task.execute("source", "INSERT INTO numbers VALUES (2, 1.23456789), (3, 'NaN')")
    task.wait(lambda: task.execute("target", FREE) == [(1, "1.23456789"), (2, "1.234568"), (3, "NaN")])


def test_infinite_times_are_clipped_and_microseconds_kept(task: Task) -> None:
    task.both("CREATE TABLE times (id int PRIMARY KEY, a timestamptz, b timestamp, c date)")
    exactly = "({}, '2026-01-02 03:04:05.123456+02', NULL, NULL)"
    row = "INSERT INTO times VALUES ({}, 'infinity', '-infinity', 'infinity'), " + exactly  # noqa: S608
    task.execute("source", row.format(1, 2))
    task.start().wait_for_stream()
    task.execute("source", row.format(3, 4))
    clipped = ("9999-12-31 23:59:59+00", "4713-01-01 00:00:00 BC", "9999-12-31")
    exact = ("2026-01-02 01:04:05.123456+00", None, None)
    query = "SELECT id, a::text, b::text, c::text FROM times ORDER BY id"
    wanted = [(1, *clipped), (2, *exact), (3, *clipped), (4, *exact)]
    task.wait(lambda: task.execute("target", query) == wanted)


def test_types_that_dms_does_not_know_stay_null(task: Task) -> None:
    task.both("CREATE TYPE place AS (street text)")
    task.both("CREATE TYPE mood AS ENUM ('good', 'it''s complicated')")
    task.both("CREATE DOMAIN mail AS varchar(30) CHECK (VALUE LIKE '%@%')")
    task.both(
        "CREATE TABLE odd (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a inet, b tsvector, c int4range, d place,"
        " e mood, f mail, g text[], h boolean, i char(5), j uuid, k numeric[], l interval,"
        " m int GENERATED ALWAYS AS (7) STORED)"
    )
    row = (
        "INSERT INTO odd VALUES (DEFAULT, '10.0.0.1', 'a b', '[1,5)', ROW('x'), 'it''s complicated', 'a@b', "
        "ARRAY['q,\"r', NULL], true, 'ab', '6f1b0d9e-0000-4000-8000-000000000001', '{1.5,NULL}', '1 mon 2 days')"
    )
    task.execute("source", row)
    task.start().wait_for_stream()
    task.execute("source", row)
    task.arrives("SELECT id, e::text, f, g, h, i, j, k, l, m FROM odd ORDER BY id")
    assert task.execute("target", "SELECT DISTINCT a, b, c, d FROM odd") == [(None, None, None, None)]
    assert "columns ['a', 'b', 'c', 'd'] are not migrated" in task.log


def test_tables_that_dms_creates_have_columns_not_null_and_a_primary_key_only(task: Task) -> None:
    task.execute("source", "CREATE SCHEMA made; CREATE TYPE mood AS ENUM ('good')")
    task.execute("source", "CREATE TABLE other (id int PRIMARY KEY)")
    task.execute(
        "source",
        "CREATE TABLE made.things (id serial PRIMARY KEY, n numeric, b boolean NOT NULL DEFAULT true, m mood, "
        "c varchar(9) UNIQUE, o int REFERENCES other)",
    )
    task.execute("source", "INSERT INTO made.things (n, b, m, c) VALUES (1.5, false, 'good', 'c')")
    task.configure("made.%", settings={"FullLoadSettings": {"TargetTablePrepMode": "DROP_AND_CREATE"}})
    task.start().wait_for_stream()
    columns = task.execute(
        "target",
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute "
        "WHERE attrelid = 'made.things'::regclass AND attnum > 0 ORDER BY attnum",
    )
    assert columns == [
        ("id", "integer", True), ("n", "numeric(28,6)", False), ("b", "character varying(5)", True),
        ("m", "character varying(64)", False), ("c", "character varying(9)", False), ("o", "integer", False),
    ]  # fmt: skip
    secondary = (
        "SELECT (SELECT count(*) FROM pg_attrdef), (SELECT count(*) FROM pg_sequences), "
        "(SELECT count(*) FROM pg_indexes WHERE schemaname = 'made')"
    )
    assert task.execute("target", secondary) == [(0, 0, 1)]
    assert task.execute("target", "SELECT b, m FROM made.things") == [("false", "good")]
