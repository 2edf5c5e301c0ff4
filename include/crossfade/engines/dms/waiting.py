"""Waiting for AWS by asking again, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from crossfade.errors import DeadlineExceeded

T = TypeVar("T")

POLL_SECONDS = 2.0  #: between two questions: AWS throttles an account, not a task


def until(
    ask: Callable[[], T],
    done: Callable[[T], bool],
    *,
    what: str,
    seen: Callable[[T], str],
    deadline: float,
    poll: float | None = None,
) -> T:
    """
    Ask until the answer is the one that is waited for, and return it.

    :param deadline: `time.monotonic()`
    :param poll: seconds between questions; `POLL_SECONDS` by default
    Raises `DeadlineExceeded` with what was seen last, and whatever `ask` or `done` raise.
    """
    start = time.monotonic()
    pause = POLL_SECONDS if poll is None else poll
    while not done(answer := ask()):
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded(what, seconds=max(deadline - start, 0.0), seen=seen(answer))
        time.sleep(min(pause, left))
    return answer
