"""Batch-optimised apply: the changes of many transactions netted to one a row, and committed table by table.

The tables with the fewest changes come first, so that a row of a small table (a watermark, say) is visible before the
changes that preceded it in other tables: BatchApplyPreserveTransaction holds for Oracle targets only.
"""

from __future__ import annotations

from collections.abc import Iterable

from crossfade_lab.aws.replication.catalog import Table
from crossfade_lab.aws.replication.pgoutput import Change, Unchanged
from crossfade_lab.aws.replication.statements import Work

_Key = tuple[object, ...]


def by_table(works: Iterable[Work]) -> list[tuple[Table, list[Work]]]:
    """Work grouped by table in its order, the tables with the least of it first."""
    groups: dict[Table, list[Work]] = {}
    for work in works:
        groups.setdefault(work.table, []).append(work)
    return sorted(groups.items(), key=lambda item: len(item[1]))


def net(works: Iterable[Work]) -> list[Change]:
    """The changes that are left of one table's, in the order DELETE, INSERT, UPDATE."""
    rows: dict[_Key, list[Change]] = {}
    for number, work in enumerate(works):
        key: _Key = work.key or (number,)  # without a key nothing can be netted
        rows[key] = _merged(rows.get(key, []), work.change)
    left = [change for changes in rows.values() for change in changes]
    return sorted(left, key=lambda change: "DIU".index(change.kind))


def _merged(before: list[Change], change: Change) -> list[Change]:
    """The net effect of what happened to a row before, and one change more."""
    if not before or before[-1].kind == "D":
        return [*before, change]
    last = before[-1]
    if change.kind == "D":
        return before[:-1] if last.kind == "I" else [*before[:-1], change]
    if change.kind == "I":
        return [*before, change]
    assert last.new is not None and change.new is not None
    merged = tuple(a if b is Unchanged.TOAST else b for a, b in zip(last.new, change.new, strict=True))
    return [*before[:-1], Change(change.relation, last.kind, merged, last.old)]
