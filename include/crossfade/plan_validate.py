"""The plan's section ``validate``: how rows are compared, how much of them, and how gently."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from crossfade.plan_notify import Notify, or_one
from crossfade.plan_section import Section
from crossfade.quantities import Duration, Size, parse_duration, parse_size


class ColumnRule(Section):
    """How one column is compared, where its plain value is not what counts."""

    ignore: bool = False
    """Leave it out of the comparison."""
    expression: str = ""
    """SQL over the table's columns to compare instead, for example ``round(price::numeric, 6)``."""
    secret: bool = False
    """Compare it, but show a hash in reports instead of its values."""

    @model_validator(mode="after")
    def _one_way(self) -> ColumnRule:
        if self.ignore and self.expression:
            raise ValueError("a column is either ignored or compared by an expression: remove one of both")
        return self


class BackOff(Section):
    """When the comparison waits, so that it is no burden to who serves."""

    lag: Size | None = parse_size("256MB")
    """While replication is further behind than this; null: never."""
    active_sessions: int | None = Field(default=None, ge=1)
    """While more sessions than this work on the serving side at the same time; null (default): never."""
    patience: Duration = parse_duration("10min")
    """How long it waits at most before each part; then it goes on, and the report says so."""


class Validate(Section):
    """How rows are compared."""

    schedule: str | None = Field(default=None, pattern=r"^(@[a-z]+|\S+( \S+){4})$")
    """When ``<plan>.validate`` runs: a cron expression of five fields, or such as ``@daily``. Empty: when triggered."""
    mode: Literal["full", "sample", "quick"] = "full"
    """Of nightly runs: every row, some key ranges (others every night), or statistics only."""
    sample: float = Field(default=15, gt=0, le=100)
    """Per cent of every table that a run in mode sample compares; what was compared longest ago comes first."""
    jobs: int = Field(default=2, ge=1, le=32)
    """Parts compared at the same time: so many sessions read on each side."""
    part_rows: int = Field(default=100_000, ge=1000)
    """Rows compared by one statement: a part of a table, and of the progress that is kept."""
    statement: Duration = parse_duration("5min")
    """How long one statement may run and hold its snapshot; then its part is reported as not compared."""
    settle: Duration = parse_duration("60s")
    """How long rows that keep changing may take to be seen equal."""
    max_age: Duration = parse_duration("24h")
    """A validation older than this no longer allows a cutover."""
    back_off: BackOff = BackOff()
    columns: dict[str, dict[str, ColumnRule]] = Field(default={})
    """Rules by table (``schema.table`` as stored) and column. Reports list them."""
    notify: tuple[Notify, ...] = Field(default=(), json_schema_extra=or_one)
    """Who is told when ``<plan>.validate`` fails; a list, or one. Names of tables and counts, no values of rows."""

    @field_validator("notify", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, dict) else value
