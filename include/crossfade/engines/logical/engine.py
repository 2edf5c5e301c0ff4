"""The engine `logical`: loads waves, tells the lag, drains, stops and goes on."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from crossfade import catalog, control
from crossfade.catalog import Table
from crossfade.connect import Connection, end_sessions, scalar
from crossfade.engines.base import Drained, Lag, Progress, TableProgress
from crossfade.engines.logical.load import Loaded, TableChanged, WaveCopy, tables_held
from crossfade.engines.logical.stream import Stream
from crossfade.engines.watermarks import Watermarks, flush, wait_until
from crossfade.errors import DeadlineExceeded, FatalError
from crossfade.journal import Journal, MigrationRecord
from crossfade.queries import named_queries
from crossfade.routers.base import Side
from crossfade.schema.archive import classify, entries
from crossfade.schema.harden import unharden
from crossfade.schema.restore import IndexBuilder

if TYPE_CHECKING:
    from crossfade.migration import Migration

log = logging.getLogger(__name__)

_QUERIES = named_queries(__file__)


class SlotMissing(FatalError):
    """A slot that the stream needs is gone or has lost its WAL."""

    def __init__(self, *, slot: str, seen: str) -> None:
        super().__init__(
            f"the slot {slot} on the source is {seen}: changes since then are lost to this stream. "
            "Clear the load task of its wave, with all that follows: it is copied again from the start"
        )


class LogicalEngine:
    """
    Native logical replication, in waves.

    :param source: an autocommit session on the publisher
    :param target: an autocommit session on the subscriber
    """

    def __init__(self, m: Migration, *, source: Connection, target: Connection, record: MigrationRecord) -> None:
        self.m, self.source, self.target, self.record = m, source, target, record
        self.journal = Journal(target)
        self.waves = self.journal.waves(record.id)
        self.streams = m.streams(self.waves)
        self.marks = Watermarks(source, target, [stream.watermark for stream in self.streams])

    def exempt(self, side: Side) -> set[str]:
        """The role of the subscriptions, as the source sees it."""
        return {self.m.source_from_target.user} if side is Side.SOURCE else set()

    def carriers(self) -> set[str]:
        """None: subscriptions apply as the migration's own role."""
        return set()

    # --- loading --------------------------------------------------------------------------------------------------

    def load(self, wave: int) -> Loaded:
        """Copy a wave and start its stream; nothing to do where it streams. Whatever an earlier try left is removed."""
        stream = self.m.streams({wave: self.waves[wave]})[0]
        purpose = f"{self.m.plan.name}/{wave}"
        for side in (self.source, self.target):
            for application in (purpose, f"{purpose}/copy"):
                if ended := end_sessions(side, f"crossfade/{application}"):
                    log.info("ended %s sessions of an earlier try", ended)
        if self._streams(wave, stream):
            log.info("wave %s streams already: nothing to copy", wave)
            return Loaded(rows=0, bytes=0, seconds=0)
        tables = self._tables(wave)
        self._start_over(stream, tables)
        stream.publish(self.source)
        loaded = self._copy(wave, stream, tables, purpose)
        stream.subscribe(self.target)
        for table in tables:
            self.journal.set_part(self.record.id, (table.schema, table.name), state="streaming")
        log.info("wave %s: %s rows in %.1f s; changes stream from now on", wave, loaded.rows, loaded.seconds)
        return loaded

    def _streams(self, wave: int, stream: Stream) -> bool:
        slot, subscription = stream.slot(self.source), stream.subscription(self.target)
        states = {part["state"] for part in self.journal.parts(self.record.id) if part["wave"] == wave}
        return (
            states == {"streaming"} and slot is not None and slot["wal_status"] != "lost" and subscription is not None
        )

    def _tables(self, wave: int) -> list[Table]:
        found = {(t.schema, t.name): t for t in catalog.tables(self.source, self.m.plan.tables)}
        if gone := [f"{schema}.{name}" for schema, name in self.waves[wave] if (schema, name) not in found]:
            raise TableChanged(tables=gone)
        return [found[name] for name in self.waves[wave]]

    def _start_over(self, stream: Stream, tables: list[Table]) -> None:
        """Remove what an earlier try made: the subscription, the slot, then the publication; and empty the tables."""
        stream.drop_subscription(self.target)
        stream.drop_slot(self.source)
        stream.unpublish(self.source)
        control.add_stream(self.target, stream.watermark)
        unharden(self.target, [(table.schema, table.name) for table in tables], log.info)
        names = sql.SQL(", ").join(table.identifier for table in tables)
        self.target.execute(sql.SQL("TRUNCATE {}").format(names))
        for table in tables:
            self.journal.set_part(self.record.id, (table.schema, table.name), state="waiting", rows=0)

    def _copy(self, wave: int, stream: Stream, tables: list[Table], purpose: str) -> Loaded:
        load = self.m.plan.load
        archived = entries(self.record.archive or b"")
        copy = WaveCopy(
            source=self.m.source,
            target=self.m.target,
            journal=self.journal,
            migration=self.record.id,
            purpose=purpose,
            origin=f"{stream.name}_copy",
            tables=tables,
            indexes=IndexBuilder(archived, classify(self.source, archived)),
            jobs=load.jobs,
            split_larger_than=load.split_larger_than,
        )
        with ExitStack() as held:
            snapshot = held.enter_context(
                stream.new_slot(self.m.source, self.source, purpose=purpose, timeout=load.slot_timeout)
            )
            holder = held.enter_context(self.m.session(Side.SOURCE, str(wave)))
            held.enter_context(tables_held(holder, tables))
            log.info("wave %s: copying %s tables as of %s", wave, len(tables), snapshot.lsn)
            return copy.run(snapshot.name)

    def progress(self) -> Progress:
        """What the journal says of every table."""
        parts = self.journal.parts(self.record.id)
        total = sum(part["bytes"] for part in parts) or 1
        done = sum(part["bytes"] for part in parts if part["state"] == "streaming")
        return Progress(
            tables=tuple(
                TableProgress(
                    table=part["table_name"],
                    wave=part["wave"],
                    state=part["state"],
                    rows=part["rows"],
                    bytes=part["bytes"],
                )
                for part in parts
            ),
            part=done / total,
        )

    # --- streaming ------------------------------------------------------------------------------------------------

    def lag(self, patience: float = 2.0) -> Lag:
        """
        How far behind the slowest stream is; writes a watermark on the source and waits for it that many seconds.

        Raises `SlotMissing`.
        """
        size = max((slot["bytes_behind"] for slot in self._slots()), default=0)
        try:
            return Lag(bytes=size, seconds=self.round_trip(time.monotonic() + patience), method="watermark")
        except DeadlineExceeded:
            return Lag(bytes=size, seconds=self.marks.age(), method="watermark")

    def round_trip(self, deadline: float) -> float:
        """Seconds that a watermark takes through the slowest stream. Raises `DeadlineExceeded`."""
        return self.marks.round_trip(deadline)

    def wait_caught_up(self, deadline: float) -> None:
        """
        Return when the target has applied all that the source had committed when this was called.

        Reads only, so that several may wait at once. Raises `DeadlineExceeded`.
        """
        self._await_flush(str(scalar(self.source, "SELECT pg_current_wal_insert_lsn()")), deadline)

    def _await_flush(self, lsn: str, deadline: float) -> None:
        def passed() -> bool:
            return all(slot["passed"] for slot in self._slots(lsn))

        wait_until(passed, deadline, f"confirming {lsn}", "a slot is behind it")

    def _slots(self, lsn: str | None = None) -> list[dict[str, Any]]:
        names = [stream.name for stream in self.streams]
        rows = self.source.execute(_QUERIES["slots"], {"names": names, "lsn": lsn}).fetchall()
        for name in set(names) - {row["slot_name"] for row in rows}:
            raise SlotMissing(slot=name, seen="missing")
        for row in rows:
            if row["wal_status"] == "lost":
                raise SlotMissing(slot=row["slot_name"], seen="invalidated (wal_status = lost)")
        return rows

    def check(self) -> None:
        """Raise `StreamIncomplete` or `SlotMissing` unless every stream carries all of its tables."""
        self._slots()
        for stream in self.streams:
            stream.check(self.target)

    def drain(self, deadline: float) -> Drained:
        """
        Wait until all that was committed on the source before this call has been applied, and is safe on the disk.

        The position is taken now, after the writers have stopped. Two proofs: a watermark through every stream,
        and every slot's confirmed_flush_lsn at or past the position. Raises `DeadlineExceeded`.
        """
        start = time.monotonic()
        lsn = str(scalar(self.source, "SELECT pg_current_wal_insert_lsn()"))
        self.marks.round_trip(deadline)
        flush(self.target)
        self.marks.write()  # what arrives makes the worker report its flush position, else up to 200 ms late
        self._await_flush(lsn, deadline)
        return Drained(lsn=lsn, seconds=time.monotonic() - start)

    def stop(self, deadline: float) -> None:
        """Disable every subscription; returns when nothing can be applied any more. Raises `DeadlineExceeded`."""
        for stream in self.streams:
            stream.disable(self.target, self.source, deadline)

    def resume(self) -> None:
        """Go on applying, where it was stopped and no reverse traffic has been."""
        for stream in self.streams:
            stream.enable(self.target)

    def retire(self) -> None:
        """Nothing: the subscriptions are disabled since the pause."""

    def finish(self) -> None:
        """Nothing: `stop` was the end, and nothing was taken off the target's definitions."""

    def release(self) -> None:
        """Nothing: rows run from server to server."""

    def drop(self) -> None:
        """Remove subscriptions, slots, publications, watermarks and leftover origins; safe to call again."""
        for stream in self.streams:
            stream.drop_subscription(self.target)
            stream.drop_slot(self.source)
            stream.unpublish(self.source)
            control.drop_stream(self.source, stream.watermark)
            control.drop_stream(self.target, stream.watermark)
        try:
            self.target.execute(_QUERIES["drop_origins"], {"prefix": f"crossfade_{self.m.plan.name}_"})
        except psycopg.errors.InsufficientPrivilege:
            log.info("no replication origins to drop: this role may not use them, so none were made")
