"""Validating a migration: definitions, sequences, and every row of every table, on a live pair."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypedDict
from uuid import UUID

import psycopg

from crossfade import catalog
from crossfade.capabilities import capabilities
from crossfade.connect import Connection
from crossfade.engines.declared import engine_of
from crossfade.errors import CrossfadeError, Unreachable
from crossfade.journal import MigrationRecord, State
from crossfade.routers.base import Side
from crossfade.schema.compare import Difference
from crossfade.schema.compare import compare as compare_definitions
from crossfade.schema.ledger import Kind, Ledger
from crossfade.validation import sessions
from crossfade.validation.batches import batches
from crossfade.validation.checks import run_checks
from crossfade.validation.clients import led_to
from crossfade.validation.progress import Journalled
from crossfade.validation.records import Begun, Records
from crossfade.validation.result import CheckResult, Mode, Report, Sides, TableResult, Verdict, in_one_line
from crossfade.validation.sessions import require_settled
from crossfade.validation.sides import BothSides
from crossfade.validation.statistics import statistics
from crossfade.validation.tables import Comparison
from crossfade.validation.verdicts import JournalLost, NothingToValidate, require_ok

if TYPE_CHECKING:
    from crossfade.migration import Migration

log = logging.getLogger(__name__)


def validate(m: Migration, *, run_id: str, mode: Mode = Mode.FULL, repairing: bool = False) -> Report:
    """`examine`, and raise `MismatchFound` naming what differs, or `ValidationIncomplete`; both carry the report."""
    report = examine(m, run_id=run_id, mode=mode, repairing=repairing)
    require_ok(report)
    return report


def reconcile(m: Migration, *, run_id: str = "reconcile") -> Report:
    """After a cutover: bring the engine to its end, then `validate` what the way back carries."""
    finish(m)
    return validate(m, run_id=run_id)


def finish(m: Migration) -> None:
    """After a cutover: the engine drops what carried rows to the target, and restores what it has lent."""
    with m.session(Side.SOURCE, "reconcile") as source, m.session(Side.TARGET, "reconcile") as target, m.journal() as j:
        record = j.get(m.plan.name)
        if record.state is State.CUT_OVER:
            engine_of(m, source=source, target=target, record=record).finish()


def examine(m: Migration, *, run_id: str, mode: Mode = Mode.FULL, repairing: bool = False) -> Report:
    """
    All of a validation, whatever its verdict. Killed and run again with the same run id it goes on where it was.

    :param repairing: replace rows that differ, on the side that does not serve, by those of the side that does
    Raises `NothingToValidate`, `JournalLost`. A side that cannot be reached makes it incomplete.
    """
    try:
        begun = begin(m, run_id=run_id, mode=mode)
    except (Unreachable, psycopg.Error) as error:
        sides = Sides(source=m.source.name, target=m.target.name)
        return Report.of_nothing(error, plan=m.plan.name, run_id=run_id, mode=mode, sides=sides)
    steps: list[Callable[[], object]] = [lambda: check(m, begun.id)]
    steps += [
        lambda batch=batch: compare(m, begun.id, batch, repairing=repairing)  # type: ignore[misc]
        for batch in range(len(begun.batches))
    ]
    for step in steps:
        try:
            step()
        except JournalLost:
            raise
        except (CrossfadeError, psycopg.Error) as error:
            log.error("%s", error)  # the report has it, too
    return conclude(m, begun.id)


def begin(m: Migration, *, run_id: str, mode: Mode) -> Begun:
    """Enter a validation in the journal and share out its tables. Raises `NothingToValidate`, `Unreachable`."""
    with (
        m.journal() as journal,
        m.session(Side.SOURCE, "validate") as source,
        m.session(Side.TARGET, "validate") as target,
    ):
        record = journal.get(m.plan.name)
        if record.state not in (State.ACTIVE, State.CUT_OVER):
            raise NothingToValidate(record)
        tables = catalog.tables(source, m.plan.tables) if sessions.carries(record) else []
        return Records(target).begin(
            record,
            run_id=run_id,
            mode=mode,
            sides=Sides(source=_name(m, Side.SOURCE, source), target=_name(m, Side.TARGET, target)),
            batches=batches(tables),
        )


def check(m: Migration, validation: UUID | str) -> list[CheckResult]:
    """Compare all but the rows. Raises `NoSuchValidation`, `BetweenSides`, `Unreachable`."""
    with _records(m, validation) as (records, begun, record):
        require_settled(record)
        records.open_checks(begun)
        found: list[CheckResult] = []
        with m.session(Side.SOURCE, "validate") as source, m.session(Side.TARGET, "validate") as target:
            for result in _checks(m, record, source, target, begun.mode):
                said = "as it should be" if result.verdict is Verdict.OK else "; ".join(result.lines)
                log.info("%s: %s (%s)", result.name, said, result.note)
                found.append(result)
        records.checked(begun, found)
    return found


def compare(m: Migration, validation: UUID | str, batch: int, *, repairing: bool = False) -> list[TableResult]:
    """
    Compare the rows of one batch of tables, but those that an earlier try found equal.

    :param batch: its position in `Begun.batches`
    :param repairing: as `examine` takes it
    Raises `NoSuchValidation`, `BetweenSides`, `Unreachable`; what else goes wrong with a table is its result.
    """
    found = []
    with _records(m, validation) as (records, begun, record):
        require_settled(record)
        due = records.open_batch(begun, batch)
        try:
            for result in _rows(m, record, begun, due, repairing=repairing):
                found.append(result)
                records.compared(begun, result)
                verdict = (
                    "equal"
                    if result.verdict is Verdict.OK
                    else f"{result.verdict.upper()}: {'; '.join(result.problems)}"
                )
                log.info(
                    "%s/%s %s: %s rows, %.1f s: %s",
                    *(len(found), len(due), result.table, result.rows[0], result.seconds, verdict),
                )
        except (CrossfadeError, psycopg.Error) as error:
            for name in sorted(due - {result.table for result in found}):
                records.compared(begun, TableResult.not_compared(name, in_one_line(error)))
            raise
    return found


def conclude(m: Migration, validation: UUID | str) -> Report:
    """Enter the verdict of a validation; the report. What has not come to its end is incomplete."""
    with _records(m, validation) as (records, begun, _):
        return records.conclude(begun, m.plan.name)


@contextmanager
def _records(m: Migration, validation: UUID | str) -> Iterator[tuple[Records, Begun, MigrationRecord]]:
    with m.journal() as journal:
        try:
            records = Records(journal.conn)
            yield records, records.get(validation), journal.get(m.plan.name)
        except psycopg.OperationalError as error:
            if not journal.conn.closed:
                raise
            raise JournalLost(in_one_line(error)) from error


def _rows(
    m: Migration, record: MigrationRecord, begun: Begun, due: set[str], *, repairing: bool
) -> Iterator[TableResult]:
    """Results of these tables, as they come."""
    with m.session(Side.SOURCE, "validate") as source, m.session(Side.TARGET, "validate") as target:
        ours, theirs = (
            [table for table in catalog.tables(conn, m.plan.tables) if table.full_name in due]
            for conn in (source, target)
        )
        quick = list(statistics(source, target, ours)) if begun.mode is Mode.QUICK else None
    for name in sorted(due - {table.full_name for table in ours}):
        yield TableResult.not_compared(name, "the source has no such table any more")
    if quick is not None:
        yield from quick
        return
    with m.session(Side.TARGET, "validate") as entering, sessions.gently(m, record) as gently:
        comparison = Comparison(
            m.plan.validation,
            ours,
            theirs,
            pairs=lambda: sessions.pair(m, record),
            progress=Journalled(entering, record.id, begun.id),
            gently=gently,
            repairing=repairing,
            sample=m.plan.validation.sample if begun.mode is Mode.SAMPLE else None,
        )
        yield from comparison.run()


def _checks(
    m: Migration, record: MigrationRecord, source: Connection, target: Connection, mode: Mode
) -> Iterator[CheckResult]:
    authority = sessions.direction_of(record).old
    with sessions.carrier(m, record) as carrier:
        sides = BothSides(
            source=source,
            target=target,
            tables=m.plan.tables,
            authority=authority,
            carrier=carrier if sessions.carries(record) else None,
            **_may_differ(m, record, source, target),
            application_roles=m.plan.cutover.application_roles,
        )
        yield from run_checks(sides, mode)
    if record.state is State.CUT_OVER:
        start = time.monotonic()
        elsewhere = tuple(led_to(m, authority))
        yield CheckResult(
            name="clients",
            title="clients are led to the side that serves",
            verdict=Verdict.MISMATCH if elsewhere else Verdict.OK,
            lines=elsewhere,
            note=f"to the {authority}",
            seconds=time.monotonic() - start,
        )
    if not sessions.carries(record):
        yield CheckResult(
            name="rows",
            title="every row is the same",
            verdict=Verdict.OK,
            note="not compared: since the cutover nothing carries rows to the source (rollback.way_back: none)",
        )


def _name(m: Migration, side: Side, conn: Connection) -> str:
    endpoint = m.endpoint(side)
    return f"{endpoint.name}: {endpoint.dbname} on {endpoint.host}, PostgreSQL {capabilities(conn).version}"


def definitions(m: Migration, record: MigrationRecord, source: Connection, target: Connection) -> list[Difference]:
    """What differs, but for NOT NULL that comes back in the next cutover, and grants to the roles that carry rows."""
    return compare_definitions(source, target, m.plan.tables, **_may_differ(m, record, source, target))


class _MayDiffer(TypedDict):
    """As `compare_definitions` takes it."""

    nullable: set[tuple[str, str, str]]
    nullable_on_source: set[tuple[str, str, str]]
    carriers: set[str]


def _may_differ(m: Migration, record: MigrationRecord, source: Connection, target: Connection) -> _MayDiffer:
    return {
        "nullable": lent(target, record),
        "nullable_on_source": lent(source, record) if record.plan.rollback.way_back == "dms" else set(),
        "carriers": engine_of(m, source=source, target=target, record=record).carriers(),
    }


def lent(conn: Connection, record: MigrationRecord) -> set[tuple[str, str, str]]:
    """Columns that are nullable for the time being."""
    return {(entry.schema, entry.table, entry.name) for entry in Ledger(conn, record.id).pending(Kind.NOT_NULL)}
