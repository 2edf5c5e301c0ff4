"""The contract of a router: which side clients reach, and how to hold them for an instant."""

from __future__ import annotations

from enum import StrEnum
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from crossfade.errors import DeadlineExceeded


class Side(StrEnum):
    """One of the two databases of a plan."""

    SOURCE = "source"
    TARGET = "target"


class PauseTimeout(DeadlineExceeded):
    """Clients could not be held in time; traffic flows on as if nothing had been asked."""


class Router(Protocol):
    """Decides which database clients reach."""

    @property
    def label(self) -> str:
        """Kind and name, for messages."""

    def close(self) -> None:
        """Give up what was opened. The router may be used again."""

    def __enter__(self) -> Self:
        """Make ready what a switch needs, so that it need not wait for that; nothing else requires it."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def serving(self) -> Side:
        """The side every instance sends clients to. Raises `FatalError` where instances differ or neither is named."""

    def repoint(self, side: Side) -> None:
        """Send clients to that side from now on; verified on every instance."""

    def resume(self) -> None:
        """Let held clients go on; safe to call where nothing is paused."""


@runtime_checkable
class Pausing(Protocol):
    """A router that can hold clients."""

    def pause(self, deadline: float) -> None:
        """
        Hold clients: transactions under way finish, new ones wait.

        :param deadline: `time.monotonic()` after which it gives up. Raises `PauseTimeout`, with traffic flowing again.
        """


@runtime_checkable
class Foreseeing(Protocol):
    """A router that can tell beforehand what a switch would meet, and what clients would see of it."""

    def obstacles(self) -> list[str]:
        """What a person must put right before a switch, each with what to do; raises what `serving` raises."""

    def effect(self) -> str:
        """What clients see of a switch and for how long: one sentence."""
