"""The engine `logical`: copies waves, after which its streams carry what changes."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from crossfade import catalog, control
from crossfade.catalog import Table
from crossfade.connect import Connection, end_sessions
from crossfade.engines.base import Progress, progress_of
from crossfade.engines.logical.load import Loaded, TableChanged, WaveCopy, tables_held
from crossfade.engines.logical.replication import Replication
from crossfade.engines.logical.stream import Stream
from crossfade.journal import Journal, MigrationRecord
from crossfade.queries import named_queries
from crossfade.routers.base import Direction, Side
from crossfade.schema.archive import classify, entries
from crossfade.schema.harden import unharden
from crossfade.schema.restore import IndexBuilder

if TYPE_CHECKING:
    from crossfade.migration import Migration

log = logging.getLogger(__name__)

_QUERIES = named_queries(__file__)


class LogicalEngine(Replication):
    """
    Native logical replication from source to target, in waves, and their copies.

    :param source: an autocommit session on the publisher
    :param target: an autocommit session on the subscriber
    """

    def __init__(self, m: Migration, *, source: Connection, target: Connection, record: MigrationRecord) -> None:
        self.source, self.target, self.record = source, target, record
        self.journal = Journal(target)
        self.waves = self.journal.waves(record.id)
        super().__init__(m, Direction.FORWARD, publisher=source, subscriber=target, waves=self.waves)

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
        return progress_of(self.journal.parts(self.record.id))

    def release(self) -> None:
        """Nothing: rows run from server to server."""

    def drop(self) -> None:
        """Remove subscriptions, slots, publications, watermarks and leftover origins; safe to call again."""
        super().drop()
        try:
            self.target.execute(_QUERIES["drop_origins"], {"pattern": f"^crossfade_{self.m.plan.name}_[0-9]+_copy"})
        except psycopg.errors.InsufficientPrivilege:
            log.info("no replication origins to drop: this role may not use them, so none were made")
