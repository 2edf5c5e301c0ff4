"""Running the critical section: the steps in order, within the budget; undo before the decision, never after it."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg

from crossfade.connect import end_sessions
from crossfade.cutover import blockers, decision, recovery, window
from crossfade.cutover.decision import Decision
from crossfade.cutover.section import Section, opened, purpose_of
from crossfade.cutover.steps import AFTER_DECISION, BEFORE_DECISION, Step
from crossfade.cutover.surroundings import Prevented, surrounded
from crossfade.cutover.undo import undo
from crossfade.cutover.watchdog import NoWatchdog, Watchdog
from crossfade.errors import (
    CrossfadeError,
    FatalError,
    PreconditionError,
    TransientError,
    Unreachable,
)
from crossfade.journal import Journal, State
from crossfade.routers.base import Direction, Side

if TYPE_CHECKING:
    from crossfade.migration import Migration

log = logging.getLogger(__name__)

BREATH = 0.25  #: seconds that clients have to themselves after the opening: their poolers log in anew

#: In which state each begins, which it enters, and which it ends in.
_STATES = {
    Direction.FORWARD: (State.ACTIVE, State.CUTTING_OVER, State.CUT_OVER),
    Direction.BACK: (State.CUT_OVER, State.ROLLING_BACK, State.ACTIVE),
}


class Refused(PreconditionError):
    """The cutover was not begun."""

    def __init__(self, reasons: list[str], direction: Direction = Direction.FORWARD) -> None:
        self.reasons = reasons
        super().__init__(
            f"the {direction.noun} was refused, clients were not held and nothing was changed: " + "; ".join(reasons)
        )


class Unopened(FatalError):
    """The cutover is decided, but the new side could not be opened everywhere."""


class CutoverUndone(TransientError):
    """The cutover failed before its decision and was undone: the old side serves."""

    def __init__(self, *, step: str, reason: BaseException, paused_ms: float, direction: Direction) -> None:
        held = f"clients were held for {paused_ms:.0f} ms" if paused_ms else "clients were not held"
        super().__init__(
            f"the {direction.noun} was undone at the step {step}: {reason}. The {direction.old} serves again, nothing "
            f"is lost; {held}. Put the cause right and clear this task"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTiming:
    """One step as it went."""

    name: str
    started_ms: float  #: after the first one began
    ms: float
    outcome: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CutoverSummary:
    """A finished cutover."""

    steps: tuple[StepTiming, ...]
    paused_ms: float  #: from the first instant clients were held to the last they were let go

    def table(self) -> str:
        """The steps, aligned, for a log."""
        return steps_table(self.steps)


def steps_table(steps: tuple[StepTiming, ...] | list[StepTiming]) -> str:
    """Name, start, milliseconds and outcome of each step, aligned."""
    head = f"{'step':<10} {'start':>9}    {'took':>9}"
    rows = [f"{step.name:<10} {step.started_ms:9.1f} ms {step.ms:9.1f} ms  {step.outcome}" for step in steps]
    return "\n".join([head, *rows])


def run(m: Migration, *, run_id: str, direction: Direction = Direction.FORWARD) -> CutoverSummary:
    """
    Cut over, or roll back; or refuse, or undo. Safe to call again whatever became of an earlier try.

    Raises `Refused` (clients were not held), `CutoverUndone` (the old side serves), `FatalError` (decided, but not
    all could be opened: call again), `Undecided` (the old side cannot be read).
    """
    begins, _, ends = _STATES[direction]
    with m.journal() as journal:
        _end_earlier(m, journal)
        record = journal.get(m.plan.name)
        if record.state is ends and _done_before(m, direction):
            log.info("the %s of %s is done already: the %s serves", direction.noun, m.plan.name, direction.new)
            return CutoverSummary(steps=(), paused_ms=0)
        if record.state is not begins:
            raise Refused(
                [f"{m.plan.name} is {record.state}, a {direction.noun} begins where it is {begins}"], direction
            )
        reasons = list(blockers.of_approval(journal, record, run_id, direction))
        outside = window.blocker(m.plan, datetime.now(UTC)) if direction is Direction.FORWARD else None
        if outside is not None:  # going back is for when something is wrong: at any time
            reasons.append(outside)
        if reasons:
            raise Refused(reasons, direction)
        with opened(m, record, direction) as section:
            if reasons := blockers.of_section(section):
                raise Refused(reasons, direction)
            with (
                _refusing(direction),
                surrounded(section),
                Watchdog(m, section.attempt.id) as section.watchdog,
            ):
                section.watchdog.await_ready()
                decision.act_alone(section.old, m.plan.name, seconds=5)
                with section.watchdog.taking_over(but=(CutoverUndone, Refused, decision.WithoutAuthority)):
                    return _watched(section, section.watchdog)


@contextmanager
def _refusing(direction: Direction) -> Iterator[None]:
    try:
        yield
    except (Prevented, NoWatchdog, decision.AnotherActs, decision.WithoutAuthority) as error:
        raise Refused([str(error)], direction) from error


def _end_earlier(m: Migration, journal: Journal) -> None:
    """End the sessions of a try that died, then bring its traffic to the side that has authority."""
    unfinished = False
    for side in Side:
        with m.session(side, "takeover") as conn:
            end_sessions(conn, f"crossfade/{purpose_of(m.plan.name)}")
            attempt = decision.newest(conn, m.plan.name)
            unfinished |= attempt is not None and not attempt.finished
    if unfinished or journal.get(m.plan.name).state in (State.CUTTING_OVER, State.ROLLING_BACK):
        log.warning("an earlier try did not end: restoring traffic first")
        log.info(recovery.settle(m, patience=0).sentence)


def _done_before(m: Migration, direction: Direction) -> bool:
    """The state tells of a cutover; a migration that was never cut over looks like one that was rolled back."""
    if direction is Direction.FORWARD:
        return True
    with m.session(direction.old, "cutover") as old:
        attempt = decision.newest(old, m.plan.name)
    return attempt is not None and attempt.decision is Decision.COMMIT


def _watched(section: Section, watchdog: Watchdog) -> CutoverSummary:
    """Enter the attempt, and go through it; what fails before clients are held is undone as well."""
    direction = section.direction
    begins, enters, _ = _STATES[direction]
    section.attempt = decision.open_attempt(section.old, section.new, section.m.plan, direction, section.attempt.id)
    steps = [kind(section) for kind in BEFORE_DECISION]
    try:
        section.journal.change_state(section.migration, begins, enters)
        for step in steps:
            step.prepare()
        section.carrier.check()  # preparing may take minutes; only now nobody is held by what has broken meanwhile
    except BaseException as error:
        undo(section, steps)
        if isinstance(error, CrossfadeError):
            raise Refused([str(error)], direction) from error
        raise
    with undisturbed():
        return _critical(section, steps, watchdog)


def _critical(section: Section, steps: list[Step], watchdog: Watchdog) -> CutoverSummary:
    done: list[Step] = []
    timings: list[StepTiming] = []
    start = time.monotonic()
    budget = section.m.plan.cutover.max_pause.total_seconds()
    section.deadline = start + budget
    watchdog.budget(budget)
    try:
        for step in steps:
            section.go_on(step.name)
            done.append(step)
            _timed(section, step, timings, start)
    except BaseException as error:
        watchdog.decided()  # undoing may take as long as opening
        if undo(section, steps) is Decision.ABORT:
            paused = (time.monotonic() - start) * 1000
            log.info("undone:\n%s", steps_table(timings))
            name = done[-1].name if done else steps[0].name
            reason = CutoverUndone(step=name, reason=error, paused_ms=paused, direction=section.direction)
            if isinstance(error, Exception):
                raise reason from error
            log.error("%s", reason)
            raise
        log.warning("the decision was taken already: opening the new side, whatever happened: %s", error)
    section.decided = True
    watchdog.decided()
    _open(section, timings, start)
    paused = (time.monotonic() - start) * 1000
    watchdog.opened()
    summary = CutoverSummary(steps=tuple(timings), paused_ms=paused)
    log.info("the %s serves: clients were held for %.0f ms\n%s", section.direction.new, paused, summary.table())
    _afterwards(section, watchdog)
    return summary


def _afterwards(section: Section, watchdog: Watchdog) -> None:
    """Clients are served. What goes wrong here the watchdog tries again."""
    time.sleep(BREATH)
    try:
        section.carrier.retire()
        recovery.enter_opened(
            section.journal, section.migration, section.m, section.direction, section.writes_at_opening
        )
        decision.finish(section.old, section.attempt.id)
    except Exception as error:
        log.warning("something was left to be tidied, the watchdog goes on with it: %s", error)
        watchdog.go_on_alone()


def _timed(section: Section, step: Step, timings: list[StepTiming], start: float) -> None:
    begun, outcome = time.monotonic(), "failed"
    try:
        with section.journal.step(section.migration, step.name, attempt=section.attempt.id, ordinal=len(timings) + 1):
            step.run()
        outcome = "done"
    finally:
        timings.append(_timing(step, begun, start, outcome))


def _timing(step: Step, begun: float, start: float, outcome: str) -> StepTiming:
    took, started = (time.monotonic() - begun) * 1000, (begun - start) * 1000
    return StepTiming(name=step.name, started_ms=started, ms=took, outcome=outcome)


def _open(section: Section, timings: list[StepTiming], start: float) -> None:
    """
    After the decision there is no way but forward: try again for a while, then say how to go on.

    The journal is told afterwards, and only if it can be: a dead old side must not keep the new one closed.
    """
    deadline = time.monotonic() + 30
    for kind in AFTER_DECISION:
        step = kind(section)
        while True:
            begun = time.monotonic()
            try:
                step.run()
                timings.append(_timing(step, begun, start, "done"))
                break
            except Exception as error:
                timings.append(_timing(step, begun, start, "failed"))
                if time.monotonic() > deadline:
                    raise Unopened(
                        f"the {section.direction.noun} is decided, but the {section.direction.new} could not be opened "
                        f"everywhere: {error}. The watchdog goes on trying; so does clearing this task, or the DAG "
                        "abort. Nothing is lost"
                    ) from error
                log.warning("opening the %s failed, trying again: %s", section.direction.new, error)
                time.sleep(0.2)
                with suppress(Unreachable):
                    section.reconnect()
        try:
            section.journal.enter_step(
                section.migration, attempt=section.attempt.id, name=step.name, ordinal=len(timings), ms=timings[-1].ms
            )
        except psycopg.Error as error:
            log.warning("the journal could not be told: %s", error)


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
