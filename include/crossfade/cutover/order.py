"""Running the critical section: the steps in order, within the budget; undo before the decision, never after it."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg

from crossfade import catalog, sequences
from crossfade.connect import Connection, end_sessions
from crossfade.cutover import blockers, decision, fence, recovery
from crossfade.cutover.decision import Decision
from crossfade.cutover.steps import AFTER_DECISION, BEFORE_DECISION, Section, Step
from crossfade.engines.declared import engine_of
from crossfade.errors import CrossfadeError, FatalError, PreconditionError, TransientError
from crossfade.journal import Journal, MigrationRecord, State
from crossfade.routers.base import Router, Side
from crossfade.routers.pgbouncer import PgBouncerFleet

if TYPE_CHECKING:
    from crossfade.migration import Migration

log = logging.getLogger(__name__)


class Refused(PreconditionError):
    """The cutover was not begun."""

    def __init__(self, reasons: list[str]) -> None:
        self.reasons = reasons
        super().__init__(
            "the cutover was refused, clients were not held and nothing was changed: " + "; ".join(reasons)
        )


class CutoverUndone(TransientError):
    """The cutover failed before its decision and was undone: the old side serves."""

    def __init__(self, *, step: str, reason: BaseException, paused_ms: float) -> None:
        super().__init__(
            f"the cutover was undone at the step {step}: {reason}. The source serves again, nothing is lost; clients "
            f"were held for {paused_ms:.0f} ms. Put the cause right and clear this task"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTiming:
    """One step as it went."""

    name: str
    ms: float
    outcome: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CutoverSummary:
    """A finished cutover."""

    steps: tuple[StepTiming, ...]
    paused_ms: float  #: from the first instant clients were held to the last they were let go

    def table(self) -> str:
        """The steps, aligned, for a log."""
        return "\n".join(f"{step.name:<10} {step.ms:9.1f} ms  {step.outcome}" for step in self.steps)


@contextmanager
def opened(m: Migration, record: MigrationRecord) -> Iterator[Section]:
    """Open every connection that the section needs, before anybody is held. No attempt is entered yet."""
    purpose = f"{m.plan.name}/cutover"
    with ExitStack() as stack:
        old = stack.enter_context(m.source.session(purpose, settings={"default_transaction_read_only": "off"}))
        new = stack.enter_context(m.target.session(purpose))
        journal = Journal(stack.enter_context(m.target.session(purpose, settings={"synchronous_commit": "off"})))
        routers = [stack.enter_context(router) for router in m.routers()]
        engine = engine_of(m, source=old, target=new, record=record)
        poolers = {role for router in routers for role in _auth_users(router)}
        also = {m.source.user, *engine.exempt(Side.SOURCE), *poolers}
        yield Section(
            m=m,
            engine=engine,
            routers=routers,
            old=old,
            new=new,
            journal=journal,
            migration=record.id,
            attempt=UUID(int=0),
            stamp=record.stamp or "",
            exempt=fence.exempt_roles(old, also),
            purpose=purpose,
        )


def _auth_users(router: Router) -> set[str]:
    """Roles with which the pooler looks up passwords: fenced off, nobody could log in through it."""
    if not isinstance(router, PgBouncerFleet):
        return set()
    observed, _ = router.observe()
    return {user for instance in observed.values() if (user := instance.settings.get("auth_user"))}


def preset_sequences(section: Section) -> None:
    """Set the new side's sequences a margin ahead, so that in the pause only those that moved further are set."""
    names = catalog.sequences(section.old)
    old, new = sequences.read(section.old, names), sequences.read(section.new, names)
    ahead = sequences.set_ahead(old, new, section.m.plan.cutover.sequence_margin)
    sequences.write(section.new, ahead)
    section.preset = {**new, **ahead}


def run(m: Migration, *, run_id: str) -> CutoverSummary:
    """
    Cut over, or refuse, or undo. Safe to call again whatever became of an earlier try.

    Raises `Refused` (clients were not held), `CutoverUndone` (the old side serves), `FatalError` (decided, but not
    all could be opened: call again), `Undecided` (the old side cannot be read).
    """
    with m.journal() as journal:
        _end_earlier(m, journal)
        record = journal.get(m.plan.name)
        if record.state is State.CUT_OVER:
            log.info("%s was cut over already: the target serves", m.plan.name)
            return CutoverSummary(steps=(), paused_ms=0)
        if reasons := list(blockers.of_approval(journal, record, run_id)):
            raise Refused(reasons)
        with opened(m, record) as section:
            if reasons := blockers.of_section(section):
                raise Refused(reasons)
            preset_sequences(section)
            decision.act_alone(section.old, m.plan.name, seconds=5)
            section.attempt = decision.open_attempt(section.old, m.plan)
            journal.change_state(record.id, State.ACTIVE, State.CUTTING_OVER)
            with undisturbed():
                return _critical(section)


def _end_earlier(m: Migration, journal: Journal) -> None:
    """End the sessions of a try that died, then bring its traffic to the side that has authority."""
    for side in Side:
        with m.session(side, "takeover") as conn:
            end_sessions(conn, f"crossfade/{m.plan.name}/cutover")
    if journal.get(m.plan.name).state is State.CUTTING_OVER:
        log.warning("an earlier try of this cutover did not end: restoring traffic first")
        log.info(recovery.settle(m).sentence)


def _critical(section: Section) -> CutoverSummary:
    done: list[Step] = []
    timings: list[StepTiming] = []
    start = time.monotonic()
    section.deadline = start + section.m.plan.cutover.max_pause.total_seconds()
    try:
        for kind in BEFORE_DECISION:
            step = kind(section)
            section.left(step.name)
            done.append(step)
            _timed(section, step, timings)
    except BaseException as error:
        if _undo(section, done) is Decision.ABORT:
            paused = (time.monotonic() - start) * 1000
            reason = CutoverUndone(step=done[-1].name if done else "pause", reason=error, paused_ms=paused)
            if isinstance(error, Exception):
                raise reason from error
            log.error("%s", reason)
            raise
        log.warning("the decision was taken already: opening the target, whatever happened: %s", error)
    _open(section, timings)
    paused = (time.monotonic() - start) * 1000
    decision.finish(section.old, section.attempt)
    _retire(section)
    summary = CutoverSummary(steps=tuple(timings), paused_ms=paused)
    log.info("cut over: clients were held for %.0f ms\n%s", paused, summary.table())
    return summary


def _retire(section: Section) -> None:
    """Clients are served: what goes wrong here is done again by `reconcile`."""
    try:
        section.engine.retire()
    except CrossfadeError as error:
        log.warning("the engine could not be told to end, the task reconcile does it: %s", error)


def _timed(section: Section, step: Step, timings: list[StepTiming]) -> None:
    start, outcome = time.monotonic(), "failed"
    try:
        with section.journal.step(section.migration, step.name, attempt=section.attempt, ordinal=len(timings) + 1):
            step.run()
        outcome = "done"
    finally:
        timings.append(StepTiming(name=step.name, ms=(time.monotonic() - start) * 1000, outcome=outcome))


def _open(section: Section, timings: list[StepTiming]) -> None:
    """After the decision there is no way but forward: try again for a while, then say how to go on."""
    deadline = time.monotonic() + 30
    for kind in AFTER_DECISION:
        while True:
            try:
                _timed(section, kind(section), timings)
                break
            except Exception as error:
                if time.monotonic() > deadline:
                    raise FatalError(
                        f"the cutover is decided, but the target could not be opened everywhere: {error}. Clear this "
                        "task, or run the DAG abort: either goes on where this stopped. Nothing is lost"
                    ) from error
                log.warning("opening the target failed, trying again: %s", error)
                time.sleep(0.2)


def _undo(section: Section, done: list[Step]) -> Decision:
    """
    Traffic first: the decision and the old side's fence in one transaction, then let clients go. Tidy afterwards.

    Returns what was decided: COMMIT where another had decided already, then nothing is undone.
    """
    held = decision.decide_surely(
        section.old, section.m.source, section.purpose, section.attempt, Decision.ABORT, seconds=60
    )
    if held is Decision.COMMIT:
        return held
    problems: list[str] = []
    try:
        with _alone(section) as old:
            if _superseded(section, old):
                log.warning("a newer try of this cutover has taken over; it looks after the traffic")
                return held
            _let_go(section, done, problems)
            decision.finish(old, section.attempt)
    except Exception as error:  # said below: a failed undo is never swallowed
        problems.append(str(error))
    for problem in problems:
        log.error("undoing left something behind; run the DAG abort once it can be reached: %s", problem)
    return held


@contextmanager
def _alone(section: Section) -> Iterator[Connection]:
    """The session that holds the plan's lock: the section's own, or a new one where that was lost."""
    try:
        section.old.execute("SELECT 1")
    except psycopg.OperationalError:
        with section.m.session(Side.SOURCE, "undo") as fresh:
            decision.act_alone(fresh, section.m.plan.name, seconds=10)
            yield fresh
        return
    yield section.old


def _superseded(section: Section, old: Connection) -> bool:
    newest = decision.newest(old, section.m.plan.name)
    return newest is not None and newest.id != section.attempt


def _let_go(section: Section, done: list[Step], problems: list[str]) -> None:
    """Clients first; then the tidy half of every step, last first."""
    for router in section.routers:
        try:
            router.resume()
        except CrossfadeError as error:
            problems.append(str(error))
    for step in reversed(done):
        try:
            step.undo()
        except Exception as error:  # the others are undone all the same; the caller says what was left
            problems.append(f"{step.name}: {error}")
    if not problems:  # else an abort, or the next try, has to find that there is something to tidy
        section.journal.change_state(section.migration, State.CUTTING_OVER, State.ACTIVE)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put off SIGTERM to the end of the block: the section is over in a fraction of a second, one way or the other."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked: list[tuple[int, Any]] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: asked.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if asked and callable(before):
            before(*asked[0])
