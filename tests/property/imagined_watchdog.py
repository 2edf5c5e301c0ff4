"""A watchdog of the imagination: what it hears and does is real, its process and what wakes it are not."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from imagined_actors import Actor

from crossfade.cutover import watchdog as watchdog_module
from crossfade.cutover import watchdog_process as process

if TYPE_CHECKING:
    from imagined_world import World


class Watching:
    """A watchdog's process: the real `Watch` hears what its task says; what wakes it is decided here."""

    def __init__(self, world: World, attempt: UUID, task: Actor | None) -> None:
        self.world, self.task, self.alive = world, task, True
        self.watch = process.Watch.__new__(process.Watch)
        self.watch.m, self.watch.attempt = world.m, attempt
        self.watch._deadline, self.watch._heart = None, []
        self.watch._said, self.watch._done, self.watch.asked = b"", False, False
        self.takes_over: Actor | None = None

    def hear(self, line: str) -> None:
        """What the task says."""
        if not self.alive:
            raise watchdog_module.NoWatchdog("it was killed")
        self.world.said = line.encode() + b"\n"
        self.watch._listen()

    @property
    def needed(self) -> bool:
        """Whether it must take over."""
        if not self.alive or self.watch._done or self.takes_over is not None:
            return False
        late = self.watch._deadline is not None and self.world.scheduler.now > self.watch._deadline
        return self.watch.asked or late or (self.task is not None and self.task.dead)

    def wake(self) -> None:
        """Take over."""
        if self.task is not None and not self.watch.asked:
            self.world.kill(self.task, lands=False)
        self.takes_over = self.world.scheduler.start("watchdog", self.watch.take_over)

    def die(self) -> None:
        """Killed, with whatever it was doing. Its last heartbeat was just now."""
        for database in self.world.databases.values():
            for attempt in database.state.attempts:
                if attempt["id"] == self.watch.attempt:
                    attempt["beat"] = self.world.scheduler.now
        self.alive = False
        if self.takes_over is not None:
            self.world.kill(self.takes_over, lands=False)


class ImaginedWatchdog(watchdog_module.Watchdog):
    """The task's end of it: all but its process is real."""

    world: World  #: set for each world

    def __enter__(self) -> ImaginedWatchdog:
        self.world.scheduler.stop("start watchdog")
        self.process = Watching(self.world, self.attempt, self.world.scheduler.running)
        self.world.watchdogs.append(self.process)
        return self

    @property
    def alive(self) -> bool:
        """Whether it watches."""
        return self.process.alive

    def await_ready(self) -> None:
        """Raises `NoWatchdog`."""
        self.world.scheduler.stop("await watchdog")
        if not self.process.alive:
            raise watchdog_module.NoWatchdog("it was killed")

    def _tell(self, line: str) -> None:
        self.world.scheduler.require_alive()
        self.process.hear(line)

    def _close(self) -> None: ...
