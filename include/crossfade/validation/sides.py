"""What a check of a validation is given, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass
from functools import cached_property

from crossfade.connect import Connection
from crossfade.engines.base import Carrier
from crossfade.errors import TransientError
from crossfade.plan import Tables
from crossfade.routers.base import Side
from crossfade.schema.compare import Comparison, comparison
from crossfade.validation.result import Mode, Verdict


class SideLost(TransientError):
    """A session was lost, and there is nobody to open another."""

    def __init__(self, *, side: Side) -> None:
        super().__init__(f"the connection to the {side} was lost: this was not looked at. Validate again")


@dataclass(kw_only=True)
class BothSides:
    """
    Two databases, and what is known of the migration between them.

    :param source: an autocommit session; the carrier's own may be others
    :param target: the same
    :param tables: what the plan selects
    :param authority: whose rows count: the source before the cutover, the target after it
    :param carrier: what carries rows right now; None where nothing does, as between any two databases
    :param nullable: as `schema.compare.compare` takes it
    :param nullable_on_source: the same
    :param carriers: roles that carry rows: they may be missing, and what they are granted may differ
    :param application_roles: roles that must be on the target, whether or not they are granted anything
    :param reopen: opens a session again that was lost. Whoever gives it closes what it has opened
    """

    source: Connection
    target: Connection
    tables: Tables
    authority: Side = Side.SOURCE
    carrier: Carrier | None = None
    nullable: Collection[tuple[str, str, str]] = ()
    nullable_on_source: Collection[tuple[str, str, str]] = ()
    carriers: Collection[str] = ()
    application_roles: Collection[str] = ()
    reopen: Callable[[Side], Connection] | None = None

    @property
    def cutover_to_come(self) -> bool:
        """Whether a migration is under way, and the source serves."""
        return self.carrier is not None and self.authority is Side.SOURCE

    @cached_property
    def definitions(self) -> Comparison:
        """Every object of both, compared once for all checks that tell of a part of it."""
        return comparison(
            self.source,
            self.target,
            self.tables,
            nullable=self.nullable,
            nullable_on_source=self.nullable_on_source,
            carriers=self.carriers,
        )

    def require_sessions(self) -> None:
        """Open again what was lost. Raises `SideLost`, `Unreachable`."""
        for side in Side:
            conn: Connection = getattr(self, side.value)
            if conn.closed:
                if self.reopen is None:
                    raise SideLost(side=side)
                setattr(self, side.value, self.reopen(side))


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that a check found."""

    verdict: Verdict
    text: str


def wrong(text: str) -> Line:
    """Both sides were looked at, and are not as they must be."""
    return Line(Verdict.MISMATCH, text)


def unseen(text: str) -> Line:
    """Something could not be looked at: nothing is known of it."""
    return Line(Verdict.INCOMPLETE, text)


#: Yields what it finds as it goes, so that an error does not take that away; returns what it has looked at, in words.
CheckFunction = Callable[[BothSides, Mode], Generator[Line, None, str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One question beside the rows."""

    name: str
    title: str  #: what it looks at, in words
    function: CheckFunction


def counted(number: int, one: str, many: str | None = None) -> str:
    """``1 table``, ``2 tables``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def listed(names: Collection[str], most: int = 10) -> str:
    """The first names; how many more there are."""
    shown = ", ".join(sorted(names)[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
