"""One case of the matrix: a cutover or rollback with clients writing, a fault at one of its steps, and the verdict."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

import evidence
from faults import Fault, Scene, fault
from victim import Actor, Nursery, Stuck
from world import World, world

from crossfade.cutover import steps
from crossfade.journal import State
from crossfade.routers.base import Direction, Side
from crossfade_lab import processes
from crossfade_lab.workload import WorkloadProcess

STATE = {Side.SOURCE: State.ACTIVE, Side.TARGET: State.CUT_OVER}

STEPS = tuple(kind.name for kind in (*steps.BEFORE_DECISION, *steps.AFTER_DECISION))
KILLED = ("task", "task+watchdog", "container", "frozen")  #: faults after which the victim does nothing any more

ARRIVE = 60.0  #: seconds for a victim to come to its step, refusals while streams come up again included
SETTLE = 60.0  #: seconds for the attempt to be decided, and for it to be finished
FLOWING = 1.0  #: seconds of writes that are looked at once clients are served again
SAME = 30.0  #: seconds for all writes to arrive on the other side


class NotSo(Exception):
    """Something did not come about; nothing more can be said of this case."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One place in the matrix."""

    direction: Direction
    step: str
    after: bool  #: the fault comes after the step's effect, else before it
    fault: str

    @property
    def name(self) -> str:
        return f"{self.direction}:{self.step}:{'after' if self.after else 'before'}:{self.fault}"

    @property
    def must_serve(self) -> Side | None:
        """The side that must serve afterwards; None where either may, since the victim went on."""
        if self.fault not in KILLED:
            return None
        order, old = STEPS.index(self.step), self.direction.old
        decided = order > STEPS.index("decide") or (self.step == "decide" and self.after)
        return old.other if decided else old


@dataclass(kw_only=True, slots=True)
class Result:
    """What came of a case. Times are milliseconds."""

    case: str
    ok: bool = False
    reasons: list[str] = field(default_factory=list)  #: why it is not
    promise: float = 0.0
    served_again: float | None = None  #: longest time without an acknowledged write, from the fault on
    slowest_client: float | None = None  #: the longest that one client was without one
    settled: float | None = None  #: from the fault until nothing was left to be done
    serves: str = ""  #: the side that served after the fault
    further: float | None = None  #: how long the next cutover or rollback took, refusals included
    refusals: list[str] = field(default_factory=list)  #: of tries to go on, until one succeeded
    acked: int = 0
    failed: int = 0
    unknown: int = 0
    errors: dict[str, int] = field(default_factory=dict)  #: what clients were told
    victim: str = ""  #: how the victim ended
    seconds: float = 0.0  #: that the case took

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Runner:
    """Runs cases one after another in a world that is used again, until something in it went wrong.

    :param patience: promises are multiplied by it, where a machine is slow
    :param worn_out: cases after which a world is replaced
    """

    def __init__(self, *, patience: float = 1.0, worn_out: int = 40) -> None:
        self.patience, self.worn_out = patience, worn_out
        self._world: World | None = None
        self._stack = ExitStack()
        self._cases = 0
        self._nursery = Nursery()

    @property
    def serving(self) -> Side | None:
        """The side that serves in the world as it was left; None where the next case begins with a new one."""
        if self._world is None:
            return None
        return evidence.leads_to(self._world, self._world.bouncers[0])

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()
        self._nursery.close()

    def run(self, case: Case) -> Result:
        """Run one case."""
        start = time.monotonic()
        result = Result(case=case.name, promise=fault(case.fault).promise * 1000)
        try:
            place = self.prepare(case.direction.old)
            _Run(place, case, self._nursery, result, self.patience).run()
        except Exception as error:  # whatever it was is this case's outcome, and the others are run all the same
            result.reasons.append(f"{type(error).__name__}: {error}")
        result.ok = not result.reasons
        result.seconds = round(time.monotonic() - start, 2)
        self._cases += 1
        if not result.ok or self._cases >= self.worn_out:
            self._leave()
        return result

    def prepare(self, serving: Side) -> World:
        """A world in which that side serves."""
        if self._world is None:
            self._world = self._stack.enter_context(world())
        if evidence.leads_to(self._world, self._world.bouncers[0]) is not serving:
            switch(self._world, serving, self._nursery)
        return self._world

    def _leave(self) -> None:
        self._stack.close()
        self._stack, self._world, self._cases = ExitStack(), None, 0


def switch(place: World, to: Side, nursery: Nursery) -> list[str]:
    """
    Cut over or back, so that this side serves. A refusal while streams come up again is met by trying again.

    Returns the refusals. Raises `NotSo`.
    """
    refusals: list[str] = []
    deadline = time.monotonic() + ARRIVE
    while True:
        with Actor(place, "switch", nursery) as actor:
            actor.cut_over(Direction.FORWARD if to is Side.TARGET else Direction.BACK)
            said = actor.hear(ARRIVE)
            actor.wait(ARRIVE)
        if said["ended"] == "":
            return refusals
        refusals.append(f"{said['ended']}: {said['text']}")
        if said["ended"] != "Refused" or time.monotonic() > deadline:
            raise NotSo(f"could not go on to the {to}: {refusals[-1]}")
        time.sleep(0.2)


class _Run:
    """One run of one case."""

    def __init__(
        self,
        place: World,
        case: Case,
        nursery: Nursery,
        result: Result,
        patience: float,
    ) -> None:
        self.world, self.case, self.nursery = place, case, nursery
        self.result, self.patience = result, patience
        self.fault: Fault = fault(case.fault)
        self.old = case.direction.old
        self.looked_at = 0.0, 0.0  #: from the fault to the end of what is held against its promise, epoch seconds

    def run(self) -> None:
        with ExitStack() as actors:
            load = self.world.workload()
            scene = Scene(
                world=self.world,
                nursery=self.nursery,
                victim=self._victim(actors),
                direction=self.case.direction,
                actors=actors,
            )
            with load:
                self._struck(scene, load)
                serving = self._afterwards(scene)
                then = serving.other
                began = time.monotonic()
                self.result.refusals = switch(self.world, then, self.nursery)
                self.result.further = _ms(began)
                time.sleep(FLOWING / 2)
                if self.fault.lingers:
                    self._ended(scene)
            self._waited(load.spec.run)
            self._judge(load.spec.run, [self.old, serving, then])

    def _struck(self, scene: Scene, load: WorkloadProcess) -> None:
        """From the beginning to the moment in which clients are served again."""
        before = evidence.attempt(self.world, self.old)
        self._held(scene)
        began = time.monotonic()
        self.fault.strike(scene)

        def decided() -> bool:
            now = evidence.attempt(self.world, self.old)
            return now is not None and now != before and now.decision is not None

        self._expect(decided, "the attempt was not decided")
        so_far = evidence.acknowledged(self.world, load.spec.run)
        enough = so_far + 2 * load.spec.clients
        self._expect(lambda: evidence.acknowledged(self.world, load.spec.run) >= enough, "clients were not served")
        self.fault.aftermath(scene)

        def finished() -> bool:
            now = evidence.attempt(self.world, self.old)
            return now is not None and now.finished

        def given_up() -> bool:
            """Its end is left to the next try, as where the target was away when its streams were to be enabled."""
            return not (self.fault.guarded or scene.victim.alive())

        processes.wait_until(lambda: finished() or given_up(), seconds=SETTLE, every=0.05)
        self.result.settled = _ms(began) if finished() else None

    def _held(self, scene: Scene) -> None:
        """Bring the victim to its step."""
        deadline = time.monotonic() + ARRIVE
        if self.fault.guarded:
            scene.actor("guard").tell("guard")
        while True:
            scene.victim.cut_over(self.case.direction, stop=(self.case.step, self.case.after))
            said = scene.victim.hear(ARRIVE)
            if "at" in said:
                return
            if said["ended"] != "Refused" or time.monotonic() > deadline:
                raise NotSo(f"the victim did not come to its step: {said}")
            scene.victim = self._victim(scene.actors)

    def _victim(self, actors: ExitStack) -> Actor:
        return actors.enter_context(Actor(self.world, "victim", None if self.fault.contained else self.nursery))

    def _afterwards(self, scene: Scene) -> Side:
        """Which side serves after the fault; clients go on to write for a while."""
        served = time.time()
        attempt = evidence.attempt(self.world, self.old)
        assert attempt is not None
        serving = self.old.other if attempt.decision == "commit" else self.old
        self.result.serves = serving
        if self.case.must_serve not in (None, serving):
            self.result.reasons.append(f"the {serving} serves; should be {self.case.must_serve}")
        self.result.reasons += evidence.one_side_serves(self.world, serving)
        if not self.fault.lingers:
            self._ended(scene)
        time.sleep(max(0.0, served + FLOWING - time.time()))
        self.looked_at = scene.struck, time.time()
        return serving

    def _waited(self, run: str) -> None:
        """How long clients waited, which can be told when all samples are written."""
        seen = evidence.clients(self.world, run, *self.looked_at)
        self.result.served_again, self.result.slowest_client = round(seen.longest_gap), round(seen.slowest_client)
        if seen.longest_gap > self.fault.promise * 1000 * self.patience:
            self.result.reasons.append(f"clients waited {seen.longest_gap:.0f} ms, promised {self.fault.promise:g} s")

    def _ended(self, scene: Scene) -> None:
        """Nobody may be left acting."""
        scene.victim.wait(SETTLE)
        try:
            said = scene.victim.hear(0)
            self.result.victim = f"{said['ended'] or 'done'}: {said['text'][:300]}"
        except Stuck:
            self.result.victim = "said nothing more"
        if not processes.wait_until(lambda: not scene.victim.companions(), seconds=10):
            left = [processes.command_line(pid) for pid in scene.victim.companions()]
            self.result.reasons.append(f"processes of the task are still there: {left}")

    def _judge(self, run: str, turns: list[Side]) -> None:
        """Everything that must be so in the end."""
        serving, reasons = turns[-1], self.result.reasons
        reasons += evidence.one_side_serves(self.world, serving)
        reasons += evidence.attempts_left_open(self.world)
        if (state := evidence.journal_state(self.world)) != STATE[serving]:
            reasons.append(f"the journal says {state!r}, but the {serving} serves")
        processes.wait_until(lambda: not evidence.left_behind(self.world, serving), seconds=10)
        reasons += evidence.left_behind(self.world, serving)
        reasons += evidence.same_on_both(self.world, serving, run, seconds=SAME)
        reasons += evidence.taken_in_turn(self.world, run, turns)
        writes = evidence.writes(self.world, serving, run)
        reasons += writes.wrong
        self.result.acked, self.result.failed, self.result.unknown = writes.acked, writes.failed, writes.unknown
        self.result.errors = writes.errors

    def _expect(self, condition: Callable[[], bool], otherwise: str) -> None:
        if not processes.wait_until(condition, seconds=SETTLE, every=0.05):
            raise NotSo(f"{otherwise} within {SETTLE:g} s")


def _ms(since: float) -> float:
    return round((time.monotonic() - since) * 1000)
