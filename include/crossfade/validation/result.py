"""What a validation found: one verdict for each check and each table, and every row that differs, by its key."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal
from uuid import uuid4

import psycopg
from pydantic import BaseModel, ConfigDict


class Mode(StrEnum):
    """How much is compared."""

    QUICK = "quick"  #: statistics and the state of replication; no row is read
    SAMPLE = "sample"  #: some key ranges of every table, others each time
    FULL = "full"  #: every row


class Verdict(StrEnum):
    """Of a check, a table, or a whole validation; the worst of its parts."""

    OK = "ok"
    INCOMPLETE = "incomplete"  #: something could not be compared: nothing is known of it
    MISMATCH = "mismatch"

    @classmethod
    def worst(cls, verdicts: Iterable[Verdict]) -> Verdict:
        """`OK` of none."""
        order = list(cls)
        return max(verdicts, key=order.index, default=cls.OK)


class _Found(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ColumnDifference(_Found):
    """One value that differs, as both sides print it: long ones shortened, those of secret columns hashed."""

    name: str
    on_source: str | None  #: None: NULL
    on_target: str | None


class RowDifference(_Found):
    """One row that is not the same on both sides."""

    kind: Literal["missing on the target", "missing on the source", "differs", "copies"]
    key: tuple[tuple[str, str | None], ...]  #: columns of the key and their values; empty where the table has no key
    row: str = ""  #: the row as text, shortened, where the table has no key
    columns: tuple[ColumnDifference, ...] = ()  #: of the kind ``differs``; empty where they were not read
    copies: tuple[int, int] = (0, 0)  #: of the kind ``copies``: how often the row is there, on source and target

    def __str__(self) -> str:
        name = f"({', '.join(f'{name}={value}' for name, value in self.key)})" if self.key else f"row {self.row}"
        if self.kind == "copies":
            return f"{name} is there {self.copies[0]} times on the source, {self.copies[1]} times on the target"
        if self.kind != "differs":
            return f"{name} is {self.kind}"
        values = "; ".join(
            f"{each.name}: {_shown(each.on_source)} on the source, {_shown(each.on_target)} on the target"
            for each in self.columns
        )
        return f"{name} differs" + (f" in {values}" if values else "")


def _shown(value: str | None) -> str:
    return "NULL" if value is None else repr(value)


class TableResult(_Found):
    """What the comparison of one table found."""

    table: str  #: schema and name, as stored
    verdict: Verdict
    method: Literal["key ranges", "pages", "statistics", "not compared"]
    rows: tuple[int, int]  #: that were read on source and target; at the same time, not at the same position
    coverage: float = 1.0  #: 0 … 1 of the table that was compared
    parts: int = 1  #: ranges of keys, or of pages, that were compared
    differences: tuple[RowDifference, ...] = ()  #: the first ones
    more: int = 0  #: rows that differ and are not listed
    settled: int = 0  #: rows that differed at first, since changes were on their way
    unsettled: tuple[str, ...] = ()  #: rows that kept changing and were never seen equal; the verdict is incomplete
    overridden: tuple[str, ...] = ()  #: columns that were compared by the plan's expression, or not at all
    notes: tuple[str, ...] = ()  #: what else there is to know of how it was compared; nothing that is wrong
    repaired: int = 0  #: rows that were put right, and are equal since
    repaired_rows: tuple[RowDifference, ...] = ()  #: the first of them, as they were
    error: str = ""  #: why it was not compared, or not to its end
    seconds: float = 0.0

    @classmethod
    def not_compared(cls, table: str, why: str) -> TableResult:
        """Nothing is known of its rows."""
        return cls(
            table=table,
            verdict=Verdict.INCOMPLETE,
            method="not compared",
            rows=(0, 0),
            coverage=0.0,
            parts=0,
            error=f"not compared: {why}",
        )

    @property
    def problems(self) -> list[str]:
        """Everything that is not ok, one line each."""
        lines = [str(each) for each in self.differences]
        if self.more:
            lines.append(f"{self.more} more rows differ")
        lines += [f"{row} kept changing and was never seen equal" for row in self.unsettled]
        return [f"{self.table}: {line}" for line in [*lines, *([self.error] if self.error else [])]]


class CheckResult(_Found):
    """What one check beside the rows found."""

    name: str  #: ``schema``, ``sequences`` …
    title: str  #: what it looks at, in words
    verdict: Verdict
    lines: tuple[str, ...] = ()  #: what is wrong, or could not be seen, one thing each
    note: str = ""  #: what was looked at: ``214 objects``; lag at the time
    seconds: float = 0.0

    @property
    def problems(self) -> list[str]:
        """Everything that is not ok, one line each."""
        return [] if self.verdict is Verdict.OK else [f"{self.name}: {line}" for line in self.lines]


class Sides(_Found):
    """Name and version of both databases, without secrets."""

    source: str
    target: str


class Report(_Found):
    """A whole validation."""

    id: str
    plan: str
    run_id: str
    mode: Mode
    started_at: datetime
    finished_at: datetime
    source: str  #: name and version, no secret
    target: str
    checks: tuple[CheckResult, ...] = ()
    tables: tuple[TableResult, ...] = ()

    @classmethod
    def of_nothing(cls, error: Exception, *, plan: str, run_id: str, mode: Mode, sides: Sides) -> Report:
        """Of a validation that could not begin."""
        now = datetime.now(UTC)
        unreached = CheckResult(
            name="connections",
            title="both sides can be reached",
            verdict=Verdict.INCOMPLETE,
            lines=(in_one_line(error),),
            note="nothing was compared",
        )
        return cls(
            id=str(uuid4()),
            plan=plan,
            run_id=run_id,
            mode=mode,
            started_at=now,
            finished_at=now,
            source=sides.source,
            target=sides.target,
            checks=(unreached,),
        )

    @property
    def verdict(self) -> Verdict:
        """The worst of all."""
        return Verdict.worst([*(check.verdict for check in self.checks), *(table.verdict for table in self.tables)])

    @property
    def seconds(self) -> float:
        """From beginning to end."""
        return (self.finished_at - self.started_at).total_seconds()

    @property
    def problems(self) -> list[str]:
        """Everything that is not ok, one line each."""
        found: list[CheckResult | TableResult] = [*self.checks, *self.tables]
        return [line for each in found for line in each.problems]


def in_one_line(error: Exception) -> str:
    """What an error says. Of a server's its first line alone: what it adds may hold values of rows."""
    text = (error.diag.message_primary if isinstance(error, psycopg.Error) else None) or str(error)
    return " ".join(text.split()) or type(error).__name__
