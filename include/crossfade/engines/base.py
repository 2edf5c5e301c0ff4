"""The contract of an engine, and what it reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from crossfade.routers.base import Side


@dataclass(frozen=True, kw_only=True, slots=True)
class TableProgress:
    """How far one table is."""

    table: str
    wave: int
    state: Literal["waiting", "copying", "indexing", "streaming"]
    rows: int
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far the initial copy is."""

    tables: tuple[TableProgress, ...]
    part: float  #: 0 … 1 of the bytes


def progress_of(parts: Sequence[Mapping[str, Any]]) -> Progress:
    """What the journal has entered of every table, as `Journal.parts` tells it."""
    total = sum(part["bytes"] for part in parts) or 1
    done = sum(part["bytes"] for part in parts if part["state"] == "streaming")
    return Progress(
        tables=tuple(
            TableProgress(
                table=part["table_name"],
                wave=part["wave"],
                state=part["state"],
                rows=part["rows"],
                bytes=part["bytes"],
            )
            for part in parts
        ),
        part=done / total,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Lag:
    """How far the target is behind the source, and how that was found out."""

    bytes: int  #: WAL between the source's insert position and the last confirmed flush, of the slowest stream
    seconds: float | None  #: age of the last watermark seen on the target; None before the first
    method: Literal["slot", "watermark", "cloudwatch"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Drained:
    """The proof that nothing committed on the source before is missing on the target."""

    lsn: str  #: the source's insert position after the last possible write
    seconds: float


class Carrier(Protocol):
    """Carries a plan's rows from one side to the other: what a cutover, in either direction, asks of it."""

    def exempt(self, side: Side) -> set[str]:
        """Roles that carry the rows, which the fence of that side leaves alone."""

    def lag(self) -> Lag:
        """Bytes and seconds behind, and how it was measured."""

    def check(self) -> None:
        """Raise a `CrossfadeError` unless all tables are carried, whole."""

    def round_trip(self, deadline: float) -> float:
        """Seconds that a token takes from one side to the other, by a `time.monotonic()` deadline."""

    def wait_caught_up(self, deadline: float) -> None:
        """Return when all that was committed on the one side when this was called is on the other. Several may wait."""

    def drain(self, deadline: float) -> Drained:
        """The carrier's own proof that nothing is under way, by a `time.monotonic()` deadline."""

    def stop(self, deadline: float) -> None:
        """Returns when nothing can be applied any more, by a `time.monotonic()` deadline."""

    def resume(self) -> None:
        """Undo of stop, before any traffic the other way."""

    def retire(self) -> None:
        """After the decision, with traffic on the other side: carry nothing more. Does not wait for long."""

    def finish(self) -> None:
        """After the cutover: whatever ends by itself has ended, and the target's definitions are whole again."""

    def drop(self) -> None:
        """Leave nothing behind on either side; what the rows run on stays."""


class WayBack(Carrier, Protocol):
    """Carries rows from the new side of a cutover to the old one: a carrier that can be armed in the pause."""

    @property
    def proved_in_pause(self) -> bool:
        """Whether `prove` proves all: else it has to be started, and is proved, after clients have gone on."""

    def arm_ahead(self, *, live: bool) -> None:
        """Make ready, before clients are held, what takes its time. :param live: start it, too, and prove it."""

    def arm(self, seconds: float) -> None:
        """In the pause: from now on no write on the new side is missed."""

    def prove(self, deadline: float) -> str:
        """Prove what can be in the pause; in words. :param deadline: of `time.monotonic()`"""

    def disarm(self) -> None:
        """Undo of arming, at any point of it: nothing keeps WAL any more."""


class Engine(Carrier, Protocol):
    """Loads a plan's target, and keeps it current."""

    def carriers(self) -> set[str]:
        """Roles of the target that are there to carry rows: what they are granted is no part of the application's."""

    def progress(self) -> Progress:
        """Per table: state, rows, bytes; and the part of the whole."""

    def release(self) -> None:
        """Give back what was made elsewhere for the rows to run on. After `drop`."""
