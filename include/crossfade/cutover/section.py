"""What the steps of one cutover or rollback share: every connection open before anybody is held."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import psycopg

from crossfade import catalog, sequences
from crossfade.connect import OF_TRAFFIC, Connection
from crossfade.cutover import decision, fence
from crossfade.cutover.decision import Attempt
from crossfade.cutover.watchdog import Watchdog
from crossfade.engines.base import Carrier, WayBack
from crossfade.engines.declared import carrier_of, way_back_of
from crossfade.errors import DeadlineExceeded, TransientError
from crossfade.journal import Journal, MigrationRecord
from crossfade.routers.base import Direction, Router, Side
from crossfade.routers.pgbouncer import PgBouncerFleet

if TYPE_CHECKING:
    from crossfade.migration import Migration


class AbortAsked(TransientError):
    """Somebody asked this cutover to give up."""


class WatchdogGone(TransientError):
    """The watchdog died: were this task to die now, too, clients would wait for the guard."""


@dataclass(kw_only=True)
class Section:
    """What the steps share: every connection open, every statement's input at hand, before clients are held."""

    m: Migration
    direction: Direction
    carrier: Carrier  #: of rows, from the old side to the new one
    way_back: WayBack | None  #: from the new side to the old one; None where the plan wants none
    routers: Sequence[Router]
    readers: Sequence[Router]  #: of read traffic, which follows once what it is led to is ready
    old: Connection  #: the side that serves now
    new: Connection  #: the side that serves afterwards
    journal: Journal  #: on a session of its own
    record: MigrationRecord  #: as it was when the section was opened
    attempt: Attempt
    stamp: str  #: of the old side's definitions, as they must still be after the fence
    exempt: Sequence[str]  #: roles on the old side that the fence leaves alone
    purpose: str  #: of our sessions
    watchdog: Watchdog | None = None
    deadline: float = 0.0  #: of time.monotonic(): the end of the budget
    preset: dict[catalog.Sequence, sequences.SequenceState] = field(default_factory=dict)  #: new side's sequences
    decided: bool = False  #: to commit: there is no way but forward
    writes_at_opening: int = 0  #: row changes that the new side has counted before it is opened

    @property
    def migration(self) -> UUID:
        """The journal's id."""
        return self.record.id

    def left(self, what: str) -> float:
        """
        Seconds of the budget that are left.

        Raises `DeadlineExceeded` where there are none.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            budget = self.m.plan.cutover.max_pause.total_seconds()
            raise DeadlineExceeded("the pause", seconds=budget, seen=f"the budget was spent before: {what}")
        return left

    def reconnect(self) -> None:
        """Open again what was lost of the new side and the journal. Raises `Unreachable`."""
        if not alive(self.new):
            endpoint = self.m.endpoint(self.direction.new).impatient()
            self.new = endpoint.connect(self.purpose, settings=OF_TRAFFIC)
        if not alive(self.journal.conn):
            self.journal = Journal(self.m.target.impatient().connect(self.purpose, settings=OF_TRAFFIC))

    def go_on(self, what: str) -> None:
        """Between two steps: raises `DeadlineExceeded`, `AbortAsked`, `WatchdogGone` where the section must give up."""
        self.left(what)
        if self.watchdog is not None and not self.watchdog.alive:
            raise WatchdogGone
        if decision.asked_to_abort(self.old, self.attempt.id):
            raise AbortAsked


def alive(conn: Connection) -> bool:
    """Whether the session still answers."""
    try:
        conn.execute("SELECT 1")
    except psycopg.Error:
        return False
    return True


@contextmanager
def opened(m: Migration, record: MigrationRecord, direction: Direction = Direction.FORWARD) -> Iterator[Section]:
    """Open every connection that the section needs, before anybody is held. No attempt is entered yet."""
    purpose = purpose_of(m.plan.name)
    with ExitStack() as stack:
        sides = {
            direction.old: stack.enter_context(
                m.endpoint(direction.old).impatient().session(purpose, settings=OF_TRAFFIC)
            ),
            direction.new: stack.enter_context(
                m.endpoint(direction.new).impatient().session(purpose, settings=OF_TRAFFIC)
            ),
        }
        quick = {**OF_TRAFFIC, "synchronous_commit": "off"}
        journal = Journal(stack.enter_context(m.target.impatient().session(purpose, settings=quick)))
        routers = [stack.enter_context(router) for router in m.routers()]
        source, target = sides[Side.SOURCE], sides[Side.TARGET]
        readers = m.readers()
        for reader in readers:
            stack.callback(reader.close)
        carrier = carrier_of(m, direction, source=source, target=target, record=record)
        way_back = way_back_of(m, direction, source=source, target=target, record=record)
        poolers = {role for router in routers for role in auth_users(router)}
        carrying = carrier.exempt(direction.old) | (way_back.exempt(direction.old) if way_back else set())
        also = {m.endpoint(direction.old).user, *carrying, *poolers}
        forward = direction is Direction.FORWARD
        yield Section(
            m=m,
            direction=direction,
            carrier=carrier,
            way_back=way_back,
            routers=routers,
            readers=readers,
            old=sides[direction.old],
            new=sides[direction.new],
            journal=journal,
            record=record,
            attempt=Attempt(id=uuid4(), plan=m.plan, direction=direction, generation=0, decision=None, finished=False),
            stamp=(record.stamp or "") if forward else catalog.definition_stamp(sides[direction.old]),
            exempt=fence.exempt_roles(sides[direction.old], also),
            purpose=purpose,
        )


def purpose_of(plan: str) -> str:
    """What our sessions of a cutover are called; whoever takes over ends them by this name."""
    return f"{plan}/cutover"


def auth_users(router: Router) -> set[str]:
    """Roles with which the pooler looks up passwords: fenced off, nobody could log in through it."""
    if not isinstance(router, PgBouncerFleet):
        return set()
    observed, _ = router.observe()
    return {user for instance in observed.values() if (user := instance.settings.get("auth_user"))}
