"""Bringing traffic to the side that has authority, from any state, by what the databases and the routers show."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import psycopg

from crossfade import control
from crossfade.connect import Connection, end_sessions, scalar
from crossfade.cutover import decision, fence, hooks, readers
from crossfade.cutover.authority import NothingKnown, Sides, find
from crossfade.cutover.decision import Attempt, Decision, Undecided
from crossfade.cutover.opening import open_database, open_router
from crossfade.cutover.section import purpose_of
from crossfade.engines.declared import carrier_after_return, carrier_of, way_back_of
from crossfade.errors import CrossfadeError, TransientError, Unreachable
from crossfade.journal import Journal, State
from crossfade.routers.base import Direction, Router, Side
from crossfade.routers.pgbouncer import QUIET_PATIENCE, PointsElsewhere
from crossfade.schema.not_null import relax

if TYPE_CHECKING:
    from crossfade.migration import Migration

log = logging.getLogger(__name__)

ALIVE = 3.0  #: seconds: a heartbeat that fresh tells that somebody works on the attempt, and may be asked
LOCK_SECONDS = 15.0
READERS_SECONDS = 20.0  #: for which replicas of the side that serves are waited for


class RecoveryIncomplete(TransientError):
    """Traffic flows where it could be brought, but something could not be reached."""

    def __init__(self, *, sentence: str, problems: list[str]) -> None:
        super().__init__(f"{sentence} But not everything could be done, run this again: {'; '.join(problems)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """Where traffic flows now."""

    side: Side
    sentence: str


def settle(m: Migration, *, only: UUID | None = None, patience: float = 2.0) -> Settled:
    """
    End what is under way, and open the side that has authority; where nothing is decided, decide to abort.

    Safe to call at any time and twice. What needs only that side and the routers comes first, and is done even where
    the other side is dead.
    :param only: the attempt to end; nothing is done where a newer one is under way by now
    :param patience: seconds that a cutover which is alive is given to give up by itself
    Raises `Undecided`, `RecoveryIncomplete`.
    """
    try:
        with Sides(m, "abort") as sides:
            side, attempt = _known(m, sides)
            ended = 0
            if not _superseded(attempt, only):
                serving = sides.get(side)
                if attempt is not None and attempt.decision is None:
                    _ask(serving, attempt, patience)
                ended = end_sessions(serving, f"crossfade/{purpose_of(m.plan.name)}")
                side, attempt = _decided(m, sides, only)
            if _superseded(attempt, only):
                return Settled(side=side, sentence=f"A newer try of {m.plan.name} looks after the traffic.")
            settled = _opened(m, sides, side, attempt, thorough=only is not None)
            if ended:
                _once_more(m)
            return settled
    except (Unreachable, psycopg.OperationalError) as error:
        raise Undecided(plan=m.plan.name, reason=str(error)) from error


def _known(m: Migration, sides: Sides) -> tuple[Side, Attempt | None]:
    """Who has authority; where nothing tells, clients that are held are at least let go to where they are led."""
    try:
        return find(m, sides)
    except NothingKnown:
        _each_router(m, lambda router: router.resume(), [])
        raise


def _decided(m: Migration, sides: Sides, only: UUID | None) -> tuple[Side, Attempt | None]:
    """
    Under the lock of the side that has authority, by a decision that is taken now where there is none.

    What was true before the lock was waited for may be so no more.
    """
    while True:
        side, _ = find(m, sides)
        serving = sides.get(side)
        decision.act_alone(serving, m.plan.name, seconds=LOCK_SECONDS)
        now, attempt = find(m, sides)
        if now is not side:
            continue
        if attempt is None or attempt.decision is not None or _superseded(attempt, only):
            return side, attempt
        if decision.decide(serving, attempt.id, Decision.ABORT) is Decision.ABORT:
            return side, attempt


def _superseded(attempt: Attempt | None, only: UUID | None) -> bool:
    """A newer try that has ended looks after nothing any more: what the older one still paused has to be let go."""
    return only is not None and attempt is not None and attempt.id != only and not attempt.finished


def _once_more(m: Migration) -> None:
    """A cutover whose sessions were ended may just have been about to hold clients: it does so half a second later."""
    time.sleep(QUIET_PATIENCE + 0.2)
    _each_router(m, lambda router: router.resume(), [])


def _ask(conn: Connection, attempt: Attempt, patience: float) -> None:
    """Let a cutover that is alive undo itself: it knows best what it has done."""
    if attempt.silent > ALIVE or patience <= 0:
        return
    decision.ask_to_abort(conn, attempt.id)
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        seen = decision.newest(conn, attempt.plan.name)
        if seen is None or seen.id != attempt.id or seen.finished:
            return
        time.sleep(0.05)


def _opened(m: Migration, sides: Sides, side: Side, attempt: Attempt | None, *, thorough: bool) -> Settled:
    """
    Traffic first, on the side that serves; the streams afterwards.

    :param thorough: also where the attempt is said to be finished: the side that was left may be dead, and know better
    """
    problems: list[str] = []
    serving = sides.get(side)
    moved = attempt is not None and attempt.decision is Decision.COMMIT
    _open(m, serving, side, attempt)
    _each_router(m, lambda router: _lead(router, side, moved=moved), problems)
    noun = attempt.direction.noun if attempt else "cutover"
    _readers(m, serving, side, moved=moved, problems=problems)
    sentence = (
        f"The {noun} of {m.plan.name} is final: the {side} serves."
        if moved
        else f"No {noun} of {m.plan.name} is final: the {side} serves."
    )
    try:
        _tidy(m, sides, side, unfinished=attempt is not None and (thorough or not attempt.finished))
        if attempt is not None and not attempt.finished:
            decision.finish(sides.get(attempt.direction.old), attempt.id)
    except (CrossfadeError, psycopg.Error) as error:
        problems.append(str(error))
    if problems:
        raise RecoveryIncomplete(sentence=sentence, problems=problems)
    return Settled(side=side, sentence=sentence)


def _open(m: Migration, conn: Connection, side: Side, attempt: Attempt | None) -> None:
    there = control.version(conn) > 0  # else it went with a cleanup, which has not come to the other side's yet
    if there and attempt is not None and attempt.decision is Decision.COMMIT:
        record = Journal(conn).find(m.plan.name) if side is Side.TARGET else None
        under_way = record is not None and record.state is State.CUTTING_OVER
        open_database(conn, attempt, record.id if record is not None and under_way else None)
    elif there:
        with conn.transaction():
            fence.lift(conn, m.plan.name)
    if not there or not fence.is_fenced(conn):
        fence.reopen(conn, m.plan.cutover.application_roles)


def _lead(router: Router, side: Side, *, moved: bool) -> None:
    """Nobody is let go to a side that does not serve: an instance may have come back as it once was."""
    led: Side | None = None
    if not moved:
        try:
            led = router.serving()
        except PointsElsewhere as error:
            log.warning("%s", error)
        except CrossfadeError:
            router.resume()  # of those instances that can be told
            raise
    if led is side:
        router.resume()
    else:
        open_router(router, side)


def _readers(m: Migration, serving: Connection, side: Side, *, moved: bool, problems: list[str]) -> None:
    """Read traffic: let go on; and led to the side that serves, where it has changed."""
    found = m.readers()
    try:
        problems += readers.release(found)
        if moved and found:
            lsn = str(scalar(serving, "SELECT pg_current_wal_flush_lsn()"))
            readers.switch(m, side, lsn, time.monotonic() + READERS_SECONDS, found)
    except CrossfadeError as error:
        problems.append(str(error))
    finally:
        for router in found:
            router.close()


def _each_router(m: Migration, act: Callable[[Router], None], problems: list[str]) -> None:
    for router in m.routers():
        try:  # not opened as a whole: one dead instance must not keep the others from being told
            act(router)
        except CrossfadeError as error:
            problems.append(str(error))
        finally:
            router.close()


def _tidy(m: Migration, sides: Sides, side: Side, *, unfinished: bool) -> None:
    """The streams and the journal, as the side that serves wants them. Needs both sides, where anything is left."""
    target = sides.get(Side.TARGET)
    journal = Journal(target)
    record = journal.find(m.plan.name)
    if record is None or (record.state in (State.ACTIVE, State.CUT_OVER) and not unfinished):
        return
    source = sides.get(Side.SOURCE)
    for conn in (source, target):
        end_sessions(conn, f"crossfade/{purpose_of(m.plan.name)}")
    direction = Direction.BACK if record.state is State.ROLLING_BACK else Direction.FORWARD
    carrier = carrier_of(m, direction, source=source, target=target, record=record)
    if record.state in (State.CUTTING_OVER, State.ROLLING_BACK) and side is direction.old:
        if direction is Direction.FORWARD:
            relax(target, record.id)
        elif m.plan.rollback.way_back == "dms":
            relax(source, record.id)
        if way_back := way_back_of(m, direction, source=source, target=target, record=record):
            way_back.disarm()
        carrier.resume()
        journal.set_state(record.id, State.ACTIVE if direction is Direction.FORWARD else State.CUT_OVER)
        hooks.run_hooks(m, "undone", direction=direction)
    elif record.state is State.ACTIVE:
        if way_back := way_back_of(m, direction, source=source, target=target, record=record):
            way_back.disarm()  # of a rehearsal that was killed
    else:
        carrier.retire()
        if record.cut_over_at is None or direction is Direction.BACK:
            enter_opened(journal, record.id, m, direction, record.writes_at_opening)


def enter_opened(journal: Journal, migration: UUID, m: Migration, direction: Direction, writes: int | None) -> None:
    """Enter in the journal which side was opened. :param writes: row changes that it had counted before, if known"""
    if direction is Direction.FORWARD:
        journal.enter_opening(migration, writes=writes)
    else:
        journal.enter_return(migration, carrier=carrier_after_return(m))
