"""Actors that run the real code in threads, one at a time, and stop before each effect: nothing happens by chance."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum
from typing import Any

SHORTEST_SLEEP = 0.5  #: seconds: the clock is coarse, so that deadlines come after few stops


class Died(BaseException):
    """The process that this thread stands for was killed: it has no effect on anything any more."""


class Fault(Enum):
    """What befalls the effect before which an actor has stopped."""

    LOST_BEFORE = "the connection breaks before the statement arrives"
    LOST_AFTER = "the statement is done, its answer is lost"
    DIES_AFTER = "the process is killed when the effect is done"


class Actor:
    """Something that runs by itself: a task, an abort, a guard, a watchdog that takes over."""

    def __init__(self, scheduler: Scheduler, name: str, call: Callable[[], object]) -> None:
        self.scheduler, self.name, self._call = scheduler, name, call
        self.at = "its beginning"  #: the effect before which it has stopped
        self.dead = self.done = False
        self.error: BaseException | None = None
        self.fault: Fault | None = None
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self.dead:
                self._call()
        except Died:
            pass
        except BaseException as error:
            self.error = error
        self.done = True
        self._back.release()

    def step(self, fault: Fault | None = None) -> None:
        """Let it have the effect before which it has stopped, and go on to the next one."""
        if self.done:
            return
        before, self.scheduler.running = self.scheduler.running, self
        self.fault = fault
        self._go.release()
        self._back.acquire()
        self.scheduler.running = before
        if self.done:
            self._thread.join()

    def die(self) -> None:
        """Kill it where it is. An actor that kills itself goes on to its next effect, which it has not."""
        self.dead = True
        if self.scheduler.running is not self:
            self.step()

    def stop(self, before: str) -> Fault | None:
        """Wait, in its own thread, until the next effect may happen; what befalls it."""
        if self.dead:
            raise Died
        self.at = before
        self._back.release()
        self._go.acquire()
        if self.dead:
            raise Died
        fault, self.fault = self.fault, None
        return fault


class Scheduler:
    """Who runs now, and what the clock says. Stands for the module `time` in the code under test."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.running: Actor | None = None
        self.actors: list[Actor] = []

    def start(self, name: str, call: Callable[[], object]) -> Actor:
        """A new actor; it does nothing yet."""
        actor = Actor(self, name, call)
        self.actors.append(actor)
        return actor

    def stop(self, before: str) -> Fault | None:
        """Called by the world before each effect. Whoever is no actor, such as the test, is not stopped."""
        return self.running.stop(before) if self.running else None

    def require_alive(self) -> None:
        """Raises `Died` where the process that runs was killed."""
        if self.running is not None and self.running.dead:
            raise Died

    @property
    def alive(self) -> list[Actor]:
        """Actors that have not ended."""
        return [actor for actor in self.actors if not actor.done]

    # --- the module `time`

    def monotonic(self) -> float:
        """Seconds."""
        return self.now

    def time(self) -> float:
        """Seconds."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Time passes when whoever sleeps is let go on."""
        until = self.now + max(seconds, SHORTEST_SLEEP)
        self.stop("sleep")
        self.now = max(self.now, until)


class InlinePool:
    """Stands for a ThreadPoolExecutor: what it is given happens at once, in the actor's own thread."""

    def __init__(self, *args: object) -> None: ...

    def __enter__(self) -> InlinePool:
        return self

    def __exit__(self, *args: object) -> None: ...

    def submit(self, call: Callable[..., Any], *args: Any) -> Any:
        """A future that is there already."""
        from concurrent.futures import Future

        future: Future[Any] = Future()
        try:
            future.set_result(call(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, wait: bool = True) -> None:
        """Nothing is under way."""
