"""The steps of the critical section, each an object that can be run, undone, described and tested alone."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from crossfade import catalog, sequences
from crossfade.connect import Connection
from crossfade.cutover import decision, fence, smoke
from crossfade.cutover.decision import Decision
from crossfade.engines.base import Engine
from crossfade.errors import DeadlineExceeded, FatalError, PreconditionError, TransientError
from crossfade.journal import Journal, State
from crossfade.routers.base import Pausing, Router, Side
from crossfade.schema.not_null import enforce, relax

if TYPE_CHECKING:
    from crossfade.migration import Migration

log = logging.getLogger(__name__)

DECIDE_SECONDS = 30.0  #: how long a lost answer to the decision is asked for again


class DefinitionsChanged(PreconditionError):
    """Somebody changed the source's schema after it was copied."""

    def __init__(self) -> None:
        super().__init__(
            "the source's definitions are not those that were copied: somebody ran DDL since. "
            "Compare with `crossfade compare`, bring the target in step, and clear the task prepare"
        )


class AlreadyAborted(TransientError):
    """Somebody else aborted this cutover; it obeys."""


@dataclass(kw_only=True)
class Section:
    """What the steps share: every connection open, every statement's input at hand, before clients are held."""

    m: Migration
    engine: Engine
    routers: Sequence[Router]
    old: Connection  #: the side that serves now
    new: Connection  #: the side that serves afterwards
    journal: Journal  #: on a session of its own
    migration: UUID
    attempt: UUID
    stamp: str  #: of the definitions that were copied
    exempt: Sequence[str]  #: roles on the old side that the fence leaves alone
    purpose: str  #: of our sessions on the old side
    deadline: float = 0.0  #: of time.monotonic(): the end of the budget
    preset: dict[catalog.Sequence, sequences.SequenceState] = field(default_factory=dict)  #: new side's sequences

    def left(self, what: str) -> float:
        """Seconds of the budget that are left. Raises `DeadlineExceeded` where there are none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            budget = self.m.plan.cutover.max_pause.total_seconds()
            raise DeadlineExceeded("the pause", seconds=budget, seen=f"the budget was spent before: {what}")
        return left


class Step(ABC):
    """One step. `undo` puts back what `run` changed, may be called where `run` did not finish, and more than once."""

    def __init__(self, section: Section) -> None:
        self.section = section

    @property
    @abstractmethod
    def name(self) -> str:
        """One word, for the journal."""

    @abstractmethod
    def describe(self) -> str:
        """What it does, for people."""

    @abstractmethod
    def run(self) -> None:
        """Do it."""

    def undo(self) -> None:  # noqa: B027 - most steps change nothing that the traffic half of an undo leaves
        """Put back what belongs to the tidy half of an undo: what can wait until traffic flows."""


class Pause(Step):
    """Where no router can hold clients this is nothing: the fence then ends their sessions and refuses new ones."""

    name = "pause"

    def describe(self) -> str:
        if not self._pausing():
            return "nothing: no router can hold clients; the fence ends their sessions"
        return "hold clients at the router: transactions under way finish, new ones wait"

    def run(self) -> None:
        pausing = self._pausing()
        with ThreadPoolExecutor(max(len(pausing), 1)) as pool:
            for held in [pool.submit(router.pause, self.section.deadline) for router in pausing]:
                held.result()

    def _pausing(self) -> list[Pausing]:
        return [router for router in self.section.routers if isinstance(router, Pausing)]


class Fence(Step):
    name = "fence"

    def describe(self) -> str:
        return "take CONNECT from applications on the old side, end their sessions, verify twice that nobody is left"

    def run(self) -> None:
        section = self.section
        fence.close(section.old, plan=section.m.plan.name, exempt=section.exempt)
        ended = fence.sweep(section.old, exempt=section.exempt, deadline=section.deadline)
        if ended:
            log.info("ended %s sessions on the old side", ended)


class Drain(Step):
    name = "drain"

    def describe(self) -> str:
        return "prove that everything committed before the fence has arrived; and that nobody ran DDL"

    def run(self) -> None:
        drained = self.section.engine.drain(self.section.deadline)
        log.info("drained at %s in %.1f ms", drained.lsn, drained.seconds * 1000)
        if catalog.definition_stamp(self.section.old) != self.section.stamp:
            raise DefinitionsChanged


class StopForward(Step):
    """The streams stay, disabled, until the decision: undo is one statement each."""

    name = "stop"

    def describe(self) -> str:
        return "stop applying changes on the new side; the streams are kept until the decision"

    def run(self) -> None:
        self.section.engine.stop(self.section.deadline)

    def undo(self) -> None:
        self.section.engine.resume()


class NotNull(Step):
    """Columns that had to be nullable while rows were applied in two steps. Rows are looked at after the cutover."""

    name = "not_null"

    def describe(self) -> str:
        return "refuse new NULLs on the new side where NOT NULL was dropped for the load"

    def run(self) -> None:
        section = self.section
        closed = enforce(section.new, section.migration, seconds=section.left("closing columns to NULL"))
        if closed:
            log.info("%s columns refuse NULL again", closed)

    def undo(self) -> None:
        relax(self.section.new, self.section.migration)


class Sequences(Step):
    name = "sequences"

    def describe(self) -> str:
        return "read every sequence again and set those that moved past what was set before; never backwards"

    def run(self) -> None:
        section = self.section
        old = sequences.read(section.old, section.preset)
        moved = sequences.carry(old, section.preset, section.m.plan.cutover.sequence_margin)
        sequences.write(section.new, moved)
        section.preset.update(moved)
        behind = [seq.full_name for seq, state in old.items() if not section.preset[seq].at_or_past(state, seq)]
        if behind:
            raise FatalError(f"sequences would hand out numbers again on the new side: {', '.join(behind)}")


class Smoke(Step):
    name = "smoke"

    def describe(self) -> str:
        return "run the plan's statements on the new side as the application, rolled back"

    def run(self) -> None:
        cutover = self.section.m.plan.cutover
        left = self.section.left("the smoke statements")
        smoke.run(self.section.new, cutover.smoke, role=cutover.application_roles[0], seconds=left)


class Decide(Step):
    name = "decide"

    def describe(self) -> str:
        return "take the decision on the old side: from here on the cutover is final"

    def run(self) -> None:
        section = self.section
        section.left("the decision")
        held = decision.decide_surely(
            section.old,
            section.m.source,
            section.purpose,
            section.attempt,
            Decision.COMMIT,
            seconds=DECIDE_SECONDS,
        )
        if held is not Decision.COMMIT:
            raise AlreadyAborted("this cutover was aborted by somebody else; traffic is on the old side")


class Open(Step):
    """Final: it is not undone but done again until it holds."""

    name = "open"

    def describe(self) -> str:
        return "lift the new side's fence, point the router at it, let clients go on"

    def run(self) -> None:
        section = self.section
        open_target(section.journal, section.migration, section.m.plan.name)
        with ThreadPoolExecutor(max(len(section.routers), 1)) as pool:
            for opened in [pool.submit(open_router, router, Side.TARGET) for router in section.routers]:
                opened.result()


def open_target(journal: Journal, migration: UUID, plan: str) -> None:
    """Enter that the target serves, and lift its fence, in one transaction."""
    with journal.conn.transaction():
        journal.conn.execute("SET LOCAL synchronous_commit = on")
        journal.set_state(migration, State.CUT_OVER)
        fence.lift(journal.conn, plan)


def open_router(router: Router, side: Side) -> None:
    """Point a router at a side, verified, and let clients go on: also where an instance could not be told."""
    try:
        router.repoint(side)
    finally:
        router.resume()


#: The order. Everything before Open can be undone; the decision makes Open due.
BEFORE_DECISION: tuple[type[Step], ...] = (Pause, Fence, Drain, StopForward, NotNull, Sequences, Smoke, Decide)
AFTER_DECISION: tuple[type[Step], ...] = (Open,)
