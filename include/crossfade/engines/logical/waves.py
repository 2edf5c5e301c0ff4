"""Which tables travel together: waves, and the names of what belongs to one."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from crossfade.catalog import Table
from crossfade.routers.base import Direction


def stream_name(plan: str, wave: int, direction: Direction = Direction.FORWARD) -> str:
    """Name of a wave's watermark stream."""
    return f"{plan}_{wave}" if direction is Direction.FORWARD else f"{plan}_{wave}_back"


def object_name(plan: str, wave: int, direction: Direction = Direction.FORWARD) -> str:
    """Name of a wave's publication, slot and subscription: ``^[a-z0-9_]{1,63}$``, as slots demand."""
    return f"crossfade_{stream_name(plan, wave, direction)}"


def group(tables: Sequence[Table], waves: int) -> list[list[Table]]:
    """
    Spread tables over at most that many waves of about the same size: the largest first, each to the lightest wave.

    Waves without a table are left out.
    """
    piles: list[tuple[int, int, list[Table]]] = [(0, n, []) for n in range(waves)]
    for table in sorted(tables, key=lambda table: (-table.bytes, table.full_name)):
        size, n, pile = heapq.heappop(piles)
        pile.append(table)
        heapq.heappush(piles, (size + table.bytes, n, pile))
    return [pile for _, _, pile in sorted(piles, key=lambda entry: entry[1]) if pile]
