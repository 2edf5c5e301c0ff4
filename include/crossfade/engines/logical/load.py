"""Loading one wave: publication, slot, snapshot, parallel copy with keys and indexes, subscription; again from the
start whenever it died."""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import psycopg2
from psycopg import sql

from crossfade.catalog import Table
from crossfade.connect import Connection, Endpoint
from crossfade.engines.logical.copy import BulkConnection, CopyFailed, Part, copy, parts
from crossfade.engines.logical.progress import ProgressLog
from crossfade.errors import CrossfadeError, TransientError
from crossfade.journal import Journal
from crossfade.schema.restore import IndexBuilder

log = logging.getLogger(__name__)


class TableChanged(TransientError):
    """A table was rewritten, truncated or dropped while its copy was being set up."""

    def __init__(self, *, tables: Sequence[str]) -> None:
        super().__init__(
            f"{', '.join(tables)} was dropped, truncated or rewritten (VACUUM FULL, CLUSTER, ALTER) while the copy was "
            "being set up. If it was dropped for good, clear the task prepare, so that the schema is taken again; "
            "else clear this task: the wave is copied again from the start"
        )


class LoadStopped(TransientError):
    """Another part of this wave failed, so this one was given up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """What a wave's copy moved."""

    rows: int
    bytes: int
    seconds: float


@dataclass
class WaveCopy:
    """
    The copy of a wave's tables from one snapshot, by several jobs.

    A job takes the largest stretch that waits; when the last stretch of a table is done, its keys and indexes
    join the queue.
    """

    source: Endpoint
    target: Endpoint
    journal: Journal
    migration: UUID
    purpose: str  #: of every session, so that a successor can end them
    origin: str  #: prefix of the replication origins that mark what is copied
    tables: Sequence[Table]
    indexes: IndexBuilder
    jobs: int
    split_larger_than: int
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _failed: threading.Event = field(default_factory=threading.Event)

    def run(self, snapshot: str) -> Loaded:
        """Copy everything that the snapshot shows. Raises `CopyFailed` or another `CrossfadeError`."""
        start = time.monotonic()
        self._work: queue.PriorityQueue[tuple[int, int, Any]] = queue.PriorityQueue()
        self._order = itertools.count()
        self._rows = {table.oid: 0 for table in self.tables}
        self._left = {table.oid: 0 for table in self.tables}
        self._open = 0
        for table in self.tables:
            for part in parts(table, self.split_larger_than):
                self._left[table.oid] += 1
                self._put(part.bytes, partial(self._copy, part))
        self._connections: list[BulkConnection] = []
        self.progress = ProgressLog(self.target, f"{self.purpose}/copy", sum(t.bytes for t in self.tables))
        with self.progress, ThreadPoolExecutor(self.jobs) as pool:
            futures = [pool.submit(self._job, number, snapshot) for number in range(self.jobs)]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
                complete = not any(future.exception() for future in done)
            except BaseException:  # this task is asked to end: the jobs must not outlive it
                self._stop()
                raise
            if not complete:
                self._stop()
        _raise_first([future.exception() for future in futures])
        return Loaded(
            rows=sum(self._rows.values()), bytes=sum(t.bytes for t in self.tables), seconds=time.monotonic() - start
        )

    def _stop(self) -> None:
        """End the jobs: what they are waiting for is cancelled."""
        self._failed.set()
        with self._lock:
            for conn in self._connections:
                with suppress(psycopg2.Error):  # its server is gone, or it is closed: the job ends by itself
                    conn.cancel()

    def _put(self, size: int, work: Any) -> None:
        with self._lock:
            self._open += 1
        self._work.put((-size, next(self._order), work))

    def _job(self, number: int, snapshot: str) -> None:
        with self._source_session(snapshot) as source, self._target_session(number) as target:
            with self._lock:
                self._connections += [source, target]
            try:
                while self._open and not self._failed.is_set():
                    try:
                        _, _, work = self._work.get(timeout=0.1)
                    except queue.Empty:
                        continue
                    work(source, target)
                    with self._lock:
                        self._open -= 1
            except BaseException:
                self._failed.set()
                raise
            finally:
                with self._lock:
                    self._connections = [c for c in self._connections if c not in (source, target)]

    @contextmanager
    def _source_session(self, snapshot: str) -> Iterator[BulkConnection]:
        conn = self.source.connect_bulk(self.purpose)
        try:
            conn.set_session(isolation_level="REPEATABLE READ", readonly=True)
            with conn.cursor() as cur:
                cur.execute("SET TRANSACTION SNAPSHOT %s", [snapshot])
            yield conn
        finally:
            conn.close()

    @contextmanager
    def _target_session(self, number: int) -> Iterator[BulkConnection]:
        conn = self.target.connect_bulk(f"{self.purpose}/copy")
        try:
            with copied_rows_marked(conn, f"{self.origin}_{number}"):
                yield conn
        finally:
            conn.close()

    def _copy(self, part: Part, source: BulkConnection, target: BulkConnection) -> None:
        table = part.table
        self._enter(table, "copying")
        rows = copy(part, source, target) if table.copied_columns else 0
        with self._lock:
            self._rows[table.oid] += rows
            self._left[table.oid] -= 1
            complete = self._left[table.oid] == 0
        self.progress.done(part.bytes, rows)
        if complete:
            self._table_complete(table)

    def _table_complete(self, table: Table) -> None:
        entries = self.indexes.for_table(table.oid)
        log.info(
            "%s: %s rows copied, %s keys and indexes to build", table.full_name, self._rows[table.oid], len(entries)
        )
        self._enter(table, "indexing")
        for entry in entries:
            self._put(table.bytes, partial(self._build, table, entry))

    def _build(self, table: Table, entry: Any, source: BulkConnection, target: BulkConnection) -> None:
        with self.target.session(self.purpose) as conn:
            try:
                self.indexes.build(conn, entry)
            except psycopg.Error as error:
                raise CopyFailed(table=table.full_name, side="target", reason=f"building {entry}: {error}") from error

    def _enter(self, table: Table, state: str) -> None:
        with self._lock:
            self.journal.set_part(self.migration, (table.schema, table.name), state=state, rows=self._rows[table.oid])


def _raise_first(errors: list[BaseException | None]) -> None:
    seen = [error for error in errors if error is not None]
    for error in seen:
        if isinstance(error, CrossfadeError):
            raise error
    if seen:
        raise LoadStopped(f"the copy stopped: {seen[0]}. Clear this task to copy the wave again") from seen[0]


@contextmanager
def copied_rows_marked(conn: BulkConnection, origin: str) -> Iterator[None]:
    """
    Write under a replication origin, so that a slot for the way back never echoes the copied rows.

    Not permitted everywhere: then the rows stay unmarked, which is harmless as long as that slot is made later.
    """
    try:
        with conn.cursor() as cur:
            cur.execute("SELECT pg_replication_origin_oid(%s)", [origin])
            if cur.fetchone() == (None,):
                cur.execute("SELECT pg_replication_origin_create(%s)", [origin])
            cur.execute("SELECT pg_replication_origin_session_setup(%s)", [origin])
        conn.commit()
    except psycopg2.errors.InsufficientPrivilege as error:
        conn.rollback()
        log.warning("rows are copied without a replication origin: %s", str(error).strip())
        yield
        return
    yield
    with conn.cursor() as cur:
        cur.execute("SELECT pg_replication_origin_session_reset()")
        cur.execute("SELECT pg_replication_origin_drop(%s)", [origin])
    conn.commit()


@contextmanager
def tables_held(conn: Connection, tables: Sequence[Table]) -> Iterator[None]:
    """
    Hold ACCESS SHARE on every table: VACUUM FULL or CLUSTER between two stretches would lose rows.

    Raises `TableChanged` where a table is not the one that was read from the catalog.
    """
    names = sql.SQL(", ").join(table.identifier for table in tables)
    with conn.transaction():
        try:
            conn.execute(sql.SQL("LOCK TABLE ONLY {} IN ACCESS SHARE MODE").format(names))
        except psycopg.errors.UndefinedTable as error:
            raise TableChanged(tables=[str(error).splitlines()[0]]) from error
        compare_relfilenodes(conn, tables)
        yield
        compare_relfilenodes(conn, tables)


def compare_relfilenodes(conn: Connection, tables: Sequence[Table]) -> None:
    """Raise `TableChanged` where a table's file is another than when it was read from the catalog."""
    rows = conn.execute(
        "SELECT oid, relfilenode FROM pg_class WHERE oid = ANY(%s)", [[table.oid for table in tables]]
    ).fetchall()
    now = {row["oid"]: row["relfilenode"] for row in rows}
    if changed := [table.full_name for table in tables if now.get(table.oid) != table.relfilenode]:
        raise TableChanged(tables=changed)
