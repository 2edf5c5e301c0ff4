"""Waiting while who serves is busy: a comparison is no hurry of the application's."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from crossfade.connect import Connection, scalar
from crossfade.plan_validate import BackOff
from crossfade.quantities import format_size

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
    waited: float = 0.0  #: seconds, for the report
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _next: float = 0.0

    def __call__(self) -> None:
        with self._lock:
            if time.monotonic() < self._next:
                return
            start = time.monotonic()
            while (why := self._busy()) and time.monotonic() - start < self.limits.patience.total_seconds():
                log.info("waiting: %s", why)
                time.sleep(1)
            now = time.monotonic()
            self.waited += now - start if now - start > 1 else 0.0
            self._next = now + _EVERY

    def _busy(self) -> str:
        """Why to wait; empty: go on."""
        if self.limits.active_sessions is not None:
            sessions = int(scalar(self.serving, _BUSY) or 0)
            if sessions > self.limits.active_sessions:
                return f"{sessions} sessions work at the same time, the plan allows {self.limits.active_sessions}"
        if self.limits.lag is not None and (behind := self.lag()) > self.limits.lag:
            return f"replication is {format_size(behind)} behind, the plan allows {format_size(self.limits.lag)}"
        return ""
