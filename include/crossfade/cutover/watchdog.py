"""The watchdog, as the task sees it: a process of its own that takes over when the task dies or takes too long."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self
from uuid import UUID

from crossfade.cutover import luggage
from crossfade.errors import TransientError

if TYPE_CHECKING:
    from crossfade.migration import Migration

READY_SECONDS = 60.0  #: nobody is held yet, and a busy machine takes its time to start an interpreter
GRACE = 1.0  #: seconds beyond the budget in which the task may undo by itself
OPENING_SECONDS = 45.0  #: after the decision the task opens the new side, and tries again for a while


class NoWatchdog(TransientError):
    """The watchdog did not start."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the watchdog did not start, so clients were not held: {reason}. It is the process that would let them go "
            "on, were this task killed. Nothing was changed; look at the memory and processes of this worker, try again"
        )


class Watchdog:
    """
    A process in its own session, with its own stdio, that watches this one. As a context manager it runs on entry.

    When this process dies without having said that it is done, or the budget is spent, it kills it, ends its sessions
    and brings traffic to the side that has authority (`recovery.settle`). It also keeps the attempt's heartbeat.
    """

    def __init__(self, m: Migration, attempt: UUID) -> None:
        self.m, self.attempt = m, attempt
        self._process: subprocess.Popen[bytes] | None = None
        self._alone = False

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "crossfade.cutover.watchdog_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # one that held the task's would keep Airflow waiting for its end
            start_new_session=True,
            cwd="/",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        try:
            self._tell(json.dumps({"pid": os.getpid(), "attempt": str(self.attempt), **luggage.pack(self.m)}))
        except BaseException:
            self._process.kill()
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The task's own work is done, whatever came of it: nobody needs to take over."""
        with contextlib.suppress(NoWatchdog):
            self._tell("done")
        self._close()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it watches."""
        return self._process is not None and self._process.poll() is None

    def await_ready(self) -> None:
        """Return when it watches. Raises `NoWatchdog`."""
        assert self._process is not None and self._process.stdout is not None
        end = time.monotonic() + READY_SECONDS
        seen = b""
        while b"\n" not in seen:
            readable, _, _ = select.select([self._process.stdout], [], [], max(0.0, end - time.monotonic()))
            chunk = os.read(self._process.stdout.fileno(), 4096) if readable else b""
            if not chunk:
                said = seen.decode(errors="replace") or "nothing"
                raise NoWatchdog(f"it said {said} within {READY_SECONDS:g} s, exit status {self._process.poll()}")
            seen += chunk
        if seen.strip() != b"ready":
            raise NoWatchdog(seen.decode(errors="replace").strip())

    def budget(self, seconds: float) -> None:
        """Take over that many seconds and the grace from now, unless told otherwise. Raises `NoWatchdog`."""
        self._tell(f"budget {seconds + GRACE}")

    def decided(self) -> None:
        """The decision is taken: this process may try longer. Never raises: from here there is only forward."""
        with contextlib.suppress(NoWatchdog):
            self._tell(f"budget {OPENING_SECONDS}")

    def opened(self) -> None:
        """Clients are served: no more budget. Never raises."""
        with contextlib.suppress(NoWatchdog):
            self._tell("no budget")

    @contextlib.contextmanager
    def taking_over(self, *, but: tuple[type[BaseException], ...]) -> Iterator[None]:
        """Where the task gives up with another error than those, it goes on in the task's place."""
        try:
            yield
        except but:
            raise
        except BaseException:
            self.go_on_alone()
            raise

    def go_on_alone(self) -> None:
        """Settle what is left of the attempt, again and again until it is; this process may end. Never raises."""
        self._alone = True
        with contextlib.suppress(NoWatchdog):
            self._tell("take over")

    def _tell(self, line: str) -> None:
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise NoWatchdog(f"it is gone ({error})") from error

    def _close(self) -> None:
        assert self._process is not None
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if not self._alone:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
