"""Validating a migration: schema, sequences, and every row of every table, on a live pair."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypedDict
from uuid import UUID

from crossfade import catalog
from crossfade.capabilities import capabilities
from crossfade.catalog import Table
from crossfade.connect import Connection
from crossfade.engines.base import Carrier
from crossfade.engines.declared import carrier_of, engine_of
from crossfade.errors import CrossfadeError, FatalError, PreconditionError, TransientError
from crossfade.journal import Journal, MigrationRecord, State
from crossfade.routers.base import Direction, Side
from crossfade.schema.compare import Difference, compare, compare_sequences
from crossfade.schema.ledger import Kind, Ledger
from crossfade.validation.between import limit_statements
from crossfade.validation.checks import run_checks
from crossfade.validation.compare import Pair
from crossfade.validation.gently import Gently
from crossfade.validation.progress import Journalled
from crossfade.validation.result import CheckResult, Mode, Report, TableResult, Verdict
from crossfade.validation.sides import BothSides
from crossfade.validation.statistics import statistics
from crossfade.validation.tables import Comparison

if TYPE_CHECKING:
    from crossfade.migration import Migration

log = logging.getLogger(__name__)


class MismatchFound(FatalError):
    """Source and target differ."""

    def __init__(self, mismatches: list[str], report: Report | None = None) -> None:
        self.mismatches, self.report = mismatches, report
        shown = "\n  ".join(mismatches[:50])
        super().__init__(
            f"source and target differ in {len(mismatches)} places; nothing was changed:\n  {shown}\n"
            "For rows: clear the load task of the wave, it is copied again; or repair them. "
            "For definitions: clear prepare or harden"
        )


class NothingToValidate(PreconditionError):
    """No rows are carried that could be compared."""

    def __init__(self, record: MigrationRecord) -> None:
        super().__init__(
            f"{record.plan.name} is {record.state}: there is something to validate while it is {State.ACTIVE} or "
            f"{State.CUT_OVER}"
        )


class ValidationIncomplete(TransientError):
    """Nothing differs of what was compared, but not all could be."""

    def __init__(self, report: Report) -> None:
        self.report = report
        shown = "\n  ".join(report.problems[:50])
        super().__init__(
            f"{len(report.problems)} thing(s) could not be compared; of the others nothing differs:\n  {shown}\n"
            "Put the cause right, then validate again"
        )


def validate(m: Migration, *, run_id: str, mode: Mode = Mode.FULL, repairing: bool = False) -> Report:
    """
    Compare both sides while replication runs, and enter what was found in the journal.

    Killed and run again with the same run id it goes on where it was. Raises `MismatchFound` naming what differs,
    `ValidationIncomplete`; both carry the report.
    """
    report = examine(m, run_id=run_id, mode=mode, repairing=repairing)
    require_ok(report)
    return report


def require_ok(report: Report) -> None:
    """Raise `MismatchFound` or `ValidationIncomplete` for any verdict but ok; both carry the report."""
    if report.verdict is Verdict.MISMATCH:
        raise MismatchFound(report.problems, report)
    if report.verdict is Verdict.INCOMPLETE:
        raise ValidationIncomplete(report)
    rows = sum(table.rows[0] for table in report.tables)
    log.info("%s tables with %s rows are equal, in %.1f s", len(report.tables), rows, report.seconds)


def examine(m: Migration, *, run_id: str, mode: Mode = Mode.FULL, repairing: bool = False) -> Report:
    """
    `validate`, whatever its verdict. Raises `NothingToValidate`.

    :param repairing: replace rows that differ, on the side that does not serve, by those of the side that does
    """
    with m.journal() as journal:
        record = journal.get(m.plan.name)
        if record.state not in (State.ACTIVE, State.CUT_OVER):
            raise NothingToValidate(record)
        validation, started_at = journal.begin_validation(record.id, run_id, mode)
        with m.session(Side.SOURCE, "validate") as source, m.session(Side.TARGET, "validate") as target:
            checks = tuple(_checks(m, record, source, target, mode))
            ours, theirs = catalog.tables(source, m.plan.tables), catalog.tables(target, m.plan.tables)
            names = [_name(m, side, conn) for side, conn in ((Side.SOURCE, source), (Side.TARGET, target))]
            quick = list(statistics(source, target, ours)) if mode is Mode.QUICK else None
        tables = []
        with ExitStack() as stack:
            for result in (
                quick
                if quick is not None
                else stack.enter_context(_rows(m, record, validation, ours, theirs, mode=mode, repairing=repairing))
            ):
                tables.append(result)
                _log(result, len(tables), len(ours))
                journal.check_table(
                    validation, table=result.table, rows=result.rows, detail=result.detail, ms=result.seconds * 1000
                )
        report = Report(
            id=str(validation),
            plan=m.plan.name,
            run_id=run_id,
            mode=mode,
            started_at=started_at,
            finished_at=datetime.now(UTC),
            source=names[0],
            target=names[1],
            checks=checks,
            tables=tuple(sorted(tables, key=lambda table: table.table)),
        )
        journal.end_validation(validation, equal=report.verdict is Verdict.OK)
    return report


@contextmanager
def _rows(
    m: Migration,
    record: MigrationRecord,
    validation: UUID,
    ours: list[Table],
    theirs: list[Table],
    *,
    mode: Mode,
    repairing: bool,
) -> Iterator[Iterator[TableResult]]:
    """Results of all tables, as they come."""
    with m.session(Side.TARGET, "validate") as entering, _gently(m, record) as gently:
        comparison = Comparison(
            m.plan.validation,
            ours,
            theirs,
            pairs=lambda: _pair(m, record),
            progress=Journalled(entering, record.id, validation),
            gently=gently,
            repairing=repairing,
            sample=m.plan.validation.sample if mode is Mode.SAMPLE else None,
        )
        yield comparison.run()


def _checks(
    m: Migration, record: MigrationRecord, source: Connection, target: Connection, mode: Mode
) -> Iterator[CheckResult]:
    with _carrier(m, record) as carrier:
        sides = BothSides(
            source=source,
            target=target,
            tables=m.plan.tables,
            authority=_direction(record).old,
            carrier=carrier,
            **_may_differ(m, record, source, target),
            application_roles=m.plan.cutover.application_roles,
        )
        for result in run_checks(sides, mode):
            said = "as it should be" if result.verdict is Verdict.OK else "; ".join(result.lines)
            log.info("%s: %s (%s)", result.name, said, result.note)
            yield result


def _log(result: TableResult, number: int, of: int) -> None:
    verdict = "equal" if result.verdict is Verdict.OK else f"{result.verdict.upper()}: {result.detail}"
    log.info("%s/%s %s: %s rows, %.1f s: %s", number, of, result.table, result.rows[0], result.seconds, verdict)


def _name(m: Migration, side: Side, conn: Connection) -> str:
    endpoint = m.endpoint(side)
    return f"{endpoint.name}: {endpoint.dbname} on {endpoint.host}, PostgreSQL {capabilities(conn).version}"


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
    return compare(source, target, m.plan.tables, **_may_differ(m, record, source, target))


class _MayDiffer(TypedDict):
    """As `compare` takes it."""

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


def _direction(record: MigrationRecord) -> Direction:
    """In which rows are carried now."""
    return Direction.BACK if record.state is State.CUT_OVER else Direction.FORWARD


@contextmanager
def _pair(m: Migration, record: MigrationRecord) -> Iterator[Pair]:
    settings = m.plan.validation
    with (
        m.session(Side.SOURCE, "validate") as source,
        m.session(Side.TARGET, "validate") as target,
        _carrier(m, record) as carrier,
    ):
        for conn in (source, target):
            limit_statements(conn, settings)
        yield Pair(
            source=source,
            target=target,
            caught_up=lambda: carrier.wait_caught_up(time.monotonic() + settings.settle.total_seconds()),
            direction=_direction(record),
        )


@contextmanager
def _carrier(m: Migration, record: MigrationRecord) -> Iterator[Carrier]:
    with m.session(Side.SOURCE, "validate") as source, m.session(Side.TARGET, "validate") as target:
        yield carrier_of(m, _direction(record), source=source, target=target, record=record)


@contextmanager
def _gently(m: Migration, record: MigrationRecord) -> Iterator[Gently]:
    side = _direction(record).old
    with m.session(side, "validate") as serving, _carrier(m, record) as carrier:

        def lag() -> int:
            try:
                return carrier.lag().bytes
            except CrossfadeError:
                return 0  # what is wrong with it is said where rows are waited for

        yield Gently(m.plan.validation.back_off, serving, lag)
