"""A validation's report as a page, as Markdown, as JSON; and how its files are saved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from crossfade.validation.report import PAGE_ROWS, as_html, as_json, as_markdown, is_saved, save, stem
from crossfade.validation.result import (
    CheckResult,
    ColumnDifference,
    Mode,
    Report,
    RowDifference,
    TableResult,
    Verdict,
)

BEGUN = datetime(2026, 5, 1, 2, 15, 3, tzinfo=UTC)
NAME = "20260501T021503Z-3f0f6f5e"


def report(*tables: TableResult, **changed: Any) -> Report:
    kept = {
        "id": "3f0f6f5e",
        "plan": "shop",
        "run_id": "manual",
        "mode": Mode.FULL,
        "started_at": BEGUN,
        "finished_at": BEGUN + timedelta(seconds=12.34),
        "source": "PostgreSQL 16.14",
        "target": "PostgreSQL 18.4",
        "tables": tables,
    }
    return Report(**{**kept, **changed})


def table(name: str = "public.orders", verdict: Verdict = Verdict.MISMATCH, **given: Any) -> TableResult:
    return TableResult(**{"table": name, "verdict": verdict, "method": "key ranges", "rows": (10, 10), **given})


def differs(key: str, *, column: str = "note", source: str | None = "a", target: str | None = "b") -> RowDifference:
    values = ColumnDifference(name=column, on_source=source, on_target=target)
    return RowDifference(kind="differs", key=(("id", key),), columns=(values,))


class Page(HTMLParser):
    """A page as a browser reads it: its text, in cells, and the tags that are in it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.cells: list[str] = []
        self.text = ""
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag == "td":
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.cells:
            self.cells[-1] += data


@pytest.fixture
def everything() -> Report:
    """One of each kind."""
    return report(
        table(
            differences=(
                differs("1", source=None, target=""),
                RowDifference(kind="missing on the target", key=(("id", "2"),)),
                RowDifference(kind="missing on the source", key=(("id", None),)),
                RowDifference(kind="copies", key=(), row="(1,x)", copies=(2, 3)),
                RowDifference(kind="differs", key=(("id", "4"),)),
            ),
            more=7,
            overridden=("total",),
            repaired=3,
            repaired_rows=(differs("8", source="was right", target="was wrong"),),
        ),
        table("public.quiet", Verdict.OK, rows=(1_000_000, 1_000_000)),
        table("public.events", Verdict.INCOMPLETE, coverage=0.62, unsettled=("(id=17)",), error="out of time"),
        table("public.blobs", Verdict.INCOMPLETE, coverage=0.0, method="not compared", error="permission denied"),
        checks=(
            CheckResult(name="schema", title="definitions", verdict=Verdict.OK, note="214 objects"),
            CheckResult(name="sequences", title="numbers", verdict=Verdict.MISMATCH, lines=("orders_id_seq: 5 and 4",)),
        ),
    )


def test_json_is_read_again_as_the_same_report(everything: Report) -> None:
    assert Report.model_validate_json(as_json(everything)) == everything


def test_the_page_names_every_difference_by_key_and_column_with_both_values(everything: Report) -> None:
    cells = [cell.strip() for cell in Page(as_html(everything)).cells]
    rows = " | ".join(cells)
    assert "id 1 | note | NULL | empty" in rows
    assert "id 2 | the row | is there | missing" in rows
    assert "id NULL | the row | missing | is there" in rows
    assert "row (1,x) | copies | 2 times | 3 times" in rows
    assert "id 4 | the row | differs; its values were not read" in rows
    assert "id 8 | note | was right | was wrong" in rows


def test_the_page_tells_what_was_compared_and_what_was_not(everything: Report) -> None:
    text = Page(as_html(everything)).text
    for told in (
        "Validation of shop ✕ mismatch",
        "4 tables: 1 mismatch, 2 incomplete, 1 ok",
        "2 whole, 1 in part (62 %), 1 not at all",
        "12 not the same",
        "7 more rows differ that were only counted",
        "3 rows put right",
        "3 rows, as they were before",
        "out of time",
        "(id=17)",
        "permission denied",
        "orders_id_seq: 5 and 4",
        "2026-05-01 02:15:03 UTC",
        "12.3 s",
    ):
        assert told in text


def test_the_worst_comes_first(everything: Report) -> None:
    text = Page(as_html(everything)).text
    listed = text[text.rindex("Rows on source") :]
    names = ["public.orders", "public.events", "public.blobs", "public.quiet"]
    assert sorted(names, key=listed.index) == names


def test_the_page_needs_nothing_beside_it_and_runs_no_script(everything: Report) -> None:
    page = Page(as_html(everything))
    assert not page.tags & {"script", "img", "iframe", "object"}
    assert page.addresses == [f"{NAME}.json"]
    assert "default-src 'none'" in as_html(everything)


HOSTILE = "<script>alert('naïve\"quote')</script>"


@pytest.mark.parametrize(
    "hostile",
    [
        report(table(HOSTILE, differences=(differs(HOSTILE, column=HOSTILE, source=HOSTILE, target=f"{HOSTILE}!"),))),
        report(table(differences=(RowDifference(kind="copies", key=(), row=HOSTILE, copies=(1, 2)),))),
        report(
            table(
                verdict=Verdict.INCOMPLETE, error=HOSTILE, unsettled=(HOSTILE,), overridden=(HOSTILE,), notes=(HOSTILE,)
            )
        ),
        report(
            source=HOSTILE,
            target=HOSTILE,
            run_id=HOSTILE,
            checks=(
                CheckResult(name=HOSTILE, title=HOSTILE, verdict=Verdict.MISMATCH, lines=(HOSTILE,) * 11, note=HOSTILE),
            ),
        ),
    ],
    ids=["a difference", "copies", "what is incomplete", "sides and checks"],
)
def test_what_databases_hold_is_shown_and_never_markup(hostile: Report) -> None:
    page = Page(as_html(hostile))
    assert "script" not in page.tags
    assert HOSTILE in page.text


def test_the_part_is_marked_in_which_two_long_values_differ() -> None:
    row = differs("1", source="the quick brown fox", target="the quick  brown fox")
    page = as_html(report(table(differences=(row,))))
    assert "<code>the quick <mark></mark>brown fox</code>" in page
    assert "<code>the quick <mark> </mark>brown fox</code>" in page
    short = as_html(report(table(differences=(differs("1", source="12.50", target="12.5"),))))
    assert "<code>12.50</code>" in short


def test_an_empty_report_is_a_page_too() -> None:
    text = Page(as_html(report())).text
    assert "No table was compared" in text
    assert "✓ ok" in text
    assert as_markdown(report()).startswith("### Validation of shop: ok\n\nMode full, 0 tables; 0 rows read")


def test_ten_thousand_differences_make_a_small_page_that_says_how_many_it_leaves_out() -> None:
    many = report(table(differences=tuple(differs(str(number)) for number in range(10_000)), more=5))
    page = as_html(many)
    assert len(page) < 100_000
    assert "10,005 rows" in page
    assert "9,800 more rows are listed in the JSON" in page
    assert "5 more rows differ that were only counted" in page
    assert len(as_markdown(many)) < 2_000
    assert "and 9,995 more, in the report" not in as_markdown(many)
    assert "and 10,002 more, in the report" in as_markdown(many)


def test_thousands_of_different_tables_share_the_page() -> None:
    rows = tuple(differs(str(number)) for number in range(50))
    many = report(*(table(f"public.t{number}", differences=rows) for number in range(3_000)))
    page = as_html(many)
    assert page.count("<td>note</td>") <= PAGE_ROWS
    assert "They are listed in the JSON" in page


def test_a_gate_shows_the_worst_and_hides_no_table_behind_another() -> None:
    rows = tuple(differs(str(number)) for number in range(50))
    text = as_markdown(
        report(
            table("public.late", Verdict.INCOMPLETE, error="out of time"),
            table("public.first", differences=rows),
            table("public.second", differences=rows, overridden=("total", "search")),
            checks=(CheckResult(name="grants", title="…", verdict=Verdict.INCOMPLETE),),
        )
    )
    assert "- `public.first: (id=0) differs in note: 'a' on the source, 'b' on the target`" in text
    assert "- `public.second: (id=2) differs" in text
    assert "- `grants: incomplete`" in text
    assert "- `public.late: out of time`" in text
    assert "- and 94 more, in the report" in text
    assert "- `public.second`: `total`, `search`" in text


def test_in_a_gate_values_are_code_whatever_they_hold() -> None:
    text = as_markdown(report(table(verdict=Verdict.INCOMPLETE, error="``[x](javascript:1)\n# <b>")))
    assert "- ``` public.orders: ``[x](javascript:1) # <b> ```\n" in text


def test_a_coverage_near_the_whole_is_not_called_the_whole() -> None:
    tables = [table(f"public.t{share}", Verdict.OK, coverage=share) for share in (0.00001, 0.99999)]
    assert "2 in part (0.1 % to 99.9 %)" in as_markdown(report(*tables))


@pytest.mark.parametrize("kind", ["a path", "an object storage"])
def test_a_report_is_saved_below_its_plan_and_may_be_saved_again(kind: str, tmp_path: Path) -> None:
    directory = tmp_path / "reports"
    place = directory if kind == "a path" else ObjectStoragePath(f"file://{directory}")
    first = save(report(run_id="first"), place)
    again = save(report(run_id="again"), place)
    assert [str(path) for path in again] == [str(path) for path in first]
    assert sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*.*")) == [
        f"shop/{NAME}.html",
        f"shop/{NAME}.json",
    ]
    assert Report.model_validate_json(again.json.read_text()).run_id == "again"
    assert "in run again" in again.html.read_text()


def test_half_a_report_never_has_its_name(tmp_path: Path) -> None:
    class Full(type(tmp_path)):  # type: ignore[misc]
        """A disk that is full when half a file is written."""

        def write_text(self, data: str, *args: Any, **kwargs: Any) -> int:
            super().write_text(data[: len(data) // 2], *args, **kwargs)
            raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        save(report(), Full(tmp_path))
    assert not [path for path in tmp_path.rglob("*") if is_saved("shop", path.name)]


def test_reports_are_named_by_their_begin_in_utc() -> None:
    elsewhere = datetime.fromisoformat("2026-05-01T04:15:03+02:00")
    assert stem(report(started_at=elsewhere)) == NAME


@pytest.mark.parametrize("wrong", [{"plan": "../shop"}, {"plan": "shop\n"}, {"id": "a/b"}, {"id": ".."}, {"id": ""}])
def test_what_makes_no_file_s_name_is_refused(wrong: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="make no file's name"):
        save(report(**wrong), tmp_path)


@pytest.mark.parametrize(
    ("plan", "name", "known"),
    [
        ("shop", f"{NAME}.html", True),
        ("shop", f"{NAME}.json", True),
        ("shop", f".{NAME}.17.part", False),
        ("shop", f"{NAME}.html\n", False),
        ("shop", f"{NAME}html", False),
        ("shop", f"{NAME}/../x.html", False),
        ("shop", "..", False),
        ("..", f"{NAME}.html", False),
        ("shop/x", f"{NAME}.html", False),
    ],
)
def test_only_names_that_saving_gives_are_known(plan: str, name: str, known: bool) -> None:
    assert is_saved(plan, name) is known
