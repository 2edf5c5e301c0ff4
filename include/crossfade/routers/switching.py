"""What the routers in AWS share: they cannot hold clients, and a switch takes a while until it is seen everywhere."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Self

from crossfade.aws import AwsService
from crossfade.errors import DeadlineExceeded, FatalError
from crossfade.routers.base import Side

POLL = 1.0  #: seconds between two questions to AWS, whose APIs allow a few a second and account


class LeadsElsewhere(FatalError):
    """A router leads to neither side of the plan, or to both."""

    def __init__(self, label: str, *, seen: str, source: str, target: str) -> None:
        self.seen = seen
        super().__init__(
            f"{label} does not lead to one side of the plan: seen {seen}. Known: source is {source}, target is {target}"
        )


class NotPausing(ABC):
    """
    A router without a pause: the cutover relies on the fence, which ends sessions and refuses new ones.

    :param aws: the service that is asked, about the router's own thing
    """

    def __init__(self, aws: AwsService) -> None:
        self.aws = aws

    @property
    @abstractmethod
    def label(self) -> str:
        """Kind and name, for messages."""

    @abstractmethod
    def serving(self) -> Side:
        """The side clients are led to. Raises `LeadsElsewhere`."""

    def close(self) -> None:  # noqa: B027 - a router may be closed; here nothing is held
        """Nothing is held."""

    def __enter__(self) -> Self:
        """Make the client, which takes a while."""
        _ = self.aws.client
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def resume(self) -> None:  # noqa: B027 - part of the contract
        """Nobody is ever held."""


def wait_for(what: str, look: Callable[[], tuple[bool, str]], *, seconds: float) -> None:
    """
    Look until it is so.

    :param look: whether it is, and what was seen, in words
    :param seconds: how long. Raises `DeadlineExceeded`, with what was seen last.
    """
    deadline = time.monotonic() + seconds
    while True:
        done, seen = look()
        if done:
            return
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded(what, seconds=seconds, seen=seen)
        time.sleep(min(POLL, left))
