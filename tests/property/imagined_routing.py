"""Two poolers of the imagination: each holds clients or not, leads to a side, and reads its file when it starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from imagined_actors import Fault, Scheduler

from crossfade.errors import FatalError, TransientError
from crossfade.routers.base import Side


@dataclass
class Pooler:
    """One instance, on a host of its own: where that is down, its file can not be written."""

    leads_to: Side
    file: Side
    paused: bool = False
    up: bool = True

    def start(self) -> None:
        """It holds nobody, and leads where its file says."""
        self.up, self.paused, self.leads_to = True, False, self.file


class InstancesFailed(TransientError):
    """Some poolers could not be told."""


class Fleet:
    """Implements `Router` and `Pausing` over the poolers, as `PgBouncerFleet` promises it."""

    label = "imagined poolers"

    def __init__(self, poolers: list[Pooler], scheduler: Scheduler) -> None:
        self.poolers, self.scheduler = poolers, scheduler

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> Self:
        if not all(pooler.up for pooler in self.poolers):
            raise InstancesFailed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def serving(self) -> Side:
        """Raises `InstancesFailed`, `FatalError`."""
        self.scheduler.require_alive()
        if not all(pooler.up for pooler in self.poolers):
            raise InstancesFailed
        sides = {pooler.leads_to for pooler in self.poolers}
        if len(sides) > 1:
            raise FatalError("they differ")
        return sides.pop()

    def pause(self, deadline: float) -> None:
        """Where one cannot, all are let go."""
        try:
            self._each("pause", lambda pooler: setattr(pooler, "paused", True))
        except InstancesFailed as error:
            try:
                self.resume()
            except InstancesFailed as second:
                raise second from error
            raise

    def repoint(self, side: Side) -> None:
        """Every one is tried."""

        def lead(pooler: Pooler) -> None:
            pooler.file = pooler.leads_to = side

        self._each(f"repoint to the {side}", lead)

    def resume(self) -> None:
        """Every one is tried."""
        self._each("resume", lambda pooler: setattr(pooler, "paused", False))

    def _each(self, what: str, do: Callable[[Pooler], None]) -> None:
        failed = False
        for number, pooler in enumerate(self.poolers, 1):
            fault = self.scheduler.stop(f"pooler {number}: {what}")
            self.scheduler.require_alive()
            if not pooler.up or fault is Fault.LOST_BEFORE:
                failed = True
                continue
            do(pooler)
            failed = failed or fault is Fault.LOST_AFTER
            if fault is Fault.DIES_AFTER:
                assert self.scheduler.running is not None
                self.scheduler.running.die()
        if failed:
            raise InstancesFailed
