"""The contract of a router: which side clients reach, and how to hold them for an instant."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol, runtime_checkable

from crossfade.errors import DeadlineExceeded


class Side(StrEnum):
    """One of the two databases of a plan."""

    SOURCE = "source"
    TARGET = "target"


class PauseTimeout(DeadlineExceeded):
    """Clients could not be held in time; traffic flows on as if nothing had been asked."""


class Router(Protocol):
    """Decides which database clients reach."""

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
