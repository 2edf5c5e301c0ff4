"""What people are told of a validation: counts and no values, one line each, within what each way takes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from crossfade.errors import Unreachable
from crossfade.validation.result import CheckResult, ColumnDifference, Mode, Report, RowDifference, TableResult, Verdict
from crossfade.validation.told import (
    LINE,
    SLACK_TEXT,
    SNS_MESSAGE,
    SUBJECT,
    Notice,
    as_html,
    as_slack,
    as_text,
    of_failure,
    of_report,
    with_links,
)

VALUE = "4111 1111 1111 1111"


def report(*tables: TableResult, **changed: Any) -> Report:
    kept = {
        "id": "3f0f6f5e",
        "plan": "shop",
        "run_id": "manual",
        "mode": Mode.FULL,
        "started_at": datetime(2026, 5, 1, 2, 15, 3, tzinfo=UTC),
        "finished_at": datetime(2026, 5, 1, 2, 25, 4, tzinfo=UTC),
        "source": "shop_source: shop on db-1, PostgreSQL 16.4",
        "target": "shop_target: shop on db-2, PostgreSQL 18.1",
        "tables": tables,
    }
    return Report(**{**kept, **changed})


def table(name: str = "public.orders", verdict: Verdict = Verdict.MISMATCH, **given: Any) -> TableResult:
    return TableResult(**{"table": name, "verdict": verdict, "method": "key ranges", "rows": (10, 10), **given})


def difference(key: str = VALUE) -> RowDifference:
    value = ColumnDifference(name="card", on_source=VALUE, on_target="{{ 7 * 7 }}")
    return RowDifference(kind="differs", key=(("id", key),), columns=(value,))


FOUND = report(
    table("public.quiet", Verdict.OK),
    table("public.events", Verdict.INCOMPLETE, unsettled=("(id=17)", "(id=18)"), error="out of time"),
    table(differences=(difference(), difference()), more=1232),
    checks=(
        CheckResult(name="schema", title="definitions", verdict=Verdict.OK),
        CheckResult(name="sequences", title="numbers", verdict=Verdict.MISMATCH, lines=("public.a_seq: 5 and 4",)),
    ),
)


def test_a_report_is_told_in_counts_the_worst_first() -> None:
    notice = with_links(of_report(FOUND), [("Report", "https://airflow/r"), ("Task", "")])
    assert notice.subject == "Crossfade: validation of shop: mismatch, 4 problems"
    assert notice.lines == [
        "3 tables: 1 mismatch, 1 incomplete, 1 ok; 1,234 rows differing; mode full",
        "Source: shop_source: shop on db-1, PostgreSQL 16.4",
        "Target: shop_target: shop on db-2, PostgreSQL 18.1",
        "Ended: 2026-05-01 02:25 UTC",
        "Report: https://airflow/r",
        "- sequences: public.a_seq: 5 and 4",
        "- public.orders: 1,234 rows differ",
        "- public.events: 2 rows kept changing, not once seen equal",
        "- public.events: out of time",
    ]


@pytest.mark.parametrize("written", [as_slack, as_text, as_html])
def test_no_value_of_a_row_is_told(written: Any) -> None:
    said = [
        f'not compared to its end: invalid input syntax for type numeric: "{VALUE}" CONTEXT: unnamed portal {VALUE}',
        f"not compared to its end: canceling statement DETAIL: Key (card)=({VALUE}) already exists.",
    ]
    found = report(
        table(differences=(difference(),), unsettled=(f"(id={VALUE})",)),
        *(table("public.cards", Verdict.INCOMPLETE, error=error) for error in said),
    )
    text = written(of_report(found))
    assert VALUE not in text and "7 * 7" not in text
    assert "public.orders: 1 row differs" in text
    assert "public.orders: 1 row kept changing, not once seen equal" in text
    assert "canceling statement" in text


def test_one_check_does_not_hide_the_others_and_ten_problems_are_listed() -> None:
    lines = tuple(f"table public.t{number}: column x" for number in range(40))
    schema = CheckResult(name="schema", title="definitions", verdict=Verdict.MISMATCH, lines=lines)
    tables = [table(f"public.t{number}", more=1) for number in range(20)]
    notice = of_report(report(*tables, checks=(schema,)))
    assert notice.headline == "validation of shop: mismatch, 60 problems"
    assert [problem.split(":")[0] for problem in notice.problems] == [
        *["schema"] * 3,
        *(f"public.t{number}" for number in range(7)),
        "and 50 more",
    ]


def test_many_rows_in_motion_are_told_as_that_many_at_least() -> None:
    moving = table(verdict=Verdict.INCOMPLETE, unsettled=("(id=1)",) * 100)
    assert of_report(report(moving)).problems == (
        "public.orders: at least 100 rows kept changing, not once seen equal",
    )


def test_a_verdict_that_names_nothing_is_a_problem_all_the_same() -> None:
    check = CheckResult(name="roles", title="roles", verdict=Verdict.INCOMPLETE)
    assert of_report(report(table(), checks=(check,))).problems == ("public.orders: mismatch", "roles: incomplete")


def test_a_line_is_one_line_and_not_too_long() -> None:
    evil = "public.a\r\nBcc: x@y.example\x00\u202e\ud800" + "b" * 500
    (problem,) = of_report(report(table(evil))).problems
    assert problem.startswith("public.a Bcc: x@y.example bbb")
    assert len(problem) == LINE and problem.endswith("b…")
    assert problem.isprintable()


def test_a_secret_is_masked_before_a_line_is_cut() -> None:
    check = CheckResult(name="x", title="x", verdict=Verdict.MISMATCH, lines=("a" * (LINE - 10) + "hunter2hunter2",))
    notice = of_report(report(checks=(check,)), lambda text: text.replace("hunter2hunter2", "***"))
    assert notice.problems == ("x: " + "a" * (LINE - 10) + "***",)


def test_a_failure_is_told_by_the_first_line_of_its_error() -> None:
    error = Unreachable(name="shop_source", address="db-1:5432", reason='refused, for user "secret"\nand more')
    notice = of_failure("shop", error)
    assert notice.subject == "Crossfade: validation of shop: failed"
    assert notice.lines == ['Unreachable: cannot connect to shop_source (db-1:5432): refused, for user "…"']
    assert of_failure("shop", ValueError()).lines == ["ValueError: no message"]
    assert "killed" in of_failure("shop", None).lines[0]


def test_a_subject_is_short_and_ascii() -> None:
    subject = Notice(headline="ü" * 200).subject
    assert len(subject) == SUBJECT and subject.isascii()


def test_slack_gets_no_markup_and_no_half_entity() -> None:
    notice = Notice(headline="h", problems=("<!channel> <https://evil|click> & {{ ti }}", *("<" * LINE,) * 20))
    text = as_slack(notice)
    assert text.startswith("*h*\n- &lt;!channel&gt; &lt;https://evil|click&gt; &amp; {{ ti }}\n")
    assert len(text) <= SLACK_TEXT
    assert text.replace("&lt;", "").replace("&gt;", "").replace("&amp;", "").count("&") == 0
    assert text.endswith("\nand more, in the report")
    assert as_slack(Notice(headline="h", problems=("p",) * 10)).count("- p") == 10


def test_sns_gets_no_more_than_it_takes() -> None:
    text = as_text(Notice(headline="h", problems=("\U0001f418" * LINE,) * 1000))
    assert len(json.dumps({"default": text}).encode()) <= SNS_MESSAGE
    assert text.endswith("\nand more, in the report")


def test_html_is_escaped() -> None:
    notice = with_links(
        Notice(headline="h", facts=("<b>",), problems=('<img src=x onerror="a"> & {{ ti }}',)),
        [("Report", 'https://airflow/?a=1&b="')],
    )
    assert as_html(notice) == (
        "<p><strong>h</strong></p><p>&lt;b&gt;</p>"
        '<p><a href="https://airflow/?a=1&amp;b=&quot;">Report</a></p>'
        "<ul><li>&lt;img src=x onerror=&quot;a&quot;&gt; &amp; {{ ti }}</li></ul>"
    )


def test_a_link_is_whole_or_left_out() -> None:
    notice = with_links(Notice(headline="h"), [("Report", "https://a/" + "b" * 2000), ("Task", "https://a/\nb")])
    assert notice.links == (("Task", "https://a/b"),)
