"""Comparing one part of a table on a live pair: digests first, then the rows of what differs, then what survives."""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from crossfade.connect import Connection
from crossfade.routers.base import Direction
from crossfade.validation.digest import Digests, Key, Row
from crossfade.validation.parts import Part
from crossfade.validation.result import ColumnDifference, RowDifference
from crossfade.validation.settle import Settled, settle

T = TypeVar("T")

LISTED = 100  #: rows of a table that are named in a report; others are counted
MOST = 10_000  #: differing rows of a table, after which others are not looked at, but counted by their digests
DEFERRED = 5_000  #: rows of a table that differ at first and wait to be looked at again, all at once
_ROWS_AT_ONCE = 500_000  #: of buckets that differ: what is held in memory


@dataclass(kw_only=True, slots=True)
class PartResult:
    """What the comparison of one part found."""

    rows: tuple[int, int] = (0, 0)
    differing: dict[Key, tuple[Row, Row]] = field(default_factory=dict)  #: as source and target have it
    unsettled: list[Key] = field(default_factory=list)
    settled: int = 0
    unread: int = 0  #: rows at most of buckets that were not looked into, since so many rows differ already
    suspects: list[Key] = field(default_factory=list)  #: differed at first, and are yet to be looked at again

    @property
    def quiet(self) -> bool:
        """Whether no row differed, not even at first."""
        return not (self.differing or self.unsettled or self.settled or self.unread or self.suspects)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """A session on each side, and the streams between them. For one part at a time."""

    source: Connection
    target: Connection
    caught_up: Callable[[], None]  #: returns when all that was committed where clients write is on the other side
    direction: Direction = Direction.FORWARD  #: in which rows are carried
    still: Callable[[], None] = lambda: None  #: raises where they no longer are: asked before anything is written

    def both(self, ask: Callable[[Connection], T]) -> tuple[T, T]:
        """Both sides at the same time."""
        with ThreadPoolExecutor(2) as pool:
            there, here = pool.submit(ask, self.source), pool.submit(ask, self.target)
            return there.result(), here.result()


def compare_part(
    pair: Pair,
    digests: Digests,
    part: Part,
    *,
    seconds: float,
    most: int = MOST,
    closely: bool = True,
    defer: int = 0,
) -> PartResult:
    """
    Compare one part.

    :param seconds: that rows in motion may take to be seen equal
    :param most: no more rows are looked at once so many differ for sure
    :param closely: whether it is likely to differ: else one digest of all of it is read first, which is faster
    :param defer: so many rows that differ at first may be left to be looked at again later
    Raises `psycopg.Error` where a side cannot be read, and what waiting for the stream raises.
    """
    if not closely:
        all_there, all_here = pair.both(lambda conn: digests.of_part(conn, part))
        if all_there == all_here:
            return PartResult(rows=(all_there.rows, all_here.rows))
    there, here = pair.both(lambda conn: digests.of_buckets(conn, part))
    result = PartResult(rows=(sum(b.rows for b in there.values()), sum(b.rows for b in here.values())))
    sizes = {
        bucket: max(each.rows for each in (there.get(bucket), here.get(bucket)) if each is not None)
        for bucket in there.keys() | here.keys()
        if there.get(bucket) != here.get(bucket)
    }
    while sizes:
        chosen = _some(sizes)
        if len(result.differing) >= most:
            result.unread += sum(sizes.pop(bucket) for bucket in chosen)
            continue
        for bucket in chosen:
            del sizes[bucket]
        unequal = _unequal(pair, digests, part, chosen)
        if len(result.suspects) + len(unequal) <= defer:
            result.suspects += sorted(unequal, key=str)
            continue
        found = look_again(pair, digests, unequal, seconds=seconds, most=most)
        result.settled += found.equal
        result.unsettled += found.moving
        result.unread += len(unequal) - found.equal - len(found.moving) - len(found.differing)
        result.differing.update(found.differing)
    return result


def _some(sizes: dict[int, int]) -> list[int]:
    chosen, rows = [], 0
    for bucket in sorted(sizes):
        rows += sizes[bucket]
        chosen.append(bucket)
        if rows >= _ROWS_AT_ONCE:
            break
    return chosen


def _unequal(pair: Pair, digests: Digests, part: Part, buckets: Collection[int]) -> set[Key]:
    """Rows of these buckets that differ right now."""
    there, here = pair.both(lambda conn: digests.rows_of_buckets(conn, part, buckets))
    return {key for key in there.keys() | here.keys() if there.get(key) != here.get(key)}


def look_again(pair: Pair, digests: Digests, keys: Collection[Key], *, seconds: float, most: int = MOST) -> Settled:
    """`settle` these rows; those that differ as source and target have them. Raises as `compare_part`."""
    forward = pair.direction is Direction.FORWARD
    writes, follows = (pair.source, pair.target) if forward else (pair.target, pair.source)
    found = settle(
        keys,
        written=lambda keys: digests.rows_of_keys(writes, keys),
        followed=lambda keys: digests.rows_of_keys(follows, keys),
        caught_up=pair.caught_up,
        seconds=seconds,
        most=most,
    )
    if not forward:
        found.differing = {key: (there, here) for key, (here, there) in found.differing.items()}
    return found


def described(pair: Pair, digests: Digests, differing: dict[Key, tuple[Row, Row]]) -> tuple[RowDifference, ...]:
    """Rows for people: what is missing where, and which columns differ. Raises `psycopg.Error`."""
    keyed = bool(digests.table.key)
    changed = [key for key, (there, here) in differing.items() if keyed and there[1] == here[1] == 1]
    ours, theirs = pair.both(lambda conn: digests.values(conn, changed)) if changed else ({}, {})
    found = []
    for key in sorted(differing, key=str):
        there, here = differing[key]
        name = tuple(zip(digests.table.key, key, strict=True)) if keyed else ()
        columns = tuple(
            ColumnDifference(name=column, on_source=value.shown, on_target=other.shown)
            for column, value in ours.get(key, {}).items()
            if (other := theirs.get(key, {}).get(column)) is not None and value.digest != other.digest
        )
        found.append(
            RowDifference(
                kind=_kind(there, here),
                key=digests.hidden(name),
                row="" if keyed else f"with hash {key[0]}",
                columns=columns,
                copies=(there[1], here[1]) if there[1] != here[1] and there[1] and here[1] else (0, 0),
            )
        )
    return tuple(found)


def _kind(there: Row, here: Row) -> Literal["missing on the target", "missing on the source", "differs", "copies"]:
    if not here[1]:
        return "missing on the target"
    if not there[1]:
        return "missing on the source"
    return "differs" if there[1] == here[1] else "copies"
