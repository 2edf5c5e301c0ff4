"""How large a table's LOBs really are, and in which mode DMS is to carry them so that none is cut.

DMS cuts a value that is larger than the limit of its table, with a line in a log. The limit is therefore taken from
the true size of every value: `pg_column_size` tells what is stored, after compression, and is far too small.
"""

from __future__ import annotations

import logging
import math
import queue
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Literal

import psycopg
from psycopg import sql

from crossfade.connect import Connection, Endpoint
from crossfade.engines.dms.names import addressable
from crossfade.errors import PreconditionError, TransientError
from crossfade.quantities import format_size
from crossfade.queries import named_queries

log = logging.getLogger(__name__)

_QUERIES = named_queries(__file__)

#: DMS converts LOBs, and compares three times their size with ``bulk-max-size`` (user guide: table-settings, LOB).
GROWTH_IN_DMS = 3
#: kB; no table is limited to less: a column that is empty today may not be so tomorrow.
SMALLEST_LIMIT_KB = 16

Mode = Literal["limited", "inline", "full"]


class OutlierWithoutKey(PreconditionError):
    """A table without a primary key has LOBs too large for the limited mode, the only one that DMS has for it."""

    def __init__(self, tables: Sequence[str]) -> None:
        self.tables = tables
        super().__init__(
            "AWS DMS carries large values one by one, by primary key, but there is none: "
            f"{'; '.join(tables)}. Add a primary key, raise dms.lobs.largest_limited (at most 100MB), or leave the "
            "table out of the plan"
        )


class LobsNotMeasured(TransientError):
    """The LOBs of a table could not be measured."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LobTable:
    """A table with columns that are LOBs to DMS."""

    schema: str
    name: str
    primary_key: bool
    columns: Mapping[str, bool]  #: its LOB columns, and whether each is bytea

    @property
    def full_name(self) -> str:
        """Schema and name as stored, for messages. Not for statements."""
        return f"{self.schema}.{self.name}"

    def largest(self, conn: Connection) -> dict[str, int]:
        """
        Bytes of the largest value of each LOB column, in one pass; 0 where there is none.

        A text's length is read from its header: only the types that are not stored as their text are unpacked.
        """
        lengths = [
            sql.SQL("coalesce(max(octet_length({}{})), 0) AS {}").format(
                sql.Identifier(column), sql.SQL("" if raw else "::text"), sql.Identifier(str(number))
            )
            for number, (column, raw) in enumerate(self.columns.items())
        ]
        statement = sql.SQL("SELECT {} FROM ONLY {}").format(
            sql.SQL(", ").join(lengths), sql.Identifier(self.schema, self.name)
        )
        row = conn.execute(statement).fetchone()
        return {column: int(row[str(number)]) for number, column in enumerate(self.columns)} if row else {}


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasuredTable:
    """The true sizes of a table's LOBs."""

    table: LobTable
    largest: Mapping[str, int]  #: bytes, by column


@dataclass(frozen=True, kw_only=True, slots=True)
class LobLimit:
    """How the LOBs of one table are carried. Plain values only, so that it can be kept as JSON."""

    schema: str
    name: str
    mode: Mode
    limit_kb: int  #: limited: larger values are cut; inline: larger ones go one by one; full: 0
    columns: int  #: how many LOB columns there are
    largest_column: str
    largest_bytes: int  #: of that column when it was measured

    @property
    def full_name(self) -> str:
        """Schema and name as stored, for messages. Not for statements."""
        return f"{self.schema}.{self.name}"


def lob_tables(conn: Connection, names: Sequence[tuple[str, str]]) -> list[LobTable]:
    """Those of the tables (schema and name) that have columns which are LOBs to DMS, largest table first."""
    wanted = {"schemas": [schema for schema, _ in names], "names": [name for _, name in names]}
    return [
        LobTable(
            schema=row["schema"],
            name=row["name"],
            primary_key=row["primary_key"],
            columns=dict(zip(row["columns"], row["bytes"], strict=True)),
        )
        for row in conn.execute(_QUERIES["lob_columns"], wanted).fetchall()
    ]


def measure(
    source: Endpoint, names: Sequence[tuple[str, str]], *, jobs: int, purpose: str = "lobs"
) -> list[MeasuredTable]:
    """
    Measure every LOB column of the tables: one pass a table, `jobs` tables at a time, the largest first.

    Tables without such columns are not in the result. Partitions are tables of their own.
    Raises `LobsNotMeasured` or `Unreachable`; the other sessions are ended first.
    """
    with source.session(purpose) as conn:
        waiting = lob_tables(conn, names)
    jobs = min(jobs, len(waiting))
    if not jobs:
        return []
    idle: queue.SimpleQueue[Connection] = queue.SimpleQueue()

    def one(table: LobTable) -> MeasuredTable:
        conn = idle.get()
        try:
            return _measure(conn, table)
        finally:
            idle.put(conn)

    with ExitStack() as stack:
        sessions = [stack.enter_context(source.session(purpose)) for _ in range(jobs)]
        for conn in sessions:
            idle.put(conn)
        pool = stack.enter_context(ThreadPoolExecutor(jobs))
        futures = [pool.submit(one, table) for table in waiting]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
            failed = next((error for future in futures if future.done() and (error := future.exception())), None)
            if failed:
                raise failed
        except BaseException:  # also where this task is asked to end
            _end(pool, futures, sessions)
            raise
        return [future.result() for future in futures]


def _end(pool: ThreadPoolExecutor, jobs: Sequence[Future[MeasuredTable]], sessions: Sequence[Connection]) -> None:
    """Cancel what runs, again and again: a statement that was only just beginning would be missed once."""
    pool.shutdown(wait=False, cancel_futures=True)
    while wait(jobs, timeout=0.1).not_done:
        for conn in sessions:
            with suppress(psycopg.Error):  # gone: its job ends by itself
                conn.cancel()


def _measure(conn: Connection, table: LobTable) -> MeasuredTable:
    start = time.monotonic()
    try:
        largest = table.largest(conn)
    except psycopg.Error as error:
        raise LobsNotMeasured(
            f"the LOBs of {table.full_name} could not be measured: {str(error).strip()}. Put that right (the role of "
            "the migration needs SELECT on every table) and clear this task"
        ) from error
    log.info(
        "%s: largest LOBs %s, %.1f s",
        table.full_name,
        ", ".join(f"{column} {format_size(size)}" for column, size in largest.items()),
        time.monotonic() - start,
    )
    return MeasuredTable(table=table, largest=largest)


def limits(
    measured: Sequence[MeasuredTable],
    *,
    headroom: float,
    largest_limited_bytes: int,
    outliers: Literal["inline", "full"],
    inline_limit_bytes: int,
) -> list[LobLimit]:
    """
    The mode of each table: limited where the largest value with head-room fits, else the one for outliers.

    `inline` is a mode of the task, not of a table (user guide: table-settings, combination full LOB mode): such tables
    get no setting of their own, and the task's ``InlineLobMaxSize`` must be `inline_limit_bytes`. A table whose name
    no table-settings rule can hold (see `addressable`) is carried by the task's mode, too, which never cuts.

    :param headroom: at least 1; how much values may grow while the migration runs
    :raises OutlierWithoutKey: naming the tables
    """
    chosen, keyless = [], []
    most_kb = largest_limited_bytes // 1024
    for one in measured:
        table = one.table
        column = max(one.largest, key=lambda name: one.largest[name])
        largest = one.largest[column]
        needed_kb = max(math.ceil(largest * GROWTH_IN_DMS * headroom / 1024), min(SMALLEST_LIMIT_KB, most_kb))
        plain = addressable(table.schema, table.name)
        mode: Mode = "limited" if needed_kb <= most_kb and plain else outliers if plain else "inline"
        if mode != "limited" and not table.primary_key:
            why = "" if plain else ", and its name holds a percent sign, which DMS takes in no setting of a table"
            keyless.append(f"{table.full_name} ({column}: {format_size(largest)}{why})")
        by_mode: dict[Mode, int] = {"limited": needed_kb, "inline": inline_limit_bytes // 1024, "full": 0}
        chosen.append(
            LobLimit(
                schema=table.schema,
                name=table.name,
                mode=mode,
                limit_kb=by_mode[mode],
                columns=len(one.largest),
                largest_column=column,
                largest_bytes=largest,
            )
        )
    if keyless:
        raise OutlierWithoutKey(keyless)
    return chosen


class LobsOutgrown(PreconditionError):
    """LOBs are larger than DMS carries whole."""

    def __init__(self, found: Sequence[str]) -> None:
        super().__init__(
            f"{'; '.join(found)}. Clear size_lobs and all that follows: the limit grows, and these tables are loaded "
            "again"
        )


def kept_where_they_suffice(
    before: Sequence[LobLimit], wanted: Sequence[LobLimit]
) -> tuple[tuple[LobLimit, ...], tuple[tuple[str, str], ...]]:
    """
    The limits that were chosen before where no value has outgrown them, else the new ones; and where these differ.

    A table that was not measured before is not among those that differ: nothing of it was cut.
    """
    known = {(one.schema, one.name): one for one in before}
    chosen, changed = [], []
    for one in wanted:
        old = known.get((one.schema, one.name))
        if old is not None and not _outgrown(replace(old, largest_bytes=one.largest_bytes)):
            chosen.append(replace(one, mode=old.mode, limit_kb=old.limit_kb))
            continue
        chosen.append(one)
        if old is not None:
            changed.append((one.schema, one.name))
    return tuple(chosen), tuple(changed)


def remeasured(limits: Sequence[LobLimit], again: Sequence[MeasuredTable]) -> tuple[LobLimit, ...]:
    """The limits with the largest values as they are now."""
    now = {(one.table.schema, one.table.name): one.largest for one in again}
    found = []
    for limit in limits:
        largest = now.get((limit.schema, limit.name), {})
        column = max(largest, key=lambda name: largest[name], default=limit.largest_column)
        found.append(replace(limit, largest_column=column, largest_bytes=largest.get(column, limit.largest_bytes)))
    return tuple(found)


def _outgrown(limit: LobLimit) -> bool:
    return limit.mode == "limited" and limit.largest_bytes * GROWTH_IN_DMS > limit.limit_kb * 1024


def require_whole(limits: Sequence[LobLimit]) -> None:
    """Raise `LobsOutgrown` where a limited table holds a value, as last measured, that DMS cuts."""
    found = [
        f"{limit.full_name}: {limit.largest_column} now holds {format_size(limit.largest_bytes)}, DMS cuts it at "
        f"{format_size(limit.limit_kb * 1024 / GROWTH_IN_DMS)}"
        for limit in limits
        if _outgrown(limit)
    ]
    if found:
        raise LobsOutgrown(found)
