"""The watchdog's own process: waits for the end of the task or of its budget, keeps the heartbeat, takes over."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import UUID

import psycopg

from crossfade.connect import Endpoint
from crossfade.cutover import decision, luggage, recovery
from crossfade.errors import CrossfadeError

if TYPE_CHECKING:
    from crossfade.migration import Migration

log = logging.getLogger(__name__)

BEAT = 1.0  #: seconds between heartbeats
TAKEOVER_SECONDS = 3600.0  #: for how long it tries to bring traffic to the side that has authority
DIE_SECONDS = 5.0  #: a process that was killed may take that long to be gone


class Watch:
    """
    Waits beside a task.

    :param pid: the task, our parent
    """

    def __init__(self, m: Migration, attempt: UUID, pid: int) -> None:
        self.m, self.attempt = m, attempt
        self._task = os.pidfd_open(pid)
        self._deadline: float | None = None
        self._said = b""
        self._done = False
        self.asked = False  #: the task gives up by itself, and lives

    def until_needed(self) -> str | None:
        """Why this process must take over; None when the task has done its own work."""
        for endpoint in (self.m.source, self.m.target):
            threading.Thread(target=self._beat, args=[endpoint], daemon=True).start()
        while True:
            left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
            readable, _, _ = select.select([sys.stdin, self._task], [], [], left)
            if sys.stdin in readable and not self._listen() and not (self._done or self.asked):
                return "the task is gone"
            if self._done:
                return None
            if self.asked:
                return "the task asks for it"
            if self._task in readable:
                return "the task is dead"
            if self._deadline is not None and time.monotonic() > self._deadline:
                return "the budget of the pause is spent"

    def _listen(self) -> bool:
        """Take in what the task says; False at its end."""
        chunk = os.read(sys.stdin.fileno(), 65536)
        self._said += chunk
        *lines, self._said = self._said.split(b"\n")
        for line in lines:
            word, _, rest = line.decode().partition(" ")
            if word == "budget":
                self._deadline = time.monotonic() + float(rest)
            elif word == "no":
                self._deadline = None
            elif word == "take":
                self.asked = True
            elif word == "done":
                self._done = not self.asked
        return bool(chunk)

    def _beat(self, endpoint: Endpoint) -> None:
        """Keep the heartbeat on one side, in a thread: a host that does not answer must not hold the watch up."""
        while True:
            with suppress(CrossfadeError, psycopg.Error), endpoint.session(f"{self.m.plan.name}/watchdog") as conn:
                while True:
                    decision.beat(conn, self.attempt)
                    time.sleep(BEAT)
            time.sleep(BEAT)

    def kill(self) -> None:
        """End the task for good: a process that is only slow must not act beside us."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._task, signal.SIGKILL)
        select.select([self._task], [], [], DIE_SECONDS)

    def take_over(self) -> None:
        """Bring traffic to the side that has authority, however long it takes until that side can be reached."""
        deadline = time.monotonic() + TAKEOVER_SECONDS
        pause = 0.1
        while time.monotonic() < deadline:
            try:
                recovery.settle(self.m, only=self.attempt, patience=0)
                return
            except Exception as error:  # nobody else is there to look after the clients: go on
                log.warning("trying again: %s", error)
            time.sleep(pause)
            pause = min(pause * 1.5, 2.0)


def main() -> None:
    """Read what to watch from standard input, say that it is watched, and wait."""
    os.umask(0o077)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    said = json.loads(_first_line())
    watch = Watch(luggage.unpack(said), UUID(said["attempt"]), said["pid"])
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    if watch.until_needed() is not None:
        if not watch.asked:
            watch.kill()
        watch.take_over()


def _first_line() -> bytes:
    """Byte by byte: what follows belongs to the watch."""
    line = b""
    while not line.endswith(b"\n"):
        chunk = os.read(sys.stdin.fileno(), 1)
        if not chunk:
            sys.exit(1)
        line += chunk
    return line


if __name__ == "__main__":
    main()
