"""How the tables of a validation are shared out, so that what failed or was killed is a small part of it."""

from __future__ import annotations

from collections.abc import Sequence

from crossfade.catalog import Table
from crossfade.quantities import parse_size

MOST = 16  #: batches; each is a task of its own
LEAST = parse_size("128MB")  #: of a batch: less is not worth a task


def batches(tables: Sequence[Table]) -> list[list[str]]:
    """Full names of the tables, the largest first. One empty batch where there is no table."""
    largest_first = sorted(tables, key=lambda table: (-table.bytes, table.full_name))
    enough = max(LEAST, sum(table.bytes for table in tables) // MOST)
    shared: list[list[str]] = [[]]
    size = 0
    for table in largest_first:
        if size >= enough and len(shared) < MOST:
            shared.append([])
            size = 0
        shared[-1].append(table.full_name)
        size += table.bytes
    return shared
