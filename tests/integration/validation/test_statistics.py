"""Quick results of tables: statistics that agree, that are far apart, and that do not exist."""

from __future__ import annotations

import pytest

from crossfade import catalog
from crossfade.plan import Tables
from crossfade.validation.result import TableResult, Verdict
from crossfade.validation.statistics import statistics

from .conftest import make_twins

MORE = 'INSERT INTO "My Shop"."Order Items" ("select") SELECT n FROM generate_series(1, {}) AS n'


def compared(twins) -> dict[str, TableResult]:
    """By the table's name."""
    with twins.connect("source", "checker") as source, twins.connect("target", "checker") as target:
        tables = catalog.tables(source, Tables())
        found = list(statistics(source, target, tables))
    assert [result.table for result in found] == [table.full_name for table in tables]
    assert {result.method for result in found} == {"statistics"}
    assert {result.coverage for result in found} == {0.0}
    return {result.table.removeprefix("My Shop."): result for result in found}


def on(twins, side: str, *statements: str) -> None:
    """Run them as the superuser, one by one. ANALYZE counts twice what its own session has written just before."""
    with twins.end(side).session("test") as conn:
        for statement in statements:
            conn.execute(statement.encode())


@pytest.fixture
def analysed(twins):
    """A pair whose statistics are fresh."""
    for side in ("source", "target"):
        on(twins, side, "ANALYZE")
    return twins


def test_statistics_that_agree_are_ok(analysed) -> None:
    found = compared(analysed)
    assert {name: result.rows for name, result in found.items()} == {
        "Order Items": (50, 50),
        'naïve"quote': (20, 20),
        "select": (10, 10),
        "parts on 2025 ON x USING y": (5, 5),
    }
    assert {result.verdict for result in found.values()} == {Verdict.OK}


def test_15_tells_the_same(server_15, server_18) -> None:
    twins = make_twins(server_15, server_18)
    on(twins, "source", "ANALYZE")
    on(twins, "target", "ANALYZE")
    assert compared(twins)["Order Items"].verdict is Verdict.OK


def test_a_table_that_was_never_analysed_is_incomplete(analysed) -> None:
    on(analysed, "target", 'DROP TABLE "My Shop"."select"', 'CREATE TABLE "My Shop"."select" AS SELECT 1 AS x')
    found = compared(analysed)["select"]
    assert found.verdict is Verdict.INCOMPLETE
    assert found.error == (
        'never analysed on the target: its statistics say nothing. There: ANALYZE "My Shop"."select"; or compare rows, '
        "in the mode full"
    )


def test_a_table_that_holds_nothing_needs_no_analysis(twins) -> None:
    twins.on_both('TRUNCATE "My Shop"."select"')
    found = compared(twins)["select"]
    assert (found.verdict, found.rows) == (Verdict.OK, (0, 0))


def test_a_strong_deviation_is_incomplete_and_never_a_mismatch(analysed) -> None:
    on(analysed, "source", MORE.format(2000))
    on(analysed, "source", "ANALYZE")
    found = compared(analysed)
    assert found["Order Items"].verdict is Verdict.INCOMPLETE
    assert found["Order Items"].error == (
        "the statistics differ: about 2050 rows on the source, about 50 on the target. They are estimates, and late: "
        "compare rows, in the mode full"
    )
    assert found["select"].verdict is Verdict.OK


def test_a_weak_one_is_ok(analysed) -> None:
    on(analysed, "source", MORE.format(900))
    on(analysed, "source", "ANALYZE")
    assert compared(analysed)["Order Items"].verdict is Verdict.OK


def test_a_target_that_is_empty_for_sure_is_told_however_small_the_table(analysed) -> None:
    on(analysed, "target", 'TRUNCATE "My Shop"."select"')
    found = compared(analysed)["select"]
    assert found.verdict is Verdict.INCOMPLETE
    assert found.error.startswith("the statistics differ: about 10 rows on the source, no on the target")


def test_a_table_that_is_missing_is_a_mismatch(analysed) -> None:
    on(analysed, "target", 'DROP TABLE "My Shop"."select"')
    found = compared(analysed)["select"]
    assert (found.verdict, found.error) == (Verdict.MISMATCH, "the table is missing on the target")


def test_counters_that_were_reset_are_not_taken_for_an_empty_table(analysed) -> None:
    on(analysed, "target", "SELECT pg_stat_reset()")
    found = compared(analysed)["Order Items"]
    assert (found.verdict, found.rows) == (Verdict.OK, (50, 50))
