"""Undoing a cutover from within: traffic first, which needs only the old side and the router; then what can wait."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg

from crossfade.connect import Connection
from crossfade.cutover import decision, readers
from crossfade.cutover.decision import Decision
from crossfade.errors import CrossfadeError
from crossfade.journal import State
from crossfade.routers.base import Direction, Router

if TYPE_CHECKING:
    from crossfade.cutover.section import Section
    from crossfade.cutover.steps import Step

log = logging.getLogger(__name__)

DECIDE_SECONDS = 60.0  #: for which a decision of unknown outcome is asked for again


def undo(section: Section, done: Sequence[Step]) -> Decision:
    """
    Take the decision to abort, which lifts the old side's fence; let clients go; then undo each step, the last first.

    Returns what was decided: COMMIT where another had decided already, then nothing is undone. Raises `Undecided`.
    """
    held = decision.decide_surely(
        section.old,
        section.m.endpoint(section.direction.old),
        section.purpose,
        section.attempt.id,
        Decision.ABORT,
        seconds=DECIDE_SECONDS,
    )
    if held is Decision.COMMIT:
        return held
    problems: list[str] = []
    try:
        with _alone(section) as old:
            if _superseded(section, old):
                log.warning("a newer try has taken over; what this one paused goes on")
                problems += let_traffic_flow(section.routers)
                return held
            _let_go(section, done, problems)
            if not problems:
                decision.finish(old, section.attempt.id)
    except Exception as error:  # said below: a failed undo is never swallowed
        problems.append(str(error))
    for problem in problems:
        log.error("undoing left something behind, the watchdog goes on with it: %s", problem)
    if problems and section.watchdog is not None:
        section.watchdog.go_on_alone()
    return held


@contextmanager
def _alone(section: Section) -> Iterator[Connection]:
    """The session that holds the plan's lock: the section's own, or a new one where that was lost."""
    try:
        section.old.execute("SELECT 1")
    except psycopg.OperationalError:
        with section.m.session(section.direction.old, "undo") as fresh:
            decision.act_alone(fresh, section.m.plan.name, seconds=10)
            yield fresh
        return
    yield section.old


def _superseded(section: Section, old: Connection) -> bool:
    newest = decision.newest(old, section.m.plan.name)
    return newest is not None and newest.id != section.attempt.id


def let_traffic_flow(routers: Sequence[Router]) -> list[str]:
    """Let held clients go on, everywhere that can be done; what could not be, in words."""
    problems = []
    for router in routers:
        try:
            router.resume()
        except CrossfadeError as error:
            problems.append(str(error))
    return problems


def _let_go(section: Section, done: Sequence[Step], problems: list[str]) -> None:
    """Clients first; then the tidy half of every step, last first."""
    problems += let_traffic_flow(section.routers)
    problems += readers.release(section.readers)
    for step in reversed(done):
        try:
            step.undo()
        except Exception as error:  # the others are undone all the same; the caller says what was left
            problems.append(f"{step.name}: {error}")
    if not problems:  # else an abort, or the next try, has to find that there is something to tidy
        forward = section.direction is Direction.FORWARD
        before = (State.CUTTING_OVER, State.ACTIVE) if forward else (State.ROLLING_BACK, State.CUT_OVER)
        section.journal.change_state(section.migration, *before)
