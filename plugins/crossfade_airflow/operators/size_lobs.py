"""The task `size_lobs`: how the large objects of each table are to travel through AWS DMS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from crossfade.engines.dms import phases
from crossfade.engines.dms.lobs import LobLimit
from crossfade.migration import Migration
from crossfade.quantities import format_size
from crossfade_airflow.operators.dms_phase import DmsPhaseOperator

_HEADINGS = ("table", "largest value", "column", "mode", "limit")


class SizeLobsOperator(DmsPhaseOperator):
    """
    Measure the true size of every large object of the plan's tables, and decide mode and ``LobMaxSize`` of each table.

    The decision is kept in the journal, and shown in the log. Returns it as one mapping a table, with the keys of
    `crossfade.engines.dms.lobs.LobLimit`. In a DAG of one's own it needs a plan that is prepared.
    """

    def carry_out(self, migration: Migration) -> list[dict[str, Any]]:
        limits = phases.size_lobs(migration)
        self.log.info("%d tables have large objects\n%s", len(limits), as_text(limits))
        return [asdict(limit) for limit in limits]

    def done_before(self, slots: list[str]) -> list[dict[str, Any]]:
        return []


def as_text(limits: Sequence[LobLimit]) -> str:
    """The limits as an aligned table, the largest value first."""
    largest_first = sorted(limits, key=lambda limit: (-limit.largest_bytes, limit.full_name))
    lines = [_HEADINGS, *(_line(limit) for limit in largest_first)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _line(limit: LobLimit) -> tuple[str, ...]:
    size = format_size(limit.limit_kb * 1024)
    shown = {"limited": size, "inline": f"none; above {size} one by one", "full": "none; all one by one"}
    return limit.full_name, format_size(limit.largest_bytes), limit.largest_column, limit.mode, shown[limit.mode]
