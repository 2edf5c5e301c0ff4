"""
Telling a difference from a change that is on its way: a row differs only if it still does when the stream has passed.

One round: read the rows where they are written, wait until the other side has applied all that was committed there by
then, reading it again and again meanwhile. A row that is once seen as it was is settled: so are counters that never
stand still. A row that did not change where it is written, and is another where the stream has passed, differs; since
one that changes there and back looks like that, too, now and then, it counts only if it is so round after round.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from crossfade.validation.digest import Key, Row

#: Rounds in which a row differs in the same way until it counts. One that is set and reset, or inserted and deleted,
#: all the time looks so in one round of 16 or more: two in a row were a false alarm of one such row in a hundred.
_CONFIRMED = 6
_CONFIRMED_LATE = 2  #: that are enough once the time is up: a table without a key is read from end to end for each look
_PAUSE = 0.05  #: seconds at most between two rounds, by chance, so that no row keeps time with them
_AT_ONCE = 5_000  #: rows
_NOTHING: Row = (0, 0)

Ask = Callable[[Collection[Key]], dict[Key, Row]]


@dataclass(kw_only=True, slots=True)
class Settled:
    """What became of rows that differed at first."""

    equal: int = 0
    differing: dict[Key, tuple[Row, Row]] = field(default_factory=dict)  #: as the writing and the other side have it
    moving: list[Key] = field(default_factory=list)  #: changed all the time and were never seen equal

    def add(self, other: Settled) -> None:
        """Take in what became of others."""
        self.equal += other.equal
        self.differing.update(other.differing)
        self.moving += other.moving


def settle(
    keys: Collection[Key],
    *,
    written: Ask,
    followed: Ask,
    caught_up: Callable[[], None],
    seconds: float,
    most: int,
) -> Settled:
    """
    Look at rows until each is settled, differs for sure, or the time is up.

    :param written: the rows as the side has them that takes writes
    :param followed: as the other side has them
    :param caught_up: returns when the other side has applied all that was committed when it was called
    :param seconds: for each five thousand rows
    :param most: no more are looked at once so many differ for sure

    Raises `psycopg.Error`, and what `caught_up` raises.
    """
    found = Settled()
    left = sorted(keys, key=str)
    with ThreadPoolExecutor(1) as pool:
        while left and len(found.differing) < most:
            now, left = left[:_AT_ONCE], left[_AT_ONCE:]
            found.add(_settle(now, written, followed, lambda: pool.submit(caught_up), time.monotonic() + seconds))
    return found


def _settle(
    keys: Collection[Key], written: Ask, followed: Ask, catching_up: Callable[[], Future[None]], deadline: float
) -> Settled:
    found, pending = Settled(), set(keys)
    seen: dict[Key, tuple[Row, Row]] = {}
    rounds: dict[Key, int] = {}
    while pending:
        before = written(pending)
        passed = catching_up()
        for now in _until(passed, followed, pending):
            equal = {key for key in pending if before.get(key, _NOTHING) == now.get(key, _NOTHING)}
            found.equal += len(equal)
            pending.difference_update(equal)
            if not pending:
                break
        passed.result()
        if not pending:
            break
        after = written(pending)
        for key in list(pending):
            pair = after.get(key, _NOTHING), now.get(key, _NOTHING)
            if pair[0] == pair[1] and pair[0] != before.get(key, _NOTHING):
                found.equal += 1  # the other side was seen one change further than the first look
                pending.discard(key)
                continue
            still = pair[0] == before.get(key, _NOTHING)
            rounds[key] = rounds.get(key, 0) + 1 if still and seen.get(key, pair) == pair else int(still)
            seen[key] = pair
            if rounds[key] >= _CONFIRMED:
                found.differing[key] = pair
                pending.discard(key)
        if time.monotonic() > deadline:
            late = {key for key in pending if rounds[key] >= _CONFIRMED_LATE}
            found.differing.update({key: seen[key] for key in late})
            found.moving += sorted(pending - late, key=str)
            break
        time.sleep(random.uniform(0, _PAUSE))  # noqa: S311 - no secret
    return found


def _until(passed: Future[None], look: Ask, keys: set[Key]) -> Iterator[dict[Key, Row]]:
    """Look at those of the keys that are left, again and again; the last look begins when the stream has passed."""
    while True:
        last = passed.done()
        start = time.monotonic()
        yield look(keys)
        if last:
            return
        time.sleep(min(0.25, max(0.001, (time.monotonic() - start) / 4)))
