"""Comparing one table on a live pair: a difference counts only if it survives the stream catching up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from crossfade.connect import Connection
from crossfade.validation.digest import Digests, Key

T = TypeVar("T")

_MOST_BUCKETS_LOOKED_INTO = 256
_ROUNDS_UNCHANGED = 3  #: a row that differs in the same way that often, each time after a watermark, is a mismatch
_NAMED = 20  #: rows named in a report; the rest are counted

Rows = Mapping[Key, tuple[int, int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class TableResult:
    """What the comparison of one table found."""

    table: str
    source_rows: int  #: as of its first pass; the sides are read at the same time, not at the same position
    target_rows: int
    differences: tuple[str, ...]  #: rows that differ, by key; empty: equal
    seconds: float

    @property
    def detail(self) -> str:
        """The differences in one line; empty where there are none."""
        shown = "; ".join(self.differences[:_NAMED])
        more = len(self.differences) - _NAMED
        return shown + (f"; and {more} more" if more > 0 else "")


class TableComparison:
    """
    One table on both sides.

    :param caught_up: returns when the target has applied all that the source had committed when it was called
    :param settle: seconds that rows in motion may take to be seen equal
    """

    def __init__(
        self, digests: Digests, source: Connection, target: Connection, *, caught_up: Callable[[], None], settle: float
    ) -> None:
        self.digests, self.source, self.target = digests, source, target
        self.caught_up, self.settle = caught_up, settle

    def run(self) -> TableResult:
        """Compare. Raises `psycopg.Error` where a side cannot be read."""
        start = time.monotonic()
        deadline = start + self.settle
        with ThreadPoolExecutor(2) as self._pool:
            there, here, differing = self._first_pass()
            for _ in range(2):
                if len(differing) <= _MOST_BUCKETS_LOOKED_INTO:
                    break
                self.caught_up()  # so much differs while the stream is behind
                there, here, differing = self._first_pass()
            chosen = sorted(differing)[:_MOST_BUCKETS_LOOKED_INTO]
            differences = self._settle(chosen, deadline) if chosen else []
        if len(differing) > len(chosen):
            differences.append(
                f"{len(differing) - len(chosen)} of {self.digests.buckets} parts of the table differ as well"
            )
        return TableResult(
            table=self.digests.table.full_name,
            source_rows=there,
            target_rows=here,
            differences=tuple(differences),
            seconds=time.monotonic() - start,
        )

    def _both(self, ask: Callable[[Connection], T]) -> tuple[T, T]:
        """Both sides at the same time."""
        there, here = self._pool.submit(ask, self.source), self._pool.submit(ask, self.target)
        return there.result(), here.result()

    def _first_pass(self) -> tuple[int, int, set[int]]:
        there, here = self._both(self.digests.of_buckets)
        differing = {bucket for bucket in there.keys() | here.keys() if there.get(bucket) != here.get(bucket)}
        return sum(b.rows for b in there.values()), sum(b.rows for b in here.values()), differing

    def _settle(self, buckets: list[int], deadline: float) -> list[str]:
        there, here = self._both(lambda conn: self.digests.rows_of_buckets(conn, buckets))
        unequal = _unequal(there, here)
        unchanged = dict.fromkeys(unequal, 1)
        while unequal and min(unchanged[key] for key in unequal) < _ROUNDS_UNCHANGED and time.monotonic() < deadline:
            self.caught_up()
            keys = list(unequal)
            there, here = self._both(lambda conn, keys=keys: self.digests.rows_of_keys(conn, keys))  # type: ignore[misc]  # lambda default
            seen = _unequal(there, here)
            # a row once seen equal is settled; one that still differs counts again only if neither side moved
            for key in unequal.keys() & seen.keys():
                unchanged[key] = unchanged[key] + 1 if seen[key] == unequal[key] else 1
            unequal = {key: seen[key] for key in unequal if key in seen}
        return [
            self._say(key, *unequal[key], moving=unchanged[key] < _ROUNDS_UNCHANGED) for key in sorted(unequal, key=str)
        ]

    def _say(self, key: Key, there: tuple[int, int], here: tuple[int, int], *, moving: bool) -> str:
        row = self.digests.describe(key)
        if not here[1]:
            what = "is missing on the target"
        elif not there[1]:
            what = "is missing on the source"
        elif there[1] != here[1]:
            what = f"is there {there[1]} times on the source, {here[1]} times on the target"
        else:
            what = "differs"
        return f"{row} {what}" + (" (still changing, never seen equal)" if moving else "")


def _unequal(there: Rows, here: Rows) -> dict[Key, tuple[tuple[int, int], tuple[int, int]]]:
    nothing = (0, 0)
    pairs = {key: (there.get(key, nothing), here.get(key, nothing)) for key in there.keys() | here.keys()}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
