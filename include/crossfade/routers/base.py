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

    @property
    def other(self) -> Side:
        """The one across."""
        return Side.TARGET if self is Side.SOURCE else Side.SOURCE


class Direction(StrEnum):
    """Of one cutover: to the target, or back to the source."""

    FORWARD = "forward"
    BACK = "back"

    @property
    def old(self) -> Side:
        """The side that serves before it."""
        return Side.SOURCE if self is Direction.FORWARD else Side.TARGET

    @property
    def new(self) -> Side:
        """The side that serves after it."""
        return self.old.other

    @property
    def other(self) -> Direction:
        """The way back from here."""
        return Direction.BACK if self is Direction.FORWARD else Direction.FORWARD

    @property
    def noun(self) -> str:
        """What people call it."""
        return "cutover" if self is Direction.FORWARD else "rollback"


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
class Forewarning(Protocol):
    """A router that can tell beforehand what a switch would meet."""

    def obstacles(self) -> list[str]:
        """What a person must put right before a switch, each with what to do; raises what `serving` raises."""


@runtime_checkable
class Foreseeing(Forewarning, Protocol):
    """A router that can also tell what clients would see of a switch."""

    def effect(self) -> str:
        """What clients see of a switch and for how long: one sentence."""


@runtime_checkable
class Restartable(Protocol):
    """A router whose instances read when they start where to lead: that may be elsewhere than where they lead now."""

    def after_restart(self, side: Side) -> list[str]:
        """
        Why an instance that is started again would not, or might not, lead to that side; each with what to do.

        Raises where an instance, or the host of its file, cannot be asked.
        """
