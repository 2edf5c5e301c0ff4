"""A fleet of PgBouncers as a router: hold the clients of our database names, lead them elsewhere, let them go on.

Every instance is spoken to in parallel, so that one that hangs delays no other.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Self, TypeVar

from crossfade.connect import Endpoint
from crossfade.errors import CrossfadeError, FatalError, TransientError
from crossfade.plan_routers import PgBouncerRouter
from crossfade.routers.base import PauseTimeout, Side
from crossfade.routers.files import SwitchFileUnusable
from crossfade.routers.pgbouncer_console import (
    Console,
    ConsoleRefused,
    NoAnswer,
    Observation,
    ServedDatabase,
    holders,
    quoted,
)
from crossfade.routers.pgbouncer_ini import Destination
from crossfade.routers.pgbouncer_sides import Sides
from crossfade.routers.pgbouncer_switch import SwitchFilesLeft, switch_of
from crossfade.ssh import Ssh, no_ssh

log = logging.getLogger(__name__)
T = TypeVar("T")
QUIET = 0.05  #: seconds without a login of PgBouncer to PostgreSQL that come before a PAUSE …
QUIET_PATIENCE = 0.5  #: … and for how many seconds they are waited for


class InstancesFailed(TransientError):
    """Some instances of the fleet could not be dealt with; all others were."""

    def __init__(self, doing: str, *, failed: Mapping[str, Exception], done: Sequence[str]) -> None:
        self.failed, self.done = dict(failed), tuple(done)
        reasons = "; ".join(f"{name}: {' '.join(str(error).split())}" for name, error in failed.items())
        rest = f"Done on {', '.join(done)}" if done else "Done on no instance"
        super().__init__(f"{doing} failed on {len(failed)} of {len(failed) + len(done)} instances: {reasons}. {rest}")


class PauseLost(TransientError):
    """Clients were not held although every instance had confirmed it: somebody else resumed. Traffic flows."""


class StillPaused(TransientError):
    """An instance is paused again after every RESUME: somebody else pauses it."""


class PointsElsewhere(FatalError):
    """Instances lead to different databases, or to neither of the plan's."""

    def __init__(self, problem: str, *, seen: Mapping[str, str], sides: Mapping[Side, Destination]) -> None:
        self.seen = dict(seen)
        shown = "; ".join(f"{name} shows {what}" for name, what in seen.items())
        known = ", ".join(f"{side.value} is {where}" for side, where in sides.items())
        super().__init__(f"{problem}: {shown}. Known: {known}")


class PgBouncerFleet:
    """
    One `pgbouncer` router of a plan: a `Router`, `Pausing`, `Forewarning`, `Restartable`. For one thread at a time.

    :param entry: the router as the plan declares it
    :param consoles: the admin console of every instance, in the order of ``entry.admin``
    :param sides: where each database is, as the poolers reach it (host, port and dbname count)
    :param ssh: SSH connection id -> how a pooler's host is reached; asked when the switch file is on another host
    """

    def __init__(
        self,
        *,
        entry: PgBouncerRouter,
        consoles: Sequence[Endpoint],
        sides: Mapping[Side, Endpoint],
        ssh: Ssh = no_ssh,
    ) -> None:
        self.entry = entry
        self.names = entry.database
        self.consoles = tuple(Console(endpoint) for endpoint in consoles)
        self.sides = Sides(sides, self.names)
        self._switch = switch_of(entry.switch, self.names, self.sides, ssh)
        # PAUSE blocks its console: one more a name and instance, for nothing else
        self._pausers = {
            (console.name, name): Console(console.endpoint) for console in self.consoles for name in self.names
        }
        self._threads = ThreadPoolExecutor(len(self.consoles) + len(self._pausers), "pgbouncer")

    @property
    def label(self) -> str:
        """Kind and names, for messages."""
        return f"PgBouncer {', '.join(self.names)}"

    def open(self) -> None:
        """
        Connect to every console, and to the hosts of the switch file, so that neither pause nor switch need.

        Raises `InstancesFailed`, naming the unreachable; what `ssh_client.connect` raises.
        """
        everything = [*self.consoles, *self._pausers.values()]
        futures = [(console.name, self._threads.submit(console.open)) for console in everything]
        _, failed = _gather(futures)
        self._complain("connecting to the console", failed)
        self._switch.open()

    def close(self) -> None:
        """Drop every connection. The fleet may be opened again."""
        for console in (*self.consoles, *self._pausers.values()):
            console.close()
        self._switch.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._threads.shutdown(wait=False)

    # --- Pausing

    def pause(self, deadline: float) -> None:
        """
        Hold the clients of our names on every instance; transactions under way finish first.

        Whatever goes wrong, every instance is resumed before this raises.

        :param deadline: `time.monotonic()` after which it gives up.
            Raises `PauseTimeout` naming what held it, `InstancesFailed`, `PauseLost`.
        """
        start = time.monotonic()
        self.open()
        try:
            self._pause_all(deadline, allowed=deadline - start)
            self._verify_paused()
        except BaseException as error:
            self._undo_pause(error)
            raise
        log.info("PgBouncer holds clients of %s after %.0f ms", self.names, (time.monotonic() - start) * 1000)

    def _pause_all(self, deadline: float, *, allowed: float) -> None:
        futures = [
            (instance, self._threads.submit(_pause, pauser, name, deadline))
            for (instance, name), pauser in self._pausers.items()
        ]
        # one failure ends it all: nobody is held a moment longer for it
        finished, _ = wait([future for _, future in futures], return_when=FIRST_EXCEPTION)
        _, failed = _gather([(instance, future) for instance, future in futures if future in finished])
        if late := [name for name, error in failed.items() if isinstance(error, NoAnswer)]:
            raise PauseTimeout(
                f"PAUSE {', '.join(self.names)} on {', '.join(late)}", seconds=allowed, seen=self._holders()
            )
        self._complain(f"PAUSE {', '.join(self.names)}", failed)

    def _verify_paused(self) -> None:
        """An answer to PAUSE can also come from another PAUSE's end: look."""
        shown = self._on_all("checking the pause", Console.databases)
        flowing = [instance for instance, dbs in shown.items() if not all(dbs[name].paused for name in self.names)]
        if flowing:
            raise PauseLost(f"{', '.join(flowing)} did not stay paused: somebody else resumed")

    def _undo_pause(self, error: BaseException) -> None:
        """Let traffic flow again; a failure of that is joined to what went wrong first."""
        for pauser in self._pausers.values():
            pauser.abort()  # an unanswered PAUSE would take the answer of a later one
        try:
            self.resume()
        except CrossfadeError as second:
            raise second from error

    def _holders(self) -> str:
        """Who keeps server connections busy, in words."""
        found, failed = self._each(lambda console: holders(console, self.names))
        words = [line for lines in found.values() for line in lines]
        words += [f"{name} could not be asked: {error}" for name, error in failed.items()]
        return "; ".join(words) or "nothing: it had just become free"

    # --- Router

    def resume(self) -> None:
        """
        Let held clients go on, and end a PAUSE that still waits; nothing where nothing is paused.

        Every instance is tried. Raises `InstancesFailed` afterwards, naming those that could not be.
        """
        self._on_all(f"RESUME {', '.join(self.names)}", self._resume_on)

    def _resume_on(self, console: Console) -> None:
        for _ in range(3):  # the last look sees nothing paused
            paused = [name for name, shown in console.databases().items() if name in self.names and shown.paused]
            if not paused:
                return
            for name in paused:
                try:
                    console.command(f"RESUME {quoted(name)}")
                except ConsoleRefused as error:
                    if "not paused" not in error.reason:  # somebody was quicker
                        raise
        raise StillPaused(f"{', '.join(paused)} is paused again after every RESUME: somebody else pauses it")

    def serving(self) -> Side:
        """
        The side that every name on every instance leads to.

        Raises `PointsElsewhere` where they differ or lead to neither, `InstancesFailed` where some cannot be asked.
        """
        shown = self._on_all("SHOW DATABASES", Console.databases)
        found = {instance: self.sides.shown(databases) for instance, databases in shown.items()}
        sides = set(found.values())
        if len(sides) != 1 or None in sides:
            seen = {instance: self.sides.in_words(databases) for instance, databases in shown.items()}
            raise PointsElsewhere("PgBouncer does not lead to one side", seen=seen, sides=self.sides.at)
        return next(side for side in sides if side is not None)

    def repoint(self, side: Side) -> None:
        """
        Lead our names to that side on every instance, verified by SHOW DATABASES; nothing where they do already.

        Every instance is tried. Raises `SwitchFileUnusable`, `SwitchFileUnreachable` before anything changed,
        `SwitchFilesLeft` where only some of several hosts have the new file, `PointsElsewhere` where an instance did
        not follow (a RELOAD of a broken file reports success), `InstancesFailed` where some could not be told.
        """
        left = self._switch.prepare(side)
        shown, failed = self._each(lambda console: self._repoint_on(console, side))
        astray = {name: self.sides.in_words(dbs) for name, dbs in shown.items() if self.sides.shown(dbs) is not side}
        behind = astray | {name: f"no answer ({error})" for name, error in failed.items()}
        if left:
            raise SwitchFilesLeft(left=left, behind=behind)
        if astray:
            raise PointsElsewhere(
                f"PgBouncer did not follow to the {side.value}; read its log for what it refused to load",
                seen=behind,
                sides=self.sides.at,
            )
        self._complain(f"switching to the {side.value}", failed)
        log.info("PgBouncer leads %s to the %s (%s)", self.names, side.value, self.sides.at[side])

    def _repoint_on(self, console: Console, side: Side) -> dict[str, ServedDatabase]:
        shown = console.databases()
        if self.sides.shown(shown) is side and self._switch.is_set(console, side):
            return shown
        self._switch.set(console, side)
        console.command("RELOAD")
        shown = console.databases()
        if self.sides.shown(shown) is not side:
            self._switch.take_back(console)
        return shown

    def switch_problems(self) -> list[SwitchFileUnusable]:
        """Why the switch file, on each host that has it, could not be rewritten; empty where it could everywhere."""
        return self._switch.problems()

    def obstacles(self) -> list[str]:
        """What would keep a switch from being thrown."""
        return [str(problem) for problem in self._switch.problems()]

    def after_restart(self, side: Side) -> list[str]:
        """See `Restartable`. Raises what `Console.command` and `Files.read` raise."""
        return self._switch.after_restart(self.consoles, side)

    # --- all instances at once

    def observe(self) -> tuple[dict[str, Observation], dict[str, Exception]]:
        """What every instance says of itself, and why some could not be asked; for the assessment."""
        return self._each(Console.observe)

    def server_pids(self) -> set[int]:
        """
        The pids of all sessions of the fleet, as the servers count them: whatever address they seem to come from.

        Raises `InstancesFailed` where an instance cannot be asked.
        """
        return set().union(*self._on_all("SHOW SERVERS", Console.server_pids).values())

    def _on_all(self, doing: str, call: Callable[[Console], T]) -> dict[str, T]:
        done, failed = self._each(call)
        self._complain(doing, failed)
        return done

    def _each(self, call: Callable[[Console], T]) -> tuple[dict[str, T], dict[str, Exception]]:
        return _gather([(console.name, self._threads.submit(call, console)) for console in self.consoles])

    def _complain(self, doing: str, failed: Mapping[str, Exception]) -> None:
        if failed:
            done = [console.name for console in self.consoles if console.name not in failed]
            raise InstancesFailed(doing, failed=failed, done=done)


def _pause(pauser: Console, name: str, deadline: float) -> None:
    """
    PAUSE one name at a moment without logins to PostgreSQL; until then its clients are not held.

    PAUSE cuts a login half-way, which PgBouncer takes for a failing server: it refuses clients, and tries again after
    `server_login_retry` (measured with 1.18: failed clients, and a stall of 1.1 s at 1 s; the default is 15 s).
    """
    quiet_since = time.monotonic()
    patience = min(deadline, quiet_since + QUIET_PATIENCE)
    while True:
        busy = any(pool.logins for pool in pauser.pools() if pool.database == name)
        now = time.monotonic()
        quiet_since = now if busy else quiet_since
        if now - quiet_since >= QUIET or now >= patience:
            break
        time.sleep(0.005)
    pauser.command_once(f"PAUSE {quoted(name)}", deadline)


def _gather(futures: Sequence[tuple[str, Future[T]]]) -> tuple[dict[str, T], dict[str, Exception]]:
    """Wait for all: what each returned, and which failed. A bug is raised as it is."""
    done: dict[str, T] = {}
    failed: dict[str, Exception] = {}
    for name, future in futures:
        try:
            done[name] = future.result()
        except CrossfadeError as error:
            failed[name] = error
    return done, failed
