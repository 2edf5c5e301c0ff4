"""The sections `guard` and `source_protection` of a plan: what is watched while rows are carried, and how often."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from crossfade.plan_section import Section
from crossfade.quantities import Duration, Size, parse_duration, parse_size


class Watch(Section):
    """The DAG ``<plan>.guard``."""

    schedule: str | None = Field(default="*/5 * * * *", pattern=r"^(@[a-z]+|\S+( \S+){4})$")
    """When it looks: a cron expression of five fields, or such as ``@hourly``. Empty: only when it is triggered."""
    max_lag: Duration = parse_duration("15min")
    """It fails when no watermark has arrived for that long."""


class SourceProtection(Section):
    """How much WAL the slots of a migration may keep: a disk that is full stops the server."""

    max_retained_wal: Size = parse_size("20GB")
    """Of each slot."""
    on_exceed: Literal["warn", "drop_slot"] = "warn"
    """``drop_slot`` drops the slots on the source and gives the migration up; never those of the way back."""
