"""Types that DMS leaves out or changes, and values that it rounds, cuts or clips: real columns that hold them."""

import pytest

from crossfade.assess import Severity, dms_values

from .conftest import DmsStage, only

LEFT_OUT = [
    *("inet", "cidr", "macaddr", "macaddr8", "tsvector", "tsquery", "line", "lseg", "box", "path", "circle", "oid"),
    *("int4range", "tstzmultirange", "pair", '"my ip"'),
]
CARRIED = [
    *("int", "numeric(12, 2)", "text", "varchar(10)", "bytea", "uuid", "jsonb", "point", "polygon", "inet[]"),
    *("pair[]", "mood", "boolean", "timestamptz", "date", "time", "bit(3)"),
]
MAKE_TYPES = (
    "CREATE TYPE pair AS (a int, b int)",
    "CREATE TYPE mood AS ENUM ('good', 'bad')",
    'CREATE DOMAIN "my ip" AS inet',
)


@pytest.mark.parametrize(("types", "blocks"), [(LEFT_OUT, True), (CARRIED, False)])
def test_columns_that_dms_leaves_out(dms_stage: DmsStage, types: list[str], blocks: bool) -> None:
    columns = ", ".join(f'"c{n}" {type}' for n, type in enumerate(types))
    generated = "g inet GENERATED ALWAYS AS ('10.0.0.1'::inet) STORED"  # does not travel
    with dms_stage.odd(*MAKE_TYPES, f"CREATE TABLE t (id int PRIMARY KEY, {columns}, {generated})") as plan:
        problems = dms_stage.problems("dms_types.left_out", plan)
        assert [problem.object for problem in problems] == [f"odd.t.c{n}" for n in range(len(types)) if blocks]
        with dms_stage.on("source", "SET search_path = odd") as conn:
            for problem in problems:
                conn.execute(problem.remedy.encode())
        assert dms_stage.problems("dms_types.left_out", plan) == []


def test_a_composite_type_is_named_with_its_kind(dms_stage: DmsStage) -> None:
    with dms_stage.odd(*MAKE_TYPES, "CREATE TABLE t (id int PRIMARY KEY, c pair)") as plan:
        assert only(dms_stage.problems("dms_types.left_out", plan)).seen.startswith("odd.pair, a composite type")


def test_types_whose_values_may_change_are_told_once_each(dms_stage: DmsStage) -> None:
    with dms_stage.odd(
        "CREATE TABLE t (id int PRIMARY KEY, a timetz, b interval, c interval, d money, e float8, f char(3))"
    ) as plan:
        found = {problem.object: problem for problem in dms_stage.problems("dms_types.changed", plan)}
        assert set(found) == {"time with time zone", "interval", "money", "double precision", "character(3)"}
        assert found["interval"].severity is Severity.WARNING
        assert found["interval"].seen.startswith("odd.t.b, odd.t.c:")
        assert found["double precision"].severity is Severity.NOTE


def test_types_of_which_nothing_is_documented(dms_stage: DmsStage) -> None:
    with dms_stage.odd("CREATE TABLE t (id int PRIMARY KEY, a pg_lsn, b text, c inet)") as plan:
        assert only(dms_stage.problems("dms_types.unknown", plan)).object == "odd.t.a"


LOSSY = "dms_values.lossy"


@pytest.mark.parametrize(
    ("declared", "value", "severity", "seen", "remedy"),
    [
        ("numeric", "1.1234567", None, "values with 7 decimals and 1 digits", "TYPE numeric(38, 7);"),
        ("numeric", "-12345678901234567890123", None, "23 digits", "TYPE numeric(38, 0);"),
        ("numeric", "123456789012345678901234567890.123456789", None, "9 decimals and 30", "TYPE text;"),
        ("numeric", "NaN", Severity.WARNING, "arrives with 6 decimals", "TYPE numeric(38, 0);"),
        ("numeric", "1.5", Severity.WARNING, "arrives with 6 decimals", "TYPE numeric(38, 1);"),
        ("timestamptz", "infinity", None, "infinite", 'SET "naïve""quote" = NULL WHERE NOT isfinite("naïve""quote");'),
        ("date", "-infinity", None, "infinite", "IS"),
        ("varchar", "x" * 8001, None, "the longest value has 8001", "TYPE text;"),
        ("varchar", "x", Severity.NOTE, "the longest value has 1", "TYPE text;"),
        ("timestamp DEFAULT 'infinity'", "2020-01-01", Severity.WARNING, "its default is", "SET DEFAULT …;"),
    ],
)
def test_values_that_dms_would_change(
    dms_stage: DmsStage, declared: str, value: str, severity: Severity | None, seen: str, remedy: str
) -> None:
    with dms_stage.odd(
        f'CREATE TABLE "Odd" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "naïve""quote" {declared})',
        f"""INSERT INTO "Odd" ("naïve""quote") VALUES ('{value}'), (NULL)""",  # noqa: S608
    ) as plan:
        problem = only(dms_stage.problems(LOSSY, plan))
        assert (problem.object, problem.severity) == ('odd.Odd.naïve"quote', severity)
        assert seen in problem.seen
        assert remedy in problem.remedy or remedy == "IS"


def test_values_that_fit_are_no_problem(dms_stage: DmsStage) -> None:
    with dms_stage.odd(
        "CREATE DOMAIN price AS numeric(10, 2)",
        "CREATE TABLE t (id int PRIMARY KEY, a numeric(12, 4), b price, c varchar(9000), d timestamptz, e numeric[])",
        "INSERT INTO t VALUES (1, 1.5, 2, repeat('x', 9000), now(), '{1.123456789}')",
    ) as plan:
        assert dms_stage.problems(LOSSY, plan) == []


def test_the_worst_partition_counts_and_the_remedies_help(dms_stage: DmsStage) -> None:
    with dms_stage.odd(
        "CREATE TABLE p (id int PRIMARY KEY, v numeric, at date) PARTITION BY LIST (id)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1)",
        "CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2)",
        "INSERT INTO p VALUES (1, 1, '2020-01-01'), (2, 0.00000001, 'infinity')",
    ) as plan:
        problems = dms_stage.problems(LOSSY, plan)
        assert [problem.object for problem in problems] == ["odd.p.v", "odd.p.at"]
        with dms_stage.on("source") as conn:
            for problem in problems:
                conn.execute(problem.remedy.encode())
            assert conn.execute("SELECT v FROM odd.p WHERE id = 2").fetchone() is not None
        assert dms_stage.problems(LOSSY, plan) == []


def test_a_table_too_large_to_be_read_is_a_warning(dms_stage: DmsStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dms_values, "SECONDS", 0.001)
    with dms_stage.odd("CREATE TABLE t AS SELECT n / 7.0 AS v FROM generate_series(1, 200000) AS n") as plan:
        problem = only(dms_stage.problems(LOSSY, plan))
        assert (problem.object, problem.severity) == ("odd.t", Severity.WARNING)
        assert 'FROM ONLY "odd"."t";' in problem.remedy
        with dms_stage.on("source") as conn:
            assert conn.execute(problem.remedy.encode()).fetchone() == ([20, 5],)
