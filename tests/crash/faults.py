"""What can happen to a cutover while it is held at a step, and how soon clients are promised to be served again."""

from __future__ import annotations

import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from victim import Actor, Nursery
from world import MAX_PAUSE, World

from crossfade.routers.base import Direction, Side
from crossfade_lab import processes
from crossfade_lab.proxy import Existing, New

PROCESS_DEATH = 2.0  #: seconds: the watchdog's promise
HOST_LOSS = 15.0  #: seconds: the guard's promise
SERVER_BACK = 10.0  #: seconds from when a restarted server accepts connections
SUPERVISOR = 5.0  #: seconds after SIGTERM until Airflow's supervisor sends SIGKILL


@dataclass(kw_only=True)
class Scene:
    """What a fault finds: the victim is held at its step, clients write or wait."""

    world: World
    nursery: Nursery
    victim: Actor
    direction: Direction
    actors: ExitStack  #: ends whoever acts by the end of the case
    struck: float = 0.0  #: epoch seconds of the instant from which clients' waiting counts

    def actor(self, name: str) -> Actor:
        """One more process to act on the world."""
        return self.actors.enter_context(Actor(self.world, name, self.nursery))


class Fault(ABC):
    """One kind of fault."""

    name: str
    what: str  #: for people
    promise: float  #: seconds within which clients are served again
    guarded = False  #: whether the guard, on another host, watches
    contained = False  #: whether the victim runs in a pid namespace of its own
    lingers = False  #: whether the victim is still about when the next cutover is made

    @abstractmethod
    def strike(self, scene: Scene) -> None:
        """Do it, and let go on what is left of the victim; sets `scene.struck`."""

    def aftermath(self, scene: Scene) -> None:  # noqa: B027 - most faults leave nothing to be done
        """What comes once clients are served again: what a person, or Airflow, would do next."""


class KillTask(Fault):
    name = "task"
    what = "SIGKILL of the task"
    promise = PROCESS_DEATH

    def strike(self, scene: Scene) -> None:
        scene.struck = time.time()
        scene.victim.signal(signal.SIGKILL)


class KillTaskAndWatchdog(Fault):
    name = "task+watchdog"
    what = "SIGKILL of the task and of its watchdog at the same instant; the guard acts"
    promise = HOST_LOSS
    guarded = True

    def strike(self, scene: Scene) -> None:
        scene.struck = time.time()
        scene.victim.signal(signal.SIGKILL, companions=True)


class KillWatchdog(Fault):
    """The task is left without anybody who would look after it."""

    name = "watchdog"
    what = "SIGKILL of the watchdog; the task undoes what it can no longer do safely"
    promise = PROCESS_DEATH

    def strike(self, scene: Scene) -> None:
        scene.struck = time.time()
        for companion in scene.victim.companions():
            processes.send(companion, signal.SIGKILL)
        scene.victim.go_on()


class ContainerGone(Fault):
    name = "container"
    what = "the first process of the task's pid namespace is killed, and everything in it; the guard acts"
    promise = HOST_LOSS
    guarded = True
    contained = True

    def strike(self, scene: Scene) -> None:
        scene.struck = time.time()
        scene.victim.signal(signal.SIGKILL)


class HostFrozen(Fault):
    """The harder half of a lost host: its connections stay open, and it comes back when another has acted."""

    name = "frozen"
    what = "task and watchdog are stopped (SIGSTOP), their connections stay; the guard acts; then they go on"
    promise = HOST_LOSS
    guarded = True
    lingers = True

    def strike(self, scene: Scene) -> None:
        scene.struck = time.time()
        scene.victim.signal(signal.SIGSTOP, companions=True)

    def aftermath(self, scene: Scene) -> None:
        scene.victim.signal(signal.SIGCONT, companions=True)
        scene.victim.go_on()


class CrashServer(Fault):
    promise = SERVER_BACK

    def __init__(self, side: Side) -> None:
        self.side = side
        self.name = str(side)
        self.what = f"crash of the {side} (SIGKILL of all its processes), started again at once"

    def strike(self, scene: Scene) -> None:
        server = scene.world.servers[self.side]
        server.kill()
        scene.victim.go_on()
        server.start()
        scene.struck = time.time()


class CrashPooler(Fault):
    name = "pooler"
    what = "SIGKILL of one PgBouncer of two, started again on its file"
    promise = SERVER_BACK

    def strike(self, scene: Scene) -> None:
        pooler = scene.world.bouncers[-1]
        pooler.kill()
        scene.victim.go_on()
        pooler.start()
        scene.struck = time.time()


class PoolerGone(Fault):
    """Its clients go to the other one meanwhile; whatever its file says, it may lead to no other side afterwards."""

    name = "pooler-gone"
    what = "SIGKILL of one PgBouncer of two, started again on its file when clients are served by the other"
    promise = SERVER_BACK

    def strike(self, scene: Scene) -> None:
        scene.struck = time.time()
        scene.world.bouncers[-1].kill()
        scene.victim.go_on()

    def aftermath(self, scene: Scene) -> None:
        scene.world.bouncers[-1].start()


class CutLine(Fault):
    """The servers reach each other no more, all else does. Undone when the budget is spent, at the latest."""

    promise = MAX_PAUSE + PROCESS_DEATH

    def __init__(self, name: str, existing: Existing, new: New) -> None:
        self.name, self.existing, self.new = name, existing, new
        self.what = f"connections between the sides: existing {existing}, new {new}; restored once clients are served"

    def strike(self, scene: Scene) -> None:
        for line in scene.world.lines.values():
            line.cut(existing=self.existing, new=self.new)
        scene.struck = time.time()
        scene.victim.go_on()

    def aftermath(self, scene: Scene) -> None:
        for line in scene.world.lines.values():
            line.restore()


class Terminated(Fault):
    """SIGTERM as Airflow's supervisor sends it when somebody marks or clears the task, and SIGKILL some time after."""

    name = "marked-failed"
    what = "SIGTERM of the task, SIGKILL 5 s later, as Airflow does where somebody marks it as failed"
    promise = SUPERVISOR + PROCESS_DEATH

    def strike(self, scene: Scene) -> None:
        scene.struck = time.time()
        scene.victim.signal(signal.SIGTERM)
        scene.victim.go_on()
        if not scene.victim.ended(SUPERVISOR):
            scene.victim.signal(signal.SIGKILL)


class Cleared(Terminated):
    name = "cleared"
    what = "SIGTERM of the task, and the task again, as Airflow does where somebody clears it"

    def aftermath(self, scene: Scene) -> None:
        again = scene.actor("cleared")
        again.cut_over(scene.direction)
        again.wait(60)


FAULTS: Sequence[Fault] = (
    KillTask(),
    KillWatchdog(),
    KillTaskAndWatchdog(),
    ContainerGone(),
    HostFrozen(),
    CrashServer(Side.SOURCE),
    CrashServer(Side.TARGET),
    CrashPooler(),
    PoolerGone(),
    CutLine("cut", Existing.RESET, New.REFUSE),
    CutLine("blackhole", Existing.BLACKHOLE, New.BLACKHOLE),
    Terminated(),
    Cleared(),
)


def fault(name: str) -> Fault:
    """The fault of that name."""
    return next(fault for fault in FAULTS if fault.name == name)
