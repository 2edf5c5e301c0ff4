"""
The real order, undo, recovery, decision, fence and guard, in any interleaving with faults, over an imagined world.

`HYPOTHESIS_PROFILE=long` looks for longer and elsewhere each time.
"""

from __future__ import annotations

import contextlib
import os

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from imagined_actors import Actor, Died, Fault
from imagined_patches import EXPECTED_ERRORS, actions, patched
from imagined_watchdog import Watching
from imagined_world import ENDLESS, SERVES, World

from crossfade.cutover import decision
from crossfade.journal import State
from crossfade.routers.base import Direction, Side

settings.register_profile("cutover-ci", max_examples=200, stateful_step_count=25, derandomize=True)
settings.register_profile("cutover-long", max_examples=20_000, stateful_step_count=60)
PROFILE = settings.get_profile("cutover-long" if os.environ.get("HYPOTHESIS_PROFILE") == "long" else "cutover-ci")

#: Of an actor's next effects: where to stop it. Most of what matters is about these.
PLACES = (
    "connect",
    "pg_try_advisory_lock",
    "pooler 1: pause",
    "pooler 2: pause",
    "transaction",
    "source: transaction",
    "target: transaction",
    "watermark",
    "subscription",
    "create slot",
    "smoke",
    "repoint",
    "resume",
    "crossfade.step",
    "UPDATE crossfade",
)
faults = st.sampled_from(list(Fault))
sides = st.sampled_from(list(Side))
few = st.integers(0, 3)
names = st.sampled_from(["cutover", "rollback", "cutover", "rollback", "abort", "guard"])
places = st.sampled_from(PLACES)


class Interleavings(RuleBasedStateMachine):
    """Whatever people, schedulers and fate do, one after the other."""

    @initialize(origins=st.booleans(), public=st.booleans())
    def begin(self, origins: bool, public: bool) -> None:
        """A migration that has caught up. :param public: whether CONNECT is everybody's"""
        self.world = World(origins=origins, public=public)
        self.patches = contextlib.ExitStack()
        self.patches.enter_context(patched(self.world))
        self.start_by_name = actions(self.world)

    def teardown(self) -> None:
        """At last everything is reachable, everybody ends, and traffic is settled."""
        if not hasattr(self, "patches"):
            return
        with self.patches:
            try:
                self.settle_down()
            finally:
                for actor in self.world.scheduler.alive:
                    actor.die()

    # --- who acts

    @precondition(lambda self: len(self.world.scheduler.alive) < 3)
    @rule(name=names)
    def start(self, name: str) -> None:
        """Somebody begins something, whatever is under way."""
        self._start(name)

    @precondition(lambda self: len(self.world.scheduler.alive) < 2)
    @rule(first=names, place=places, times=few, second=names, until=places | st.none(), and_then=few)
    def meanwhile(self, first: str, place: str, times: int, second: str, until: str | None, and_then: int) -> None:
        """Two at once: one gets to somewhere, then another one to somewhere or to its end, then the first goes on."""
        one = self._to(self._start(first), place, times)
        other = self._start(second)
        if until is None:
            self._end(other)
        else:
            self._to(other, until, 1)
            self._to(one, place, and_then)
            self._end(other)
        self._end(one)

    @precondition(lambda self: self.world.scheduler.alive)
    @rule(which=few, effects=st.integers(1, 12))
    def go_on(self, which: int, effects: int) -> None:
        """Some effects of somebody."""
        actor = self._actor(which)
        for _ in range(effects):
            self._step(actor)

    @precondition(lambda self: self.world.scheduler.alive)
    @rule(which=few, place=places, times=few)
    def go_on_until(self, which: int, place: str, times: int) -> None:
        """To just before an effect of that kind."""
        self._to(self._actor(which), place, times)

    def _to(self, actor: Actor, place: str, times: int) -> Actor:
        for _ in range(times):
            self._step(actor)
            for _ in range(200):
                if place in actor.at or actor.done:
                    break
                self._step(actor)
        return actor

    @precondition(lambda self: self.world.scheduler.alive)
    @rule(which=few)
    def go_on_to_the_end(self, which: int) -> None:
        """Nobody is in its way."""
        self._end(self._actor(which))

    # --- faults

    @precondition(lambda self: self.world.scheduler.alive)
    @rule(which=few, place=places, times=few, fault=faults)
    def a_fault_befalls(self, which: int, place: str, times: int, fault: Fault) -> None:
        """An effect of somebody."""
        actor = self._to(self._actor(which), place, times)
        self._step(actor, fault)
        if actor.dead:
            self.world.kill(actor, lands=False)

    @precondition(lambda self: self.world.scheduler.alive)
    @rule(which=few, place=places, times=few, lands=st.booleans(), host=st.booleans())
    def is_killed(self, which: int, place: str, times: int, lands: bool, host: bool) -> None:
        """A process before an effect of its; with its host also the watchdog beside it."""
        actor = self._to(self._actor(which), place, times)
        for watching in self.world.watchdogs:
            if watching.task is actor and host:
                watching.die()
        if not actor.done:
            self.world.kill(actor, lands=lands)

    @precondition(lambda self: any(each.alive for each in self.world.watchdogs) and self.world.scheduler.alive)
    @rule(which=few)
    def watchdog_is_killed(self, which: int) -> None:
        """Alone."""
        alive = [each for each in self.world.watchdogs if each.alive]
        alive[which % len(alive)].die()

    @precondition(lambda self: any(each.needed for each in self.world.watchdogs))
    @rule()
    def watchdog_wakes(self) -> None:
        """It takes over."""
        self._needed().wake()

    @precondition(lambda self: self.world.scheduler.alive)
    @rule(which=few, place=places, times=few, side=sides)
    def server_crashes(self, which: int, place: str, times: int, side: Side) -> None:
        """One of the databases, when somebody is about to have an effect."""
        self._to(self._actor(which), place, times)
        if self.world.databases[side].up:
            self.world.databases[side].crash()

    @precondition(lambda self: self.world.scheduler.alive)
    @rule(which=few, place=places, times=few, number=st.integers(0, 1))
    def pooler_is_killed(self, which: int, place: str, times: int, number: int) -> None:
        """When somebody is about to have an effect."""
        self._to(self._actor(which), place, times)
        self.world.poolers[number].up = False

    @precondition(lambda self: not self.world.whole)
    @rule()
    def all_comes_up(self) -> None:
        """Poolers start with nobody held, leading where their files say."""
        for database in self.world.databases.values():
            database.up = True
        for pooler in self.world.poolers:
            if not pooler.up:
                pooler.start()

    @rule(side=sides)
    def a_dead_clients_statement_lands(self, side: Side) -> None:
        """What was sent before its process was killed."""
        database = self.world.databases[side]
        for backend in database.ghosts()[:1]:
            database.land(backend)

    @rule(seconds=st.sampled_from([1, 4, 10, 60]))
    def time_passes(self, seconds: int) -> None:
        """Deadlines come nearer."""
        self.world.scheduler.now += seconds

    # --- clients and people

    @rule(number=st.integers(0, 1))
    def a_client_writes(self, number: int) -> None:
        """Through a pooler."""
        self.world.write(self.world.poolers[number])

    @precondition(lambda self: len(self.world.clients) < 3)
    @rule(side=sides)
    def a_client_logs_in_directly(self, side: Side) -> None:
        """Past the poolers."""
        self.world.log_in(side)

    @precondition(lambda self: self.world.clients)
    @rule(number=few)
    def a_direct_client_writes(self, number: int) -> None:
        """In the session it has."""
        self.world.write_directly(number)

    @rule(side=sides)
    def a_role_is_dropped(self, side: Side) -> None:
        """By a person who sees that nobody uses it."""
        if self.world.databases[side].up:
            self.world.databases[side].drop_role("reporting")

    @rule(direction=st.sampled_from(list(Direction)))
    def changes_are_applied(self, direction: Direction) -> None:
        """Workers do by themselves."""
        self.world.wires.flow(direction)

    @rule(side=sides)
    def somebody_asks_to_abort(self, side: Side) -> None:
        """The flag that steps look at."""
        database = self.world.databases[side]
        if database.up and database.state.attempts:
            with contextlib.closing(self.world.servers[side].session("console")) as conn:
                decision.ask_to_abort(conn, database.state.attempts[-1]["id"])  # type: ignore[arg-type]

    # --- what must hold

    @invariant()
    def nothing_forbidden(self) -> None:
        """At every instant; `_step` looks after each effect, too."""
        if hasattr(self, "world"):
            self.world.check_always()

    @invariant()
    def at_rest_all_is_as_it_should_be(self) -> None:
        """Where nobody acts and the newest attempt says that it is finished, nothing was left."""
        if not hasattr(self, "world"):
            return
        world = self.world
        newest = world.newest
        if world.idle and world.whole and world.state in SERVES and (newest is None or newest["finished"]):
            world.check_at_rest()

    @precondition(lambda self: not (self.world.idle and self.world.whole))
    @rule()
    def settle_down(self) -> None:
        """Everything comes up, everybody ends, an abort settles what is left; another one then changes nothing."""
        world = self.world
        self.all_comes_up()
        for _ in range(20):
            for actor in world.scheduler.alive:
                self._end(actor)
            if any(each.needed for each in world.watchdogs):
                self._needed().wake()
            elif not world.scheduler.alive:
                break
        for database in world.databases.values():
            for backend in database.ghosts():
                database.land(backend)
        self._settle()
        world.check_at_rest()
        before = world.picture()
        self._settle()
        assert world.picture() == before, "settling twice is not the same as settling once"
        assert world.over(), "the guard still finds something to look after"
        held = len(world.acknowledged)
        for pooler in world.poolers:
            world.write(pooler)
        assert len(world.acknowledged) == held + len(world.poolers), "clients are not served"

    # --- how

    def _start(self, name: str) -> Actor:
        if name in ("cutover", "rollback"):
            name = "cutover" if self.world.state in (State.ACTIVE, State.CUTTING_OVER) else "rollback"
        return self.world.scheduler.start(name, self.start_by_name[name])

    def _actor(self, which: int) -> Actor:
        alive = self.world.scheduler.alive
        return alive[which % len(alive)]

    def _needed(self) -> Watching:
        return next(each for each in self.world.watchdogs if each.needed)

    def _settle(self) -> None:
        actor = self.world.scheduler.start("abort", self.start_by_name["abort"])
        self._end(actor)
        assert actor.error is None, f"everything can be reached, nobody else acts: {actor.error!r}"

    def _end(self, actor: Actor) -> None:
        for _ in range(ENDLESS):
            if actor.done:
                return
            self._step(actor)
        raise AssertionError(f"{actor.name} does not end: {actor.at}")

    def _step(self, actor: Actor, fault: Fault | None = None) -> None:
        if actor.done:
            return
        actor.step(fault)
        self.world.check_always()
        error = actor.error
        if error is not None and not isinstance(error, (*EXPECTED_ERRORS, Died)):
            raise AssertionError(f"{actor.name} ended with {error!r}") from error


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(
    PROFILE,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
