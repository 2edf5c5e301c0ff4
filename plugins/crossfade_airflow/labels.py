"""What mapped tasks are called in the UI."""

from __future__ import annotations

from collections.abc import Sequence

_NAMED = 3  #: tables whose names fit into a label


def of_tables(number: int, tables: Sequence[str]) -> str:
    """A number and the first of some tables."""
    more = f" and {len(tables) - _NAMED} more" if len(tables) > _NAMED else ""
    return f"{number}: {', '.join(tables[:_NAMED]) or 'no table'}{more}"
