"""The steps of the critical section, each an object that can be run, undone, described and tested alone."""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor

from crossfade import catalog, sequences
from crossfade.cutover import decision, fence, readers, smoke
from crossfade.cutover.decision import Decision
from crossfade.cutover.opening import open_database, open_router
from crossfade.cutover.section import Section
from crossfade.engines.logical.replication import Replication, marks_origins
from crossfade.errors import FatalError, PreconditionError, TransientError
from crossfade.routers.base import Direction, Pausing, Router
from crossfade.schema.not_null import enforce, relax

log = logging.getLogger(__name__)

READERS_SECONDS = 0.25  #: for which queries of read traffic are waited for; what takes longer flows on
DECIDE_SECONDS = 30.0  #: how long a lost answer to the decision is asked for again


class DefinitionsChanged(PreconditionError):
    """Somebody changed the old side's schema after it was copied, or compared."""

    def __init__(self, direction: Direction) -> None:
        super().__init__(
            "the source's definitions are not those that were copied: somebody ran DDL since. "
            "Compare with `crossfade compare`, bring the target in step, and clear the task prepare"
            if direction is Direction.FORWARD
            else "somebody ran DDL on the target while the rollback began. Bring the source in step, then try again"
        )


class AlreadyAborted(TransientError):
    """Somebody else aborted this cutover; it obeys."""


class Step(ABC):
    """
    One step. `prepare` does beforehand what takes its time, while clients are served.

    `undo` puts back what both changed; it may be called where they did not finish, and more than once.
    """

    def __init__(self, section: Section) -> None:
        self.section = section

    @property
    @abstractmethod
    def name(self) -> str:
        """One word, for the journal."""

    @abstractmethod
    def describe(self) -> str:
        """What it does, for people."""

    def prepare(self) -> None:  # noqa: B027 - most steps need nothing beforehand
        """What can be done before clients are held."""

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
        until = min(self.section.deadline, time.monotonic() + READERS_SECONDS)
        with ThreadPoolExecutor(len(pausing) + 1) as pool:
            pool.submit(readers.hold, self._readers(), until)
            for held in [pool.submit(router.pause, self.section.deadline) for router in pausing]:
                held.result()

    def _readers(self) -> list[Router]:
        """Read traffic that the fence would shut out. Queries on a replica go on until they are led elsewhere."""
        section = self.section
        old = section.m.endpoint(section.direction.old)
        led = zip(section.readers, section.m.reader_endpoints(section.direction.old), strict=True)
        return [router for router, endpoint in led if endpoint == old]

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
        drained = self.section.carrier.drain(self.section.deadline)
        log.info("drained at %s in %.1f ms", drained.lsn, drained.seconds * 1000)
        if catalog.definition_stamp(self.section.old) != self.section.stamp:
            raise DefinitionsChanged(self.section.direction)


class Stop(Step):
    """The streams stay, disabled, until the decision: undo is one statement each."""

    name = "stop"

    def describe(self) -> str:
        return "stop applying changes on the new side; the streams are kept until the decision"

    def run(self) -> None:
        self.section.carrier.stop(self.section.deadline)

    def undo(self) -> None:
        self.section.carrier.resume()


class NotNull(Step):
    """Columns that had to be nullable while rows were applied in two steps. Rows are looked at after the cutover."""

    name = "not_null"

    def describe(self) -> str:
        return "refuse new NULLs on the new side where NOT NULL was dropped for the load"

    def run(self) -> None:
        section = self.section
        if not _may_be_nullable(section):
            return
        closed = enforce(section.new, section.migration, seconds=section.left("closing columns to NULL"))
        if closed:
            log.info("%s columns refuse NULL again", closed)

    def undo(self) -> None:
        if _may_be_nullable(self.section):
            relax(self.section.new, self.section.migration)


def _may_be_nullable(section: Section) -> bool:
    """On the source nothing was ever dropped, but for a way back by AWS DMS."""
    return section.direction is Direction.FORWARD or section.m.plan.rollback.way_back == "dms"


class Sequences(Step):
    name = "sequences"

    def describe(self) -> str:
        return "read every sequence again and set those that moved past what was set before; never backwards"

    def prepare(self) -> None:
        """Set the new side's sequences a margin ahead, so that in the pause only those that moved further are set."""
        section = self.section
        names = catalog.sequences(section.old)
        old, new = sequences.read(section.old, names), sequences.read(section.new, names)
        ahead = sequences.set_ahead(old, new, section.m.plan.cutover.sequence_margin)
        sequences.write(section.new, ahead)
        section.preset = {**new, **ahead}

    def run(self) -> None:
        section = self.section
        old = sequences.read(section.old, section.preset)
        moved = sequences.carry(old, section.preset, section.m.plan.cutover.sequence_margin)
        sequences.write(section.new, moved)
        section.preset.update(moved)
        behind = [seq.full_name for seq, state in old.items() if not section.preset[seq].at_or_past(state, seq)]
        if behind:
            raise FatalError(f"sequences would hand out numbers again on the new side: {', '.join(behind)}")


class Arm(Step):
    """
    The way back begins before any application writes to the new side: a row written earlier would be lost in silence.

    It runs, and is proved, before clients are held; but where nothing is told apart by its origin, its slot must not
    see what the forward stream applies: it is made in the pause.
    """

    name = "arm"

    def describe(self) -> str:
        if self.section.way_back is None:
            return "nothing: the plan wants no way back (rollback.way_back: none)"
        if not self.section.way_back.proved_in_pause:
            return "make the slot from which AWS DMS will bring rows back, before anybody writes to the new side"
        return "start replication from the new side to the old one, before anybody writes to the new one"

    def prepare(self) -> None:
        section = self.section
        if section.way_back is not None:
            native = isinstance(section.carrier, Replication)
            section.way_back.arm_ahead(live=native and marks_origins(section.new, section.old))

    def run(self) -> None:
        section = self.section
        section.writes_at_opening = catalog.row_changes(section.new)
        if section.way_back is not None:
            section.way_back.arm(section.left("arming the way back"))

    def undo(self) -> None:
        if self.section.way_back is not None:
            self.section.way_back.disarm()


class Prove(Step):
    name = "prove"

    def describe(self) -> str:
        if self.section.way_back is not None and not self.section.way_back.proved_in_pause:
            return "prove that the slot of the way back misses no write; AWS DMS is proved after clients went on"
        return "send a watermark from the new side to the old one: the way back works, or there is no cutover"

    def run(self) -> None:
        section = self.section
        if section.way_back is not None:
            proof = section.way_back.prove(section.deadline)
            log.info("the way back is %s: %s", "proved" if section.way_back.proved_in_pause else "armed", proof)


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
            section.m.endpoint(section.direction.old),
            section.purpose,
            section.attempt.id,
            Decision.COMMIT,
            seconds=DECIDE_SECONDS,
        )
        if held is not Decision.COMMIT:
            raise AlreadyAborted("it was aborted by somebody else; traffic is on the old side")


class Open(Step):
    """Final: it is not undone but done again until it holds."""

    name = "open"

    def describe(self) -> str:
        return "lift the new side's fence, point the router at it, let clients go on"

    def run(self) -> None:
        section = self.section
        side = section.direction.new
        open_database(section.new, section.attempt, section.migration)
        with ThreadPoolExecutor(max(len(section.routers), 1)) as pool:
            for opened in [pool.submit(open_router, router, side) for router in section.routers]:
                opened.result()


#: The order. Everything before Open can be undone; the decision makes Open due.
BEFORE_DECISION: tuple[type[Step], ...] = (
    Pause,
    Fence,
    Drain,
    Stop,
    NotNull,
    Sequences,
    Arm,
    Prove,
    Smoke,
    Decide,
)
AFTER_DECISION: tuple[type[Step], ...] = (Open,)
