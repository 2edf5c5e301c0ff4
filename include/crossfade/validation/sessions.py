"""Sessions and carriers for the validation of a migration: in the direction in which rows are carried now."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from crossfade.engines.base import Carrier
from crossfade.engines.declared import carrier_of
from crossfade.errors import CrossfadeError, TransientError
from crossfade.journal import MigrationRecord, State
from crossfade.routers.base import Direction, Side
from crossfade.validation.between import limit_statements
from crossfade.validation.compare import Pair
from crossfade.validation.gently import Gently

if TYPE_CHECKING:
    from crossfade.migration import Migration


class BetweenSides(TransientError):
    """A cutover or rollback is under way: which side serves is not settled. Validate again when it is over."""


def require_settled(record: MigrationRecord) -> None:
    """Raises `BetweenSides`."""
    if record.state not in (State.ACTIVE, State.CUT_OVER):
        raise BetweenSides


def direction_of(record: MigrationRecord) -> Direction:
    """In which rows are carried now."""
    return Direction.BACK if record.state is State.CUT_OVER else Direction.FORWARD


def carries(record: MigrationRecord) -> bool:
    """Whether anything does: not after a cutover without a way back."""
    return record.state is not State.CUT_OVER or record.plan.rollback.way_back != "none"


@contextmanager
def pair(m: Migration, record: MigrationRecord) -> Iterator[Pair]:
    """Two sessions that compare, and a wait for what carries rows between them."""
    settings = m.plan.validation
    with (
        m.session(Side.SOURCE, "validate") as source,
        m.session(Side.TARGET, "validate") as target,
        carrier(m, record) as carried,
    ):
        for conn in (source, target):
            limit_statements(conn, settings)
        yield Pair(
            source=source,
            target=target,
            caught_up=lambda: carried.wait_caught_up(time.monotonic() + settings.settle.total_seconds()),
            direction=direction_of(record),
            still=lambda: _require_same(m, record),
        )


def _require_same(m: Migration, record: MigrationRecord) -> None:
    """Raise `BetweenSides` where rows are carried another way than they were."""
    with m.journal() as journal:
        if journal.get(m.plan.name).state is not record.state:
            raise BetweenSides


@contextmanager
def carrier(m: Migration, record: MigrationRecord) -> Iterator[Carrier]:
    """What carries rows now, with sessions of its own."""
    with m.session(Side.SOURCE, "validate") as source, m.session(Side.TARGET, "validate") as target:
        yield carrier_of(m, direction_of(record), source=source, target=target, record=record)


@contextmanager
def gently(m: Migration, record: MigrationRecord) -> Iterator[Gently]:
    """What waits while the side that serves is busy, or the other far behind."""
    with m.session(direction_of(record).old, "validate") as serving, carrier(m, record) as carried:

        def lag() -> int:
            try:
                return carried.lag().bytes
            except CrossfadeError:
                return 0  # what is wrong with it is said where rows are waited for

        yield Gently(m.plan.validation.back_off, serving, lag)
