"""The full load: every table read in snapshots of its own and copied, several at a time."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg
import psycopg2
from psycopg import sql
from psycopg2.extensions import connection as BulkConnection
from psycopg2.extensions import cursor as BulkCursor

from crossfade_lab.aws.replication import sessions
from crossfade_lab.aws.replication.board import Board, now
from crossfade_lab.aws.replication.catalog import Column, Table
from crossfade_lab.aws.replication.control_tables import ControlTables
from crossfade_lab.aws.replication.conversion import Conversion, plain
from crossfade_lab.aws.replication.failures import StopRequested, TableSuspended, TaskFailed
from crossfade_lab.aws.replication.mapping import Mappings
from crossfade_lab.aws.replication.orders import Orders
from crossfade_lab.aws.replication.policies import Policies
from crossfade_lab.aws.replication.preparation import prepare
from crossfade_lab.aws.replication.spec import Spec

BATCH_BYTES = 8 * 1024 * 1024
LOB_ROWS = 100


@dataclass(kw_only=True)
class FullLoad:
    """The loads of one task."""

    spec: Spec
    mappings: Mappings
    conversions: Mapping[Table, Conversion]
    board: Board
    orders: Orders
    policies: Policies
    control: ControlTables

    def run(self, tables: Sequence[Table], loaded: Callable[[Table, int], None]) -> None:
        """Load tables; `loaded` is told of each that is complete, with the source's LSN then.

        A table whose load fails leaves the task. Raises `TaskFailed` or `StopRequested`.
        """
        for table in tables:
            if self.board.state_of(table) != "Table is being reloaded":
                self.board.table(table, state="Before load")
        self._total, self._complete = len(tables), 0
        workers = int(self.spec.section("FullLoadSettings").get("MaxFullLoadSubTasks") or 8)
        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(self._table, table, loaded) for table in tables]
            wait(futures, return_when=FIRST_EXCEPTION)
            for future in futures:
                future.cancel()
        failures = [e for f in futures if not f.cancelled() and (e := f.exception()) is not None]
        for error in sorted(failures, key=lambda e: isinstance(e, StopRequested)):
            raise error

    def _table(self, table: Table, loaded: Callable[[Table, int], None]) -> None:
        reloaded = self.board.state_of(table) == "Table is being reloaded"
        self.orders.check()
        self.board.table(
            table, state="Table is being reloaded" if reloaded else "Full load", full_load_start=now(),
            full_load_end=None, full_load_rows=0, full_load_reloaded=reloaded, suspended=False,
        )  # fmt: skip
        started = time.monotonic()
        try:
            lsn = self._load(table)
        except TableSuspended as error:
            with closing(sessions.connect(self.spec.target, "load")) as target:
                self.policies.suspend(target, table, str(error), loading=True)
            self._percent()
            return
        except StopRequested:
            self.board.table(table, state="Table cancelled")
            raise
        self.policies.restore(table)
        self.board.table(table, state="Table completed", full_load_end=now())
        self._percent()
        rows, seconds = self.board.tables[table.schema, table.name]["full_load_rows"], time.monotonic() - started
        self.board.log("TARGET_LOAD", "I", f"{table.full_name}: load finished, {rows} rows in {seconds:.1f} s")
        loaded(table, lsn)

    def _percent(self) -> None:
        with self.board.lock:
            self._complete += 1
            self.board.set(full_load_percent=100 * self._complete // self._total)

    def _load(self, table: Table) -> int:
        mode = str(self.spec.section("FullLoadSettings").get("TargetTablePrepMode") or "DROP_AND_CREATE")
        with closing(sessions.connect(self.spec.target, "load")) as target:
            try:
                prepare(target, table, mode, booleans_kept=self.conversions[table].booleans_kept)
            except psycopg.OperationalError as error:
                raise _lost("target", error) from error
            except psycopg.Error as error:
                raise TableSuspended(f"preparing the target table ({mode}) failed: {error}") from error
        parts = self.mappings.ranges(table.schema, table.name)
        if len(parts) == 1:
            return self._part(table, parts[0])
        with ThreadPoolExecutor(len(parts)) as pool:  # parts run beside the other tables, as DMS's segments do
            return max([future.result() for future in [pool.submit(self._part, table, part) for part in parts]])

    def _part(self, table: Table, condition: sql.Composable) -> int:
        """Load the rows of one condition; returns the source's LSN afterwards."""
        try:
            source = sessions.connect_bulk(self.spec.source, "unload")
            with closing(source), closing(sessions.connect_bulk(self.spec.target, "load")) as target:
                source.set_session(isolation_level="REPEATABLE READ", readonly=True)
                _PartLoad(self, table, condition, source, target).run()
                with source.cursor() as cursor:
                    cursor.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
                    row = cursor.fetchone()
                    assert row is not None
                    return int(row[0])
        except psycopg2.OperationalError as error:
            raise _lost("source or target", error) from error
        except psycopg2.Error as error:
            raise TableSuspended(f"reading the source table failed: {error}") from error


def _lost(side: str, error: Exception) -> TaskFailed:
    return TaskFailed(f"Full load: the session with the {side} failed: {error}", "RECOVERABLE_ERROR")


class _PartLoad:
    """One stretch of one table, from one snapshot to commits of CommitRate rows."""

    def __init__(
        self, load: FullLoad, table: Table, condition: sql.Composable, source: BulkConnection, target: BulkConnection
    ) -> None:
        self._load, self._table, self._source, self._target = load, table, source, target
        self._conversion = load.conversions[table]
        self._where = sql.SQL("({}) AND ({})").format(load.mappings.filters(table.schema, table.name), condition)
        self._rows: list[bytes] = []
        self._bytes = 0
        self._truncated = 0
        self._failure: BaseException | None = None
        self._most = int(load.spec.section("FullLoadSettings").get("CommitRate") or 10_000)
        lobs = [column for column in table.migrated if column.lob]
        self._flagged = bool(lobs) and self._conversion.lobs.mode == "limited"
        self._lobs = lobs

    def run(self) -> None:
        """Copy, then fill in the large objects of the full mode."""
        columns = self._table.migrated
        if self._conversion.lobs.mode == "none":
            columns = tuple(column for column in columns if not column.lob)
        names = sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)
        self._copy_in = sql.SQL("COPY {} ({}) FROM STDIN").format(self._table.sql, names).as_bytes(None).decode()
        expressions = [self._conversion.loaded(column) for column in columns]
        if self._flagged:
            tests = sql.SQL(" OR ").join(self._conversion.too_long(column) for column in self._lobs)
            expressions.append(sql.SQL("coalesce({}, false)").format(tests))
        query = sql.SQL("COPY (SELECT {} FROM ONLY {} WHERE {}) TO STDOUT").format(
            sql.SQL(", ").join(expressions), self._table.sql, self._where
        )
        with self._source.cursor() as cursor:
            try:
                cursor.copy_expert(query.as_bytes(None).decode(), self, size=1 << 20)
            except psycopg2.Error:
                if self._failure is not None:
                    raise self._failure from None
                raise
        if self._failure is not None:
            raise self._failure
        self._send()
        if self._truncated:
            fatal = self._load.spec.source.flag("FailTasksOnLobTruncation", False)
            names_of_lobs = ", ".join(column.name for column in self._lobs)
            self._load.policies.truncated(self._table, names_of_lobs, self._truncated, fatal)
        if self._conversion.lobs.mode == "full" and self._lobs:
            self._fill_in()

    def write(self, row: bytes) -> int:
        """Take one row from the source's COPY, which calls this."""
        try:
            if self._flagged:
                if row.endswith(b"\tt\n"):
                    self._truncated += 1
                row = row[:-3] + b"\n"
            self._rows.append(row)
            self._bytes += len(row)
            if len(self._rows) >= self._most or self._bytes >= BATCH_BYTES:
                self._send()
        except BaseException as error:
            self._failure = error
            raise
        return len(row)

    def _send(self) -> None:
        """One COPY and one commit on the target. Raises `TableSuspended` for what the target refuses."""
        self._load.orders.check()
        if not self._rows:
            return
        with self._target.cursor() as cursor:
            try:
                cursor.copy_expert(self._copy_in, io.BytesIO(b"".join(self._rows)), size=1 << 20)
                self._target.commit()
            except psycopg2.OperationalError as error:
                raise _lost("target", error) from error
            except psycopg2.Error as error:
                self._target.rollback()
                raise TableSuspended(
                    f"Command failed to load data with exit error code 1, Command output: {error}"
                ) from error
        self._load.board.count(self._table, full_load_rows=len(self._rows))
        with self._load.board.lock:
            self._load.board.loaded_bytes += self._bytes
        self._rows, self._bytes = [], 0
        self._pause()

    def _pause(self) -> None:
        while self._load.orders.stalled:
            self._load.orders.check()
            time.sleep(0.1)
        if delay := self._load.orders.faults.get("load_delay_ms_per_batch"):
            time.sleep(float(delay) / 1000)

    def _fill_in(self) -> None:
        """Update rows with their large objects, one by one: the second half of the full LOB mode."""
        key = [sql.Identifier(name) for name in self._table.key]
        inline = self._conversion.lobs.inline
        values = [self._large(column, inline) for column in self._lobs]
        some = sql.SQL(" OR ").join(sql.SQL("{} IS NOT NULL").format(value) for value in values)
        query = sql.SQL("SELECT {} FROM ONLY {} WHERE {} AND ({})").format(
            sql.SQL(", ").join([*key, *values]), self._table.sql, self._where, some
        )
        with self._source.cursor("awsdms_lobs") as rows:
            rows.itersize = LOB_ROWS
            rows.execute(query.as_bytes(None).decode())
            while batch := rows.fetchmany(LOB_ROWS):
                self._load.orders.check()
                self._update(batch)

    @staticmethod
    def _large(column: Column, inline: int) -> sql.Composable:
        value = plain(column)
        return sql.SQL("CASE WHEN octet_length({0}) > {1} OR {1} = 0 THEN {0} END").format(value, inline)

    def _update(self, batch: list[tuple[Any, ...]]) -> None:
        width = len(self._table.key)
        with self._target.cursor() as cursor:
            try:
                for row in batch:
                    filled = [(c.name, v) for c, v in zip(self._lobs, row[width:], strict=True) if v is not None]
                    key = zip(self._table.key, row[:width], strict=True)
                    sets = b", ".join(_equation(cursor, name, value) for name, value in filled)
                    by = b" AND ".join(_equation(cursor, name, value) for name, value in key)
                    cursor.execute(b"UPDATE " + self._table.sql.as_bytes(None) + b" SET " + sets + b" WHERE " + by)
                self._target.commit()
            except psycopg2.OperationalError as error:
                raise _lost("target", error) from error
            except psycopg2.Error as error:
                self._target.rollback()
                raise TableSuspended(f"Filling in large objects failed: {error}") from error
        self._pause()


def _equation(cursor: BulkCursor, name: str, value: object) -> bytes:
    """`column = value`, quoted here: a name may hold what a template would take for a placeholder."""
    return sql.Identifier(name).as_bytes(None) + b" = " + cursor.mogrify("%s", [value])
