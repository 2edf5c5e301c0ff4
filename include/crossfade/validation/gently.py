"""Waiting while who serves is busy: a comparison is no hurry of the application's."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg

from crossfade.connect import Connection, scalar
from crossfade.errors import CrossfadeError
from crossfade.plan_validate import BackOff
from crossfade.quantities import format_size, spoken

log = logging.getLogger(__name__)

_EVERY = 5.0  #: seconds between two looks
_BUSY = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND state = 'active' AND backend_type = 'client backend'
      AND application_name NOT LIKE 'crossfade/%'"""


@dataclass
class Gently:
    """
    Called before each part, from several threads; one of them looks, and all wait for what it saw.

    :param serving: an autocommit session on the side that serves, for this alone
    :param lag: bytes that replication is behind
    """

    limits: BackOff
    serving: Connection
    lag: Callable[[], int]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _next: float = 0.0
    _reservation: str = ""

    def __call__(self) -> str:
        """Wait, for the plan's patience at most. What the report has to say if it goes on all the same; else empty."""
        with self._lock:
            if time.monotonic() >= self._next:
                try:
                    self._reservation = self._wait()
                except (psycopg.Error, CrossfadeError) as error:  # comparing says what is wrong with a side
                    self._reservation = f"it could not be seen how busy who serves is: {' '.join(str(error).split())}"
                if self._reservation:
                    log.warning("going on, although %s", self._reservation)
                self._next = time.monotonic() + _EVERY
            return self._reservation

    def _wait(self) -> str:
        """Why it was not waited for longer; empty: nothing is in the way."""
        deadline = time.monotonic() + self.limits.patience.total_seconds()
        while why := self._busy():
            if time.monotonic() > deadline:
                return f"{why}, also after {spoken(self.limits.patience)}"
            log.info("waiting: %s", why)
            time.sleep(1)
        return ""

    def _busy(self) -> str:
        """Why to wait; empty: go on."""
        if self.limits.active_sessions is not None:
            sessions = int(scalar(self.serving, _BUSY) or 0)
            if sessions > self.limits.active_sessions:
                return f"{sessions} sessions work at the same time, the plan allows {self.limits.active_sessions}"
        if self.limits.lag is not None and (behind := self.lag()) > self.limits.lag:
            return f"replication is {format_size(behind)} behind, the plan allows {format_size(self.limits.lag)}"
        return ""
