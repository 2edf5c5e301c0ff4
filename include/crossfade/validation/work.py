"""What a comparison holds while it goes on: its tables on their way, and the sessions that are free."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Literal

from crossfade.catalog import Table
from crossfade.validation.compare import DEFERRED, Pair, PartResult
from crossfade.validation.digest import Digests
from crossfade.validation.parts import Part
from crossfade.validation.result import in_one_line

Pairs = Callable[[], AbstractContextManager[Pair]]


@dataclass(kw_only=True)
class Work:
    """One table on its way."""

    digests: Digests
    parts: tuple[Part, ...]
    method: Literal["key ranges", "pages"]
    problems: list[str]
    reservations: list[str] = field(default_factory=list)  #: of parts that were compared although it was no good time
    done: dict[int, PartResult] = field(default_factory=dict)
    seconds: float = 0.0  #: of all parts together
    failed: bool = False
    closely: bool = False  #: whether the part before differed: then the next is likely to, too
    ended: int = 0  #: parts that were taken up by this process, and have come to an end
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.pending = tuple(part for part in self.parts if part.number not in self.done)

    @property
    def table(self) -> Table:
        """As the source has it."""
        return self.digests.table

    @property
    def room(self) -> int:
        """How many more rows may be left to be looked at again with others of the table."""
        return max(0, DEFERRED - sum(len(result.suspects) for result in list(self.done.values())))

    def fail(self, error: Exception) -> None:
        """It is not compared to its end."""
        if not self.failed:
            self.problems.append(f"not compared to its end: {in_one_line(error)}")
        self.failed = True

    def end_part(self) -> bool:
        """One part less; whether it was the last one."""
        with self.lock:
            self.ended += 1
            return self.ended == len(self.pending)

    def notes(self) -> tuple[str, ...]:
        """What the report says of how it was compared."""
        if not self.reservations:
            return ()
        return (f"{len(self.reservations)} of {len(self.parts)} parts were compared although {self.reservations[0]}",)


class Sessions:
    """Pairs of sessions, opened when needed and used again; one on which something failed is closed."""

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs
        self._idle: queue.SimpleQueue[tuple[Pair, ExitStack]] = queue.SimpleQueue()

    def __enter__(self) -> Sessions:
        return self

    def __exit__(self, *_: object) -> None:
        while not self._idle.empty():
            self._idle.get()[1].close()

    @contextmanager
    def pair(self) -> Iterator[Pair]:
        """One that nobody else uses. Raises what opening it raises."""
        try:
            pair, stack = self._idle.get_nowait()
        except queue.Empty:
            stack = ExitStack()
            pair = stack.enter_context(self._pairs())
        try:
            yield pair
        except BaseException:
            stack.close()
            raise
        self._idle.put((pair, stack))
