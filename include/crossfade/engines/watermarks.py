"""Tokens that are written on the source and awaited on the target: the proof that all before them has arrived."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from crossfade.connect import Connection, scalar
from crossfade.errors import DeadlineExceeded
from crossfade.queries import named_queries

_QUERIES = named_queries(__file__)


def wait_until(true: Callable[[], bool], deadline: float, what: str, seen: str) -> None:
    """Ask again every 2 ms until it is true. :param deadline: of `time.monotonic()`. Raises `DeadlineExceeded`."""
    start = time.monotonic()
    while not true():
        if time.monotonic() > deadline:
            raise DeadlineExceeded(what, seconds=time.monotonic() - start, seen=seen)
        time.sleep(0.002)


class Watermarks:
    """
    The watermarks of some streams.

    :param source: an autocommit session that may write them
    :param target: an autocommit session that reads them
    """

    def __init__(self, source: Connection, target: Connection, streams: Sequence[str]) -> None:
        self.source, self.target, self.streams = source, target, list(streams)

    def write(self) -> dict[str, int]:
        """A new token in each stream."""
        rows = self.source.execute(_QUERIES["write"], {"streams": self.streams}).fetchall()
        return {row["stream"]: row["token"] for row in rows}

    def round_trip(self, deadline: float) -> float:
        """Seconds that new tokens take through the slowest stream. Raises `DeadlineExceeded`."""
        start = time.monotonic()
        tokens = self.write()

        def arrived() -> bool:  # or a later one: several may write
            rows = self.target.execute(_QUERIES["seen"], {"streams": self.streams}).fetchall()
            seen = {str(row["stream"]): row["token"] for row in rows}
            return all(seen.get(stream, 0) >= token for stream, token in tokens.items())

        wait_until(arrived, deadline, "the watermark's way to the target", f"not all of {sorted(tokens)} have arrived")
        return time.monotonic() - start

    def age(self) -> float | None:
        """Seconds since the oldest of the tokens that were seen last was written; None before the first."""
        now = scalar(self.source, "SELECT clock_timestamp()")
        rows = self.target.execute(_QUERIES["seen"], {"streams": self.streams}).fetchall()
        return max(((now - row["written_at"]).total_seconds() for row in rows), default=None)


def flush(target: Connection) -> None:
    """
    One synchronous commit on the target takes to the disk all that was committed there before it.

    Who applies changes may do so with synchronous_commit=off. It has to write WAL: a transaction that only has an id
    is not waited for (RecordTransactionCommit of PostgreSQL).
    """
    with target.transaction():
        target.execute("SET LOCAL synchronous_commit = on")
        target.execute("SELECT pg_logical_emit_message(true, 'crossfade', '')")
