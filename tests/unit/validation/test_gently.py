"""Waiting while who serves is busy, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from crossfade.plan_validate import BackOff
from crossfade.validation import gently
from crossfade.validation.gently import Gently


class Clock:
    """A time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """The clock of the module."""
    ticking = Clock()
    monkeypatch.setattr(gently, "time", ticking)
    return ticking


class Lost:
    """A session that is gone."""

    def execute(self, *_: Any) -> Any:
        raise psycopg.OperationalError("the connection is closed\nfor good")


def test_it_waits_while_replication_is_too_far_behind_and_has_nothing_to_say_then(clock: Clock) -> None:
    behind = iter([3000, 2000, 1000])
    wait = Gently(BackOff(lag=1500, patience="10s"), serving=Lost(), lag=lambda: next(behind))
    assert wait() == ""
    assert clock.now == 1002


def test_it_goes_on_when_patience_is_over_and_says_so_until_it_looks_again(clock: Clock) -> None:
    behind = [3_000_000]
    wait = Gently(BackOff(lag="1MB", patience="10s"), serving=Lost(), lag=lambda: behind[0])
    said = wait()
    assert "behind, the plan allows" in said and said.endswith(", also after 10 s")
    assert 1010 <= clock.now <= 1012
    behind[0], waited = 0, clock.now
    assert wait() == said
    assert clock.now == waited
    clock.sleep(6)
    assert wait() == ""


def test_a_session_that_is_lost_ends_no_comparison_and_is_told_in_one_line(clock: Clock) -> None:
    wait = Gently(BackOff(active_sessions=3, lag=None), serving=Lost(), lag=lambda: 0)
    assert wait() == "it could not be seen how busy who serves is: the connection is closed for good"
    assert clock.now == 1000
