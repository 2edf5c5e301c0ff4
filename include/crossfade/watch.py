"""Watching a migration that is under way: its streams, the WAL that is kept for them, and the fence."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psycopg

from crossfade import cleanup, remains, watch_dms, watch_streams
from crossfade.connect import Connection
from crossfade.cutover import decision
from crossfade.cutover.abandon import abandon
from crossfade.cutover.guard import Guard
from crossfade.engines.base import Carrier, Engine, Lag, WayBack
from crossfade.engines.declared import engine_of, way_back_of
from crossfade.engines.dms.engine import DmsEngine
from crossfade.engines.dms.stream import DmsStream
from crossfade.engines.logical.engine import LogicalEngine
from crossfade.engines.logical.replication import Replication
from crossfade.engines.logical.waves import object_name
from crossfade.engines.slots import drop_slot
from crossfade.errors import CrossfadeError, PreconditionError, Unreachable
from crossfade.journal import Journal, MigrationRecord, State
from crossfade.phases import PRE_DATA
from crossfade.quantities import format_duration
from crossfade.routers.base import Direction, Side
from crossfade.watch_streams import Kept

if TYPE_CHECKING:
    from crossfade.migration import Migration

log = logging.getLogger(__name__)

PATIENCE = 10.0  #: seconds for which a watermark is awaited


class InDanger(PreconditionError):
    """Something about a migration that is under way needs a person."""

    def __init__(self, *, plan: str, findings: Sequence[str]) -> None:
        self.findings = list(findings)
        super().__init__(f"{plan} needs attention: {' · '.join(findings)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """What was seen of a migration that is under way."""

    state: State | None  #: None where the target could not be asked
    lag: Lag | None = None  #: of what carries rows now; None where nothing does, or it is not to be told
    findings: tuple[str, ...] = ()  #: a sentence each, with what to do; empty where all is well

    def with_findings(self, more: Sequence[str]) -> Watched:
        """The same, and more."""
        return replace(self, findings=(*self.findings, *more))


def watch(m: Migration) -> Watched | None:
    """
    Look at everything once; None where no migration of the plan is under way.

    An attempt whose host is lost is settled. Where a slot keeps more WAL of the source than the plan allows, and the
    plan says so, the migration is given up. A measured lag is entered in the journal.
    Raises `Unreachable` where neither side can be asked.
    """
    settled = list(_settled(m))
    try:
        with m.session(Side.TARGET, "watch") as target:
            watched = _with_target(m, target)
    except Unreachable as error:
        watched = _of_source_alone(m, error)
    if watched is None:
        return Watched(state=None, findings=tuple(settled)) if settled else None
    return watched.with_findings(settled)


def _settled(m: Migration) -> Iterator[str]:
    """The last safety net: what a watchdog and the guard beside the cutover have not settled."""
    guard = Guard(m)
    try:
        if settled := guard.act():
            yield f"a cutover or rollback whose host was lost has been settled: {settled.sentence}"
    except (CrossfadeError, psycopg.Error) as error:
        yield f"a cutover or rollback was left unfinished and could not be settled: {error}"
    finally:
        guard.close()


def _with_target(m: Migration, target: Connection) -> Watched | None:
    record = Journal(target).find(m.plan.name)
    if record is None:
        return None
    if record.state in (State.CUTTING_OVER, State.ROLLING_BACK):
        return Watched(state=record.state)  # its watchdog looks after it, and the guard beside it
    try:
        with m.session(Side.SOURCE, "watch") as source:
            if record.state is State.CUT_OVER:
                return _after_cutover(m, record, source, target)
            return _before_cutover(m, record, source, target)
    except Unreachable as error:
        return Watched(state=record.state, findings=(str(error),))


def _before_cutover(m: Migration, record: MigrationRecord, source: Connection, target: Connection) -> Watched:
    journal, engine = Journal(target), engine_of(m, source=source, target=target, record=record)
    limit = record.plan.source_protection.max_retained_wal
    slots = watch_streams.kept(source, _slots_of(engine))
    if exceeding := [slot for slot in slots if slot.retained > limit]:
        if record.plan.source_protection.on_exceed == "drop_slot":
            return Watched(state=State.ABANDONED, findings=(_give_up(m, source, exceeding, limit),))
    findings = list(watch_streams.of_slots(slots, limit, Direction.FORWARD))
    if journal.marked(record.id, PRE_DATA):
        findings += _let_in(target, record, Side.TARGET)
    lag, more = _look(engine, journal, record)
    return _judged(journal, record, lag, [*findings, *more])


def _after_cutover(m: Migration, record: MigrationRecord, source: Connection, target: Connection) -> Watched:
    journal = Journal(target)
    findings = list(_let_in(source, record, Side.SOURCE))
    if journal.marked(record.id, cleanup.BEGUN):
        findings.append(f"a cleanup has begun and was not completed: trigger {m.plan.name}.cleanup, or clear its task")
        return Watched(state=record.state, findings=tuple(findings))
    way_back = way_back_of(m, Direction.FORWARD, source=source, target=target, record=record)
    if way_back is None:
        return Watched(state=record.state, findings=tuple(findings))
    names = _slots_of(way_back)
    limit = record.plan.source_protection.max_retained_wal
    findings += watch_streams.of_slots(watch_streams.kept(target, names), limit, Direction.BACK)
    lag, more = _look_back(way_back, names)
    return _judged(journal, record, lag, [*findings, *more])


def _slots_of(carrier: Carrier) -> list[str]:
    if isinstance(carrier, DmsEngine):
        return watch_dms.slots(carrier)
    if isinstance(carrier, DmsStream):
        return [carrier.slot.name]
    return [stream.name for stream in carrier.streams] if isinstance(carrier, Replication) else []


def _look_back(way_back: WayBack, names: Sequence[str]) -> tuple[Lag | None, list[str]]:
    if isinstance(way_back, DmsStream):
        return watch_dms.look_at_stream(way_back, PATIENCE)
    assert isinstance(way_back, Replication)
    return watch_streams.look(way_back, names, PATIENCE)


def _look(engine: Engine, journal: Journal, record: MigrationRecord) -> tuple[Lag | None, list[str]]:
    if isinstance(engine, DmsEngine):
        return watch_dms.look(engine, PATIENCE)
    if isinstance(engine, DmsStream):
        return watch_dms.look_at_stream(engine, PATIENCE)
    assert isinstance(engine, LogicalEngine)
    waiting = {part["wave"] for part in journal.parts(record.id) if part["state"] != "streaming"}
    ready = [object_name(record.plan.name, wave) for wave in engine.waves if wave not in waiting]
    if record.carrier == "native":  # armed by a rollback, for all that moves
        ready = [stream.name for stream in engine.streams]
    return watch_streams.look(engine, ready, PATIENCE) if ready else (None, [])


def _let_in(conn: Connection, record: MigrationRecord, side: Side) -> Iterator[str]:
    """Applications that may connect to the side that does not serve: what they write there would be lost."""
    if roles := watch_streams.let_in(conn, record.plan.cutover.application_roles):
        yield (
            f"{', '.join(roles)} may connect to the {side}, which does not serve: what is written there is lost. "
            f"Somebody granted it; on the {side}: REVOKE CONNECT ON DATABASE from whoever was granted it"
        )


def _judged(journal: Journal, record: MigrationRecord, lag: Lag | None, findings: list[str]) -> Watched:
    """Enter the lag, and tell where it is too long."""
    if lag is not None:
        journal.sample(record.id, lag)
        late = lag.seconds if lag.seconds is not None else journal.unseen_for(record.id)
        limit = record.plan.guard.max_lag
        if late > limit.total_seconds():
            findings.append(
                f"no watermark has arrived for {late:.0f} s, longer than guard.max_lag ({format_duration(limit)}): see "
                "the servers' logs for what keeps the stream from applying"
            )
    return Watched(state=record.state, lag=lag, findings=tuple(findings))


# --- protecting the source -------------------------------------------------------------------------------------------


def _give_up(m: Migration, source: Connection, exceeding: Sequence[Kept], limit: int) -> str:
    """Drop our slots at once, whatever else can be reached; then settle and abandon. Returns what was done."""
    why = "; ".join(slot.too_much(limit, Side.SOURCE) for slot in exceeding)
    log.warning("%s: the migration is given up", why)
    done = ""
    try:
        if ours := [slot.name for slot in exceeding if re.match(remains.names_of(m.plan.name), slot.name)]:
            for name in ours:  # the one that AWS DMS named itself goes with its task
                drop_slot(source, name)
            done = f"{', '.join(ours)} dropped, as source_protection.on_exceed wants; "
        return f"{why}: {done}the migration was given up, as source_protection.on_exceed wants. {abandon(m)}"
    except CrossfadeError as error:
        return (
            f"{why}: {done}the migration is to be given up, but not all could be done: {error}. Run the DAG abort with "
            "action abandon"
        )


def _of_source_alone(m: Migration, why: Unreachable) -> Watched | None:
    """The target can not be asked: its slots, by their names, go on keeping the source's WAL."""
    with m.session(Side.SOURCE, "watch") as source:
        objects = remains.objects_of(source, m.plan.name)
        names = [name for kind, name in objects if kind == "slot" and not name.endswith("_back")]
        slots = watch_streams.kept(source, names)
        newest = decision.newest(source, m.plan.name)
        served = newest is not None and newest.authority is Side.TARGET
        if not slots and not served:
            log.info("nothing is under way on the source, and the target can not be asked: %s", why)
            return None
        protection = m.plan.source_protection
        exceeding = [slot for slot in slots if slot.retained > protection.max_retained_wal]
        if exceeding and protection.on_exceed == "drop_slot":
            done = _give_up(m, source, exceeding, protection.max_retained_wal)
            return Watched(state=None, findings=(str(why), done))
        found = watch_streams.of_slots(slots, protection.max_retained_wal, Direction.FORWARD)
        return Watched(state=None, findings=(str(why), *found))
