"""A validation's report for people and programs: a page that stands alone, Markdown for a gate, JSON; and its file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from crossfade.plan import NAME
from crossfade.quantities import spoken
from crossfade.validation.result import CheckResult, ColumnDifference, Report, RowDifference, TableResult, Verdict

PAGE_ROWS = 2000  #: rows that differ and are listed on one page; the JSON has all that the comparison kept
TABLE_ROWS = 200  #: of one table; and lines of one list
GATE_PROBLEMS = 10  #: that a gate's body lists
_OF_ONE = 3  #: of these, about one table or check, so that one table does not hide the others
_LINE = 300  #: characters of a problem in a gate's body
_OPEN = 10  #: a list is folded when it is longer
_OPEN_TABLES = 40
_LONG_VALUE = 16  #: characters from which on the part is marked in which two values differ

_STARTED = "%Y%m%dT%H%M%SZ"
_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,63}")
_STEM = re.compile(rf"\d{{8}}T\d{{6}}Z-{_ID.pattern}")
_WORST_FIRST = list(reversed(Verdict))

_Found = TypeVar("_Found", CheckResult, TableResult)


class Directory(Protocol):
    """What reports are written below: a `pathlib.Path`, or an object storage's path that behaves like one."""

    def __truediv__(self, name: str, /) -> Self: ...
    def mkdir(self, mode: int = ..., parents: bool = ..., exist_ok: bool = ...) -> None: ...
    def write_text(self, data: str, encoding: str | None = ...) -> Any: ...
    def replace(self, target: Self, /) -> Any: ...


_Path = TypeVar("_Path", bound=Directory)


class Saved(NamedTuple, Generic[_Path]):
    """Where the two files of a report are."""

    html: _Path
    json: _Path


def as_json(report: Report) -> str:
    """All of it; `Report.model_validate_json` reads it again."""
    return report.model_dump_json(indent=2)


def as_html(report: Report) -> str:
    """One page that needs nothing beside it. It lists at most `PAGE_ROWS` rows, and says how many more differ."""
    tables = _worst_first(report.tables)
    different = [table for table in tables if table.differences or table.more]
    listed = min(TABLE_ROWS, max(1, PAGE_ROWS // max(1, len(different))))
    return _template().render(
        report=report,
        stem=stem(report),
        checks=_worst_first(report.checks),
        tables=tables,
        different=different,
        repaired=[table for table in tables if table.repaired],
        incomplete=[table for table in tables if table.error or table.unsettled],
        listed=listed,
        tables_listed=max(1, PAGE_ROWS // listed),
        summary=Summary.of(report),
        most_lines=TABLE_ROWS,
        open_up_to=_OPEN,
        open_tables=_OPEN_TABLES,
    )


def as_markdown(report: Report) -> str:
    """The outcome in a few lines, for a gate's body. Values of rows stand in code, where they can't be markup."""
    summary = Summary.of(report)
    lines = [
        f"### Validation of {report.plan}: {report.verdict}",
        "",
        f"Mode {report.mode}, {summary.tables}; {summary.rows}; compared: {summary.coverage}. "
        f"{_time(report.seconds)} from {_instant(report.started_at)}.",
    ]
    shown, left = _first_problems(report)
    if shown:
        lines += ["", *(f"- {_code(problem)}" for problem in shown)]
    if left:
        lines.append(f"- and {left:,} more, in the report")
    if overridden := [table for table in report.tables if table.overridden]:
        lines += ["", "Columns compared by an expression of the plan, or not at all:", ""]
        lines += [
            f"- {_code(table.table)}: {', '.join(map(_code, table.overridden))}" for table in overridden[:GATE_PROBLEMS]
        ]
        if len(overridden) > GATE_PROBLEMS:
            lines.append(f"- and {len(overridden) - GATE_PROBLEMS:,} more tables")
    if noted := [table for table in report.tables if table.notes]:
        lines += ["", "To know of how it was compared:", ""]
        lines += [f"- {_code(f'{table.table}: {note}')}" for table in noted[:_OF_ONE] for note in table.notes]
        if len(noted) > _OF_ONE:
            lines.append(f"- and of {len(noted) - _OF_ONE:,} more tables, in the report")
    return "\n".join(lines) + "\n"


def save(report: Report, directory: _Path) -> Saved[_Path]:
    """
    Write ``<plan>/<begin>-<id>.html`` and ``.json`` below a directory; a report that is there already is replaced.

    A file has its name only when it is whole: an object storage does it so by itself, on a disk it is renamed. Buckets
    are never made. Raises `OSError`, or what the object storage raises.
    """
    name = stem(report)
    folder = directory / report.plan
    saved = Saved(html=folder / f"{name}.html", json=folder / f"{name}.json")
    on_disk = getattr(folder, "protocol", "") in ("", "file", "local")
    if on_disk:
        folder.mkdir(parents=True, exist_ok=True)
    for path, text in ((saved.json, as_json(report)), (saved.html, as_html(report))):
        if on_disk:
            written = folder / f".{name}.{os.getpid()}.part"
            written.write_text(text, encoding="utf-8")
            written.replace(path)
        else:
            path.write_text(text, encoding="utf-8")
    return saved


def stem(report: Report) -> str:
    """What the files of a report are called, without their endings. Raises `ValueError` if that were no file's name."""
    if not NAME.fullmatch(report.plan) or not _ID.fullmatch(report.id):
        raise ValueError(f"plan {report.plan!r} and id {report.id!r} make no file's name")
    return f"{report.started_at.astimezone(UTC).strftime(_STARTED)}-{report.id}"


def is_saved(plan: str, name: str) -> bool:
    """Whether `save` may have given this name to a file of this plan: nothing else is ever read below its directory."""
    begin, dot, ending = name.rpartition(".")
    return bool(NAME.fullmatch(plan) and _STEM.fullmatch(begin) and dot and ending in ("html", "json"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """The whole in a few words each."""

    tables: str  #: ``14 tables: 12 ok, 1 mismatch, 1 incomplete``
    rows: str
    coverage: str  #: ``12 whole, 1 in part (5 %), 1 not at all``
    differing: int  #: rows, over all tables

    @classmethod
    def of(cls, report: Report) -> Summary:
        """What is said of a report at its top."""
        verdicts = [table.verdict for table in report.tables]
        counts = ", ".join(f"{verdicts.count(each)} {each}" for each in _WORST_FIRST if each in verdicts)
        source, target = (sum(table.rows[side] for table in report.tables) for side in (0, 1))
        rows = (
            f"{source:,} rows read"
            if source == target
            else f"{source:,} rows read on the source, {target:,} on the target"
        )
        return cls(
            tables=f"{len(verdicts):,} table{'' if len(verdicts) == 1 else 's'}" + (f": {counts}" if counts else ""),
            rows=rows,
            coverage=_coverage([table.coverage for table in report.tables]),
            differing=sum(map(_differing, report.tables)),
        )


def _coverage(shares: Sequence[float]) -> str:
    """No mean of all: a table that was left out may be the largest."""
    part = sorted(share for share in shares if 0 < share < 1)
    words = []
    if whole := sum(share >= 1 for share in shares):
        words.append(f"{whole:,} whole")
    if part:
        low, high = _percent(part[0]), _percent(part[-1])
        words.append(f"{len(part):,} in part ({low if low == high else f'{low} to {high}'})")
    if left_out := sum(share <= 0 for share in shares):
        words.append(f"{left_out:,} not at all")
    return ", ".join(words) or "no table"


def _first_problems(report: Report) -> tuple[list[str], int]:
    """Some problems of each check and table, the worst first, and the number of all others."""
    shown: list[str] = []
    number = 0
    found: list[CheckResult | TableResult] = [*report.checks, *report.tables]
    for each in sorted(found, key=_badness):
        problems = _problems(each)
        shown += problems[: min(_OF_ONE, GATE_PROBLEMS - len(shown))]
        number += len(problems) + (each.more if isinstance(each, TableResult) else 0)
    return shown, number - len(shown)


def _problems(found: CheckResult | TableResult) -> list[str]:
    """What is not ok of a check or a table, one line each; never none where the verdict is not ok."""
    if found.verdict is Verdict.OK:
        return []
    if isinstance(found, CheckResult):
        return [f"{found.name}: {line}" for line in found.lines or [found.verdict]]
    lines = [found.error] if found.error else []
    lines += [str(each) for each in found.differences]
    lines += [f"{row} kept changing and was never seen equal" for row in found.unsettled]
    return [f"{found.table}: {line}" for line in lines or [found.verdict]]


def _badness(found: CheckResult | TableResult) -> int:
    return _WORST_FIRST.index(found.verdict)


def _worst_first(found: Iterable[_Found]) -> list[_Found]:
    return sorted(found, key=_badness)


def _differing(table: TableResult) -> int:
    return len(table.differences) + table.more


def _code(text: str) -> str:
    """Text as Markdown's code, whatever is in it: on one line, between more backticks than it holds in a row."""
    text = re.sub(r"[\r\n]+", " ", text)
    if len(text) > _LINE:
        text = text[:_LINE] + "…"
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    return f"{fence} {text} {fence}" if "`" in text else f"{fence}{text}{fence}"


def _parts(column: ColumnDifference) -> tuple[str, str, str, str] | None:
    """Of two long values: what both begin with, the middles, what both end with. None where nothing is to be told."""
    one, other = column.on_source, column.on_target
    if one is None or other is None or one == other or min(len(one), len(other)) < _LONG_VALUE:
        return None
    begin = _shared(one, other)
    end = _shared(one[begin:][::-1], other[begin:][::-1])
    if not begin and not end:
        return None
    return one[:begin], one[begin : len(one) - end], other[begin : len(other) - end], one[len(one) - end :]


def _shared(one: str, other: str) -> int:
    """Characters that both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (mine, theirs) in pairs if mine != theirs), min(len(one), len(other)))


def _key(row: RowDifference) -> list[tuple[str, str | None]]:
    return list(row.key) or [("row", row.row)]


def _time(seconds: float) -> str:
    if seconds >= 60:
        return spoken(timedelta(seconds=seconds))
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"


def _instant(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _percent(share: float) -> str:
    """Never 100 % of what is not whole, nor 0 % of what is more than nothing."""
    if 0 < share < 1:
        share = min(max(share, 0.001), 0.999)
    return f"{share * 100:.1f}".removesuffix(".0") + " %"


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., Any]] = {
        "time": _time,
        "instant": _instant,
        "percent": _percent,
        "key": _key,
        "parts": _parts,
        "differing": _differing,
        "number": "{:,}".format,
    }
    environment.filters.update(filters)
    return environment.get_template("report.html.j2")
