"""Rows in motion: what is told from a difference, and what is not."""

from __future__ import annotations

import random
import time
from collections.abc import Collection

from crossfade.validation.digest import Key, Row
from crossfade.validation.settle import settle

HERE: Row = (7, 1)
CHANGED: Row = (8, 1)


def _at_some_moment(keys: Collection[Key]) -> dict[Key, Row]:
    """Rows that are inserted and deleted again so quickly that every look is at another moment."""
    return {key: HERE for key in keys if random.random() < 0.5}


def test_rows_that_change_there_and_back_are_no_difference() -> None:
    keys = [(str(n),) for n in range(1000)]
    found = settle(
        keys, written=_at_some_moment, followed=_at_some_moment, caught_up=lambda: None, seconds=60, most=len(keys)
    )
    assert found.equal == len(keys)
    assert not found.differing and not found.moving


def test_among_moving_rows_those_that_differ_are_found() -> None:
    wrong: dict[Key, tuple[Row, Row]] = {("changed",): (HERE, CHANGED), ("extra",): ((0, 0), HERE)}
    keys = [*wrong, *((str(n),) for n in range(100))]

    def look(keys: Collection[Key], side: int) -> dict[Key, Row]:
        still = {key: wrong[key][side] for key in keys if key in wrong and wrong[key][side][1]}
        return {**_at_some_moment([key for key in keys if key not in wrong]), **still}

    found = settle(
        keys,
        written=lambda keys: look(keys, 0),
        followed=lambda keys: look(keys, 1),
        caught_up=lambda: None,
        seconds=60,
        most=len(keys),
    )
    assert found.differing == wrong
    assert found.equal == 100


def test_a_row_that_was_read_twice_in_the_time_given_differs_and_one_that_always_changed_is_moving() -> None:
    counted = 0

    def written(keys: Collection[Key]) -> dict[Key, Row]:
        nonlocal counted
        counted += 1
        return {key: HERE if key == ("still",) else (counted, 1) for key in keys}

    found = settle(
        [("still",), ("counter",)],
        written=written,
        followed=lambda keys: {},
        caught_up=lambda: time.sleep(0.2),
        seconds=0.3,
        most=10,
    )
    assert found.differing == {("still",): (HERE, (0, 0))}
    assert found.moving == [("counter",)]
