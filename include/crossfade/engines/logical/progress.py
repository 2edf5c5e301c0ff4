"""Progress of a copy in the log: per cent, rows/s, MB/s, time left."""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta
from typing import Any

import psycopg

from crossfade.connect import Connection, Endpoint
from crossfade.errors import Unreachable
from crossfade.quantities import format_size

log = logging.getLogger(__name__)

EVERY = 2.0  #: seconds between two lines

_UNDER_WAY = """
    SELECT COALESCE(sum(p.tuples_processed), 0)::bigint AS rows, COALESCE(sum(p.bytes_processed), 0)::bigint AS bytes
    FROM pg_stat_progress_copy p JOIN pg_stat_activity a USING (pid) WHERE a.application_name = %s"""


class ProgressLog:
    """
    A thread that writes a line every few seconds, from what the target's server says of the running COPYs.

    The copy itself counts nothing: a counter in its path would cost a Python call a row.
    """

    def __init__(self, target: Endpoint, application: str, total_bytes: int) -> None:
        self._target, self._application, self._total = target, f"crossfade/{application}"[:63], max(total_bytes, 1)
        self._done_bytes = self._done_rows = 0
        self._start = time.monotonic()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="copy progress", daemon=True)

    def __enter__(self) -> ProgressLog:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def done(self, size: int, rows: int) -> None:
        """A stretch is complete."""
        self._done_bytes += size
        self._done_rows += rows

    def _watch(self) -> None:
        try:
            with self._target.session("progress") as conn:
                while not self._end.wait(EVERY):
                    self._write(conn)
        except (psycopg.Error, Unreachable) as error:
            log.warning("progress can not be shown any more: %s", error)

    def _write(self, conn: Connection) -> None:
        running: dict[str, Any] = conn.execute(_UNDER_WAY, [self._application]).fetchone() or {"rows": 0, "bytes": 0}
        seconds = time.monotonic() - self._start
        size = min(self._done_bytes + running["bytes"], self._total)
        rows = self._done_rows + running["rows"]
        left = timedelta(seconds=round((self._total - size) * seconds / size)) if size else None
        log.info(
            "copied %3.0f %% · %s of %s · %s rows · %.0f rows/s · %.1f MB/s · %s left",
            100 * size / self._total,
            format_size(size),
            format_size(self._total),
            rows,
            rows / seconds,
            size / seconds / 2**20,
            left if left is not None else "unknown",
        )
