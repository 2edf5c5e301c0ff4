"""Validating a migration: schema, sequences, and every row of every table, on a live pair."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from crossfade import catalog
from crossfade.catalog import Table
from crossfade.connect import Connection
from crossfade.engines.base import Engine
from crossfade.engines.declared import engine_of
from crossfade.errors import FatalError
from crossfade.journal import Journal, MigrationRecord, State
from crossfade.routers.base import Side
from crossfade.schema.compare import Difference, compare, compare_sequences
from crossfade.schema.ledger import Kind, Ledger
from crossfade.validation.compare import TableComparison, TableResult
from crossfade.validation.digest import Digests

if TYPE_CHECKING:
    from crossfade.migration import Migration

log = logging.getLogger(__name__)


class MismatchFound(FatalError):
    """Source and target differ."""

    def __init__(self, mismatches: list[str]) -> None:
        self.mismatches = mismatches
        shown = "\n  ".join(mismatches[:50])
        super().__init__(
            f"source and target differ in {len(mismatches)} places; the source is untouched and serves:\n  {shown}\n"
            "For rows: clear the load task of the wave, it is copied again. For definitions: clear prepare or harden"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """A validation that found both sides equal."""

    id: str
    tables: int
    rows: int
    seconds: float


def validate(m: Migration, *, run_id: str) -> Validation:
    """
    Compare both sides while replication runs, and enter each table's result in the journal.

    Raises `MismatchFound` naming what differs.
    """
    start = time.monotonic()
    with m.journal() as journal:
        record = journal.writable(m.plan.name, "validate")
        validation = journal.begin_validation(record.id, run_id)
        with m.session(Side.SOURCE, "validate") as source, m.session(Side.TARGET, "validate") as target:
            mismatches = [f"definition: {difference}" for difference in definitions(m, record, source, target)]
            tables = catalog.tables(source, m.plan.tables)
        rows = 0
        for result in _compare_tables(m, record, tables):
            rows += result.source_rows
            journal.check_table(
                validation,
                table=result.table,
                rows=(result.source_rows, result.target_rows),
                detail=result.detail,
                ms=result.seconds * 1000,
            )
            mismatches += [f"{result.table}: {difference}" for difference in result.differences]
        journal.end_validation(validation, equal=not mismatches)
    if mismatches:
        raise MismatchFound(mismatches)
    seconds = time.monotonic() - start
    log.info("%s tables with %s rows are equal, in %.1f s", len(tables), rows, seconds)
    return Validation(id=str(validation), tables=len(tables), rows=rows, seconds=seconds)


def reconcile(m: Migration) -> list[str]:
    """
    After a cutover: definitions equal, sequences at or past the source's, the router on the target.

    First the engine is brought to its end. Rows are not compared: the target takes writes that the fenced source does
    not have. Returns what was confirmed. Raises `MismatchFound`.
    """
    with m.session(Side.SOURCE, "reconcile") as source, m.session(Side.TARGET, "reconcile") as target:
        record = Journal(target).get(m.plan.name)
        if record.state is State.CUT_OVER:
            engine_of(m, source=source, target=target, record=record).finish()
        mismatches = [f"definition: {difference}" for difference in definitions(m, record, source, target)]
        mismatches += [f"sequence: {difference}" for difference in compare_sequences(source, target, m.plan.tables)]
    for router in m.routers():
        with router:
            if (side := router.serving()) is not Side.TARGET:
                mismatches.append(f"router: {router.label} is on the {side}")
    if mismatches:
        raise MismatchFound(mismatches)
    return ["definitions are equal", "sequences are at or past the source's", "the router is on the target"]


def definitions(m: Migration, record: MigrationRecord, source: Connection, target: Connection) -> list[Difference]:
    """What differs, but for NOT NULL that comes back in the next cutover, and grants to the roles that carry rows."""
    return compare(
        source,
        target,
        m.plan.tables,
        nullable=lent(target, record),
        nullable_on_source=lent(source, record) if record.plan.rollback.way_back == "dms" else (),
        carriers=engine_of(m, source=source, target=target, record=record).carriers(),
    )


def lent(conn: Connection, record: MigrationRecord) -> set[tuple[str, str, str]]:
    """Columns that are nullable for the time being."""
    return {(entry.schema, entry.table, entry.name) for entry in Ledger(conn, record.id).pending(Kind.NOT_NULL)}


def _compare_tables(m: Migration, record: MigrationRecord, tables: list[Table]) -> Iterator[TableResult]:
    """Several tables at a time, the largest first; results as they come."""
    jobs = m.plan.validation.jobs
    done = 0
    with ExitStack() as stack, ThreadPoolExecutor(jobs) as pool:
        idle: queue.SimpleQueue[_Pair] = queue.SimpleQueue()
        for _ in range(jobs):
            idle.put(stack.enter_context(_pair(m, record)))

        def one(table: Table) -> TableResult:
            pair = idle.get()
            try:
                return pair.compare(table)
            finally:
                idle.put(pair)

        for result in pool.map(one, sorted(tables, key=lambda table: -table.bytes)):
            done += 1
            verdict = f"DIFFERS: {result.detail}" if result.differences else "equal"
            log.info(
                "%s/%s %s: %s rows, %.1f s: %s",
                done,
                len(tables),
                result.table,
                result.source_rows,
                result.seconds,
                verdict,
            )
            yield result


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pair:
    """A session on each side, and the streams between them."""

    source: Connection
    target: Connection
    engine: Engine
    settle: float

    def compare(self, table: Table) -> TableResult:
        comparison = TableComparison(
            Digests(table),
            self.source,
            self.target,
            caught_up=lambda: self.engine.wait_caught_up(time.monotonic() + self.settle),
            settle=self.settle,
        )
        try:
            return comparison.run()
        except psycopg.errors.ProgrammingError as error:  # a table or column that one side lacks
            said = str(error).splitlines()[0]
            return TableResult(
                table=table.full_name, source_rows=0, target_rows=0, differences=(f"not compared: {said}",), seconds=0
            )


@contextmanager
def _pair(m: Migration, record: MigrationRecord) -> Iterator[_Pair]:
    with (
        m.session(Side.SOURCE, "validate") as source,
        m.session(Side.TARGET, "validate") as target,
        m.session(Side.SOURCE, "validate") as writer,
        m.session(Side.TARGET, "validate") as reader,
    ):
        engine = engine_of(m, source=writer, target=reader, record=record)
        yield _Pair(source=source, target=target, engine=engine, settle=m.plan.validation.settle.total_seconds())
