"""Validation on a live pair: what differs is found under load, and named by its key. Its proof is a file of its own."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from psycopg import sql

from crossfade import catalog
from crossfade.cutover import order
from crossfade.routers.base import Side
from crossfade.validation import compare, tables
from crossfade.validation import run as validation
from crossfade.validation.parts import Part
from crossfade.validation.records import Records
from crossfade.validation.result import Mode, Verdict
from crossfade.validation.verdicts import MismatchFound
from crossfade_lab import verdict
from crossfade_lab.workload import Spec, WorkloadProcess

#: On the target, one statement each, and what the report must say of it.
PLANTED = {
    "DELETE FROM orders WHERE id = 5": r"public\.orders: \(id=5\) is missing on the target",
    "UPDATE orders SET total = total + 0.01 WHERE id = 6": (
        r"public\.orders: \(id=6\) differs in total: '[\d.]+' on the source, '[\d.]+' on the target"
    ),
    "INSERT INTO orders (id, customer_id, total) VALUES (-1, 1, 1)": (
        r"public\.orders: \(id=-1\) is missing on the source"
    ),
    "UPDATE customers SET name = name || ' ' WHERE id = 3": (
        r"public\.customers: \(id=3\) differs in name: 'Customer 3' on the source, 'Customer 3 ' on the target"
    ),
    "UPDATE documents SET content = set_byte(content, 0, get_byte(content, 0) # 1) WHERE id = 1": (
        r"public\.documents: \(id=1\) differs in content: .* on the source, .* on the target"
    ),
}

#: A table of everything that is easily overlooked: column, its type, and two values that are not the same.
OVERLOOKED = {
    "negative_zero": ("float8", "0", "-0"),
    "nan": ("float8", "0", "NaN"),
    "microsecond": ("timestamptz", "2026-01-01 00:00:00.000001Z", "2026-01-01 00:00:00.000002Z"),
    "infinity": ("timestamp", "infinity", "9999-12-31"),
    "blank": ("text", "a", "a "),
    "padded": ("bpchar", "a", "a "),
    "key order": ("json", '{"a": 1, "b": 2}', '{"b": 2, "a": 1}'),
    "scale": ("numeric", "1.0", "1.00"),
    "nothing": ("int[]", "{}", None),
    "high word": ("int8", "1", "4294967296"),
    "k0": ("int2", "1", "2"),
    "hours": ("interval", "1 day", "24 hours"),
    'naïve"quote': ("text", "ä", "a\u0308"),
    "one bit": ("bytea", "\\x" + "ab" * 5_000_000, "\\x" + "ab" * 4_999_999 + "aa"),
}


def test_every_planted_difference_is_named_and_nothing_else(world: Any) -> None:
    world.load()
    with world.admin("target") as target:
        target.execute("SET session_replication_role = replica")  # past triggers and foreign keys
        for statement in PLANTED:
            assert target.execute(statement).rowcount == 1, statement

    with pytest.raises(MismatchFound) as found:
        validation.validate(world.m, run_id="one")

    assert len(found.value.mismatches) == len(PLANTED)
    for pattern in PLANTED.values():
        assert [said for said in found.value.mismatches if re.fullmatch(pattern, said)], pattern
    with world.m.journal() as journal:
        newest = journal.last_validation(journal.get("shop").id)
        assert newest is not None
        assert newest.equal is False
        records = Records(journal.conn)
        report = records.report(records.get(newest.id), "shop")
    unequal = {table.table for table in report.tables if table.verdict is Verdict.MISMATCH}
    assert report == found.value.report
    assert unequal == {"public.orders", "public.customers", "public.documents"}


@pytest.mark.slow
def test_what_is_easily_overlooked_is_found_while_clients_write(make_world: Callable[..., Any], ledger: Path) -> None:
    world = make_world(rows=3000)
    columns = ", ".join(f'"{name.replace(chr(34), chr(34) * 2)}" {kind}' for name, (kind, _, _) in OVERLOOKED.items())
    with world.admin("source") as source:
        source.execute(
            f'CREATE TABLE public."Order Items" (code text, "select" uuid, {columns}, '.encode()
            + b'PRIMARY KEY (code, "select"))'
        )
        source.execute('ALTER TABLE public."Order Items" OWNER TO shop_owner')
        for number in range(3):
            names = sql.SQL(", ").join(sql.Identifier(name) for name in OVERLOOKED)
            values = sql.SQL(", ").join(sql.Literal(first) for _, first, _ in OVERLOOKED.values())
            source.execute(
                sql.SQL('INSERT INTO public."Order Items" (code, "select", {}) VALUES ({}, {}, {})').format(
                    names, sql.Literal(f"c{number}"), sql.Literal(str(UUID(int=number))), values
                )
            )
        source.execute("CREATE TABLE public.counter (id int PRIMARY KEY, n bigint); INSERT INTO counter VALUES (1, 0)")
        source.execute("ALTER TABLE public.counter OWNER TO shop_owner")
    world.load()
    spec = Spec(endpoints=[world.through_router()], directory=str(ledger), clients=8, rate=300)
    with WorkloadProcess(spec), _counting(world):
        assert validation.validate(world.m, run_id="before").verdict is Verdict.OK
        with world.admin("target") as target:
            for name, (_, _, second) in OVERLOOKED.items():
                statement = sql.SQL("UPDATE public.\"Order Items\" SET {} = {} WHERE code = 'c1'")
                target.execute(statement.format(sql.Identifier(name), sql.Literal(second)))
        with pytest.raises(MismatchFound) as found:
            validation.validate(world.m, run_id="one")
    report = found.value.report
    assert report is not None
    differing = [table for table in report.tables if table.verdict is not Verdict.OK]
    assert [table.table for table in differing] == ["public.Order Items"]
    (row,) = differing[0].differences
    assert row.kind == "differs"
    assert row.key == (("code", "c1"), ("select", str(UUID(int=1))))
    assert {column.name for column in row.columns} == set(OVERLOOKED)


@contextmanager
def _counting(world: Any) -> Iterator[None]:
    """One row that never stands still."""
    done = threading.Event()

    def count() -> None:
        with world.admin("source") as source:
            while not done.is_set():
                source.execute("UPDATE public.counter SET n = n + 1")

    thread = threading.Thread(target=count)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_a_killed_validation_goes_on_with_the_parts_that_are_left(
    make_world: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(rows=40_000, validate={"part_rows": 1000, "jobs": 1})
    world.load()
    compared: list[str] = []
    whole = compare.compare_part

    def until_killed(pair: Any, digests: Any, part: Any, **limits: Any) -> Any:
        if len(compared) == 7:
            raise KeyboardInterrupt
        compared.append(f"{digests.table.full_name} {part.number}")
        return whole(pair, digests, part, **limits)

    monkeypatch.setattr(tables, "compare_part", until_killed)
    with pytest.raises(KeyboardInterrupt):
        validation.validate(world.m, run_id="one")
    before, compared[:] = list(compared), []
    monkeypatch.setattr(tables, "compare_part", lambda *given, **more: compared.append("") or whole(*given, **more))
    report = validation.validate(world.m, run_id="one")
    parts = sum(table.parts for table in report.tables)
    assert parts > 20
    assert len(before) == 7
    assert len(compared) == parts - 7
    assert sum(table.rows[0] for table in report.tables) == sum(table.rows[1] for table in report.tables) > 10_000


def test_a_doubled_row_of_a_table_without_a_key_is_found(world: Any) -> None:
    with world.admin("source") as source:
        source.execute("CREATE TABLE public.keyless (a int, b text)")
        source.execute("ALTER TABLE public.keyless OWNER TO shop_owner")
        source.execute("ALTER TABLE public.keyless REPLICA IDENTITY FULL")
        source.execute("INSERT INTO public.keyless VALUES (1, 'x'), (1, 'x'), (2, NULL)")
    world.load()
    assert len(validation.validate(world.m, run_id="one").tables) == 16
    with world.admin("target") as target:
        target.execute("INSERT INTO public.keyless VALUES (1, 'x')")
    with pytest.raises(MismatchFound, match="2 times on the source, 3 times on the target"):
        validation.validate(world.m, run_id="two")


def test_an_emptied_table_is_reported_without_naming_a_million_rows(make_world: Callable[..., Any]) -> None:
    world = make_world(rows=10_000)
    world.load()
    with world.admin("target") as target:
        target.execute("SET session_replication_role = replica")
        target.execute("DELETE FROM order_items")
    with pytest.raises(MismatchFound, match=r"public\.order_items: .* is missing on the target") as found:
        validation.validate(world.m, run_id="one")
    assert len(str(found.value)) < 20_000


def test_what_cannot_be_compared_is_one_line_each_and_never_ok(world: Any) -> None:
    with world.admin("source") as source:
        source.execute("CREATE TYPE public.mood AS ENUM ('sad', 'happy')")
        source.execute("CREATE TABLE public.moods (id int PRIMARY KEY, mood public.mood)")
        source.execute("INSERT INTO public.moods VALUES (1, 'sad')")
        source.execute("CREATE TABLE public.gone (id int PRIMARY KEY)")
        for statement in ("TABLE public.moods", "TYPE public.mood", "TABLE public.gone"):
            source.execute(f"ALTER {statement} OWNER TO shop_owner".encode())
    world.load()
    with world.admin("target") as target:
        target.execute("DROP TABLE prices CASCADE")
        target.execute("ALTER TABLE customers ADD COLUMN extra text")
        target.execute("ALTER TABLE moods ALTER COLUMN mood TYPE text")
        target.execute("DROP TYPE public.mood")
        target.execute("ALTER TABLE documents ENABLE ROW LEVEL SECURITY")
        target.execute("ALTER TABLE documents OWNER TO postgres")  # whose policies hold for the migration's role
    real = tables.split

    def dropping(conn: Any, table: Any, rows: int) -> Any:
        parts = real(conn, table, rows)
        if table.name == "gone":  # in the middle: after it was looked up
            with world.admin("target") as other:
                other.execute("ALTER TABLE public.gone RENAME TO was_here")
        return parts

    with pytest.MonkeyPatch.context() as patch, pytest.raises(MismatchFound) as found:
        patch.setattr(tables, "split", dropping)
        validation.validate(world.m, run_id="one")
    report = found.value.report
    assert report is not None
    said = {table.table: table for table in report.tables if table.verdict is not Verdict.OK}
    assert {table.verdict for table in said.values()} == {Verdict.INCOMPLETE}
    assert said["public.prices"].error == "not compared: the target has no such table"
    assert said["public.customers"].error == "the column extra is only on the target: it was not compared"
    assert said["public.customers"].coverage == 1
    assert "gone" in said["public.gone"].error and "does not exist" in said["public.gone"].error
    assert "row-level security" in said["public.documents"].error
    assert set(said) == {"public.prices", "public.customers", "public.gone", "public.documents"}
    assert all("\n" not in table.error for table in said.values())
    assert len(report.tables) == 17


def _still(world: Any) -> None:
    """A table that the workload leaves alone, made before the load."""
    with world.admin("source") as source:
        source.execute(
            "CREATE TABLE public.still (a text, b int, v text, twice text GENERATED ALWAYS AS (v || v) STORED,"
            " PRIMARY KEY (a, b))"
        )
        source.execute(
            "INSERT INTO public.still SELECT 'a', g, repeat(chr(9) || E'\\n', g) FROM generate_series(1, 500) g"
        )
        source.execute("ALTER TABLE public.still OWNER TO shop_owner")


def test_repair_puts_rows_right_under_load(make_world: Callable[..., Any], ledger: Path) -> None:
    world = make_world(rows=3000)
    with world.pair.target.connect() as admin:  # may write past triggers, and under an origin
        admin.execute("ALTER ROLE crossfade SUPERUSER")
    _still(world)
    world.load()
    with world.admin("target") as target:
        target.execute("SET session_replication_role = replica")
        for statement in PLANTED:  # some of these rows the workload may put right by itself
            target.execute(statement)
        target.execute("UPDATE still SET v = v || ' ' WHERE b % 20 = 0")
        target.execute("DELETE FROM still WHERE b % 20 = 1")
        target.execute("INSERT INTO still (a, b, v) VALUES ('b', 1, 'too many')")
    spec = Spec(endpoints=[world.through_router()], directory=str(ledger), clients=8, rate=300)
    with WorkloadProcess(spec):
        report = validation.examine(world.m, run_id="one", repairing=True)
        assert report.verdict is Verdict.OK, report.problems
        (still,) = [table for table in report.tables if table.table == "public.still"]
        assert still.repaired == 51
        assert {row.kind for row in still.repaired_rows} == {
            "differs",
            "missing on the target",
            "missing on the source",
        }
        assert validation.validate(world.m, run_id="two").verdict is Verdict.OK
    judged = verdict.verify(ledger, world.through_router())
    assert judged.ok, judged


@pytest.mark.slow
def test_a_week_of_samples_covers_every_row(make_world: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(rows=20_000, validate={"part_rows": 1000, "sample": 15})
    with world.admin("source") as source:
        source.execute(
            "CREATE TABLE public.unanalysed (id int PRIMARY KEY, v text) WITH (autovacuum_enabled = false);"
            "INSERT INTO unanalysed SELECT n, repeat('x', 100) FROM generate_series(1, 10000) AS n;"
            "ALTER TABLE public.unanalysed OWNER TO shop_owner"
        )
    world.load()
    seen: dict[str, list[set[Part]]] = {}  # by table and night
    whole = compare.compare_part

    def noting(pair: Any, digests: Any, part: Part, **limits: Any) -> Any:
        seen.setdefault(digests.table.full_name, [set() for _ in range(7)])[night].add(part)
        return whole(pair, digests, part, **limits)

    monkeypatch.setattr(tables, "compare_part", noting)
    coverage: Counter[str] = Counter()
    for night in range(7):
        report = validation.validate(world.m, run_id=f"night {night}", mode=Mode.SAMPLE)
        of = {table.table: table.coverage for table in report.tables}
        coverage.update(of)
        assert all(0 < of[f"public.{name}"] < 0.5 for name in ("orders", "order_items", "unanalysed")), of
    assert all(total > 0.9 for total in coverage.values()), coverage  # by estimates of the tables' rows
    with world.admin("source") as source, world.m.session(Side.SOURCE, "look") as look:
        for table in catalog.tables(look, world.m.plan.tables):
            parts = set().union(*seen[table.full_name])
            _longest_ago_first(seen[table.full_name])
            if all(part.keyed for part in parts):
                ranges = sql.SQL(" OR ").join(sql.SQL("({})").format(part.where(table)) for part in parts)
                left = sql.SQL("SELECT count(*) FROM ONLY {} AS t WHERE NOT ({})").format(table.identifier, ranges)
                assert source.execute(left).fetchone() == (0,), table.full_name
            else:
                assert {part.share for part in parts} == {(number, 7) for number in range(7)}, table.full_name
    assert len(set().union(*seen["public.orders"])) >= 4  # ranges of its key
    with world.m.journal() as journal:  # a sample is no proof for a cutover
        assert journal.last_validation(journal.get("shop").id) is None


def _longest_ago_first(nights: list[set[Part]]) -> None:
    last = dict.fromkeys(set().union(*nights), -1)
    for night, chosen in enumerate(nights):
        waited = [last[part] for part in last.keys() - chosen]
        assert max(last[part] for part in chosen) <= min(waited, default=night), nights
        last.update(dict.fromkeys(chosen, night))


def test_after_a_cutover_the_source_is_compared_with_the_target_that_takes_writes(
    make_world: Callable[..., Any], ledger: Path
) -> None:
    world = make_world(rows=2000)
    _still(world)
    world.load()
    validation.validate(world.m, run_id="one")
    world.approve()
    order.run(world.m, run_id="one")
    spec = Spec(endpoints=[world.through_router()], directory=str(ledger), clients=4, rate=100)
    with WorkloadProcess(spec):
        report = validation.examine(world.m, run_id="night")
        assert report.verdict is Verdict.OK, report.problems
        with world.admin("source") as source:
            source.execute("SET session_replication_role = replica")
            source.execute("UPDATE still SET v = 'x' WHERE b = 3")
        with pytest.raises(MismatchFound, match=r"\(a=a, b=3\) differs in v: 'x' on the source"):
            validation.validate(world.m, run_id="next night")
