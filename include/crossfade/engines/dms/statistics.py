"""What AWS DMS counts for each table: state of the load, changes applied, validation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from crossfade.engines.dms.refusals import Client, pages

#: States in which a table receives nothing any more (API reference of AWS DMS: TableStatistics, TableState).
BROKEN = frozenset({"Table error", "Table cancelled", "Table does not exist"})
COMPLETED = "Table completed"

#: Validation states by what they mean for the result (same source, ValidationState).
VALIDATED = frozenset({"Validated"})
UNDER_WAY = frozenset({"Pending records", "Pending validation", "Preparing table", "Pending revalidation"})
DIFFERENT = frozenset({"Mismatched records", "Suspended records"})
NOT_VALIDATED = frozenset({"Not enabled", "No primary key"})
VALIDATION_FAILED = frozenset({"Table error", "Error"})


@dataclass(frozen=True, kw_only=True, slots=True)
class TableStatistics:
    """One table of a task, as AWS counts it."""

    schema: str
    table: str
    state: str
    rows: int  #: loaded
    error_rows: int  #: that the load could not write
    inserts: int  #: captured, like updates, deletes and ddls
    updates: int
    deletes: int
    ddls: int
    applied: int  #: inserts, updates, deletes and DDL applied to the target
    load_started: datetime | None
    load_ended: datetime | None
    validation: str  #: state
    validation_details: str | None
    validation_pending: int  #: records
    validation_failed: int  #: records
    validation_suspended: int  #: records

    @property
    def full_name(self) -> str:
        """Schema and name, for messages."""
        return f"{self.schema}.{self.table}"

    @property
    def captured(self) -> int:
        """Changes read from the source."""
        return self.inserts + self.updates + self.deletes + self.ddls

    @property
    def trouble(self) -> str | None:
        """Why this table is not, or will not stay, a copy of the source's; None where it is well."""
        if self.state in BROKEN or "suspend" in self.state.lower():
            return self.state
        if self.error_rows:
            return f"{self.error_rows:,} rows could not be written"
        return None

    @property
    def line(self) -> str:
        """One line for a log: state, rows loaded, changes applied."""
        words = [self.state, f"{self.rows:,} rows"]
        if self.load_started and self.load_ended and (seconds := (self.load_ended - self.load_started).total_seconds()):
            words.append(f"{seconds:.0f} s")
        if self.captured or self.applied:
            words.append(f"{self.applied:,} of {self.captured:,} changes applied")
        if self.error_rows:
            words.append(f"{self.error_rows:,} rows in error")
        return f"{self.full_name}: {', '.join(words)}"


def statistics(dms: Client, arn: str) -> tuple[TableStatistics, ...]:
    """Every table of the task, by name; empty before its first start. Raises as `refusals.asking`."""
    found = pages(
        dms,
        "describe_table_statistics",
        "TableStatistics",
        action="dms:DescribeTableStatistics",
        subject=f"replication task {arn}",
        ReplicationTaskArn=arn,
    )
    return tuple(sorted((_table(told) for told in found), key=lambda table: (table.schema, table.table)))


def _table(told: Mapping[str, Any]) -> TableStatistics:
    def count(*names: str) -> int:
        return sum(int(told.get(name) or 0) for name in names)

    return TableStatistics(
        schema=told["SchemaName"],
        table=told["TableName"],
        state=told.get("TableState") or "Before load",
        rows=count("FullLoadRows"),
        error_rows=count("FullLoadErrorRows"),
        inserts=count("Inserts"),
        updates=count("Updates"),
        deletes=count("Deletes"),
        ddls=count("Ddls"),
        applied=count("AppliedInserts", "AppliedUpdates", "AppliedDeletes", "AppliedDdls"),
        load_started=told.get("FullLoadStartTime"),
        load_ended=told.get("FullLoadEndTime"),
        validation=told.get("ValidationState") or "Not enabled",
        validation_details=told.get("ValidationStateDetails") or None,
        validation_pending=count("ValidationPendingRecords"),
        validation_failed=count("ValidationFailedRecords"),
        validation_suspended=count("ValidationSuspendedRecords"),
    )


def broken(tables: Iterable[TableStatistics]) -> tuple[TableStatistics, ...]:
    """The tables that are not a copy of the source's and will not become one by waiting."""
    return tuple(table for table in tables if table.trouble)


def waiting(tables: Iterable[TableStatistics]) -> tuple[TableStatistics, ...]:
    """The tables whose load has not ended, well or badly."""
    return tuple(table for table in tables if table.state != COMPLETED and not table.trouble)


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationSummary:
    """What DMS's own validation says, by tables' names."""

    validated: tuple[str, ...]
    under_way: tuple[str, ...]
    different: tuple[str, ...]  #: with the number of records that differ or could not be compared
    not_validated: tuple[str, ...]  #: with the reason
    failed: tuple[str, ...]  #: with the state: the validation itself failed

    @property
    def ended(self) -> bool:
        """Whether no table is still being compared."""
        return not self.under_way

    @property
    def clean(self) -> bool:
        """Whether everything that is compared is equal, and something was."""
        return bool(self.validated) and self.ended and not self.different and not self.failed

    @property
    def line(self) -> str:
        """One line for a log."""
        words = [f"{len(self.validated)} tables validated"]
        for name, tables in (
            ("under way", self.under_way),
            ("different", self.different),
            ("not validated", self.not_validated),
            ("failed", self.failed),
        ):
            if tables:
                words.append(f"{name}: {', '.join(tables)}")
        return "; ".join(words)


def validation_summary(tables: Iterable[TableStatistics]) -> ValidationSummary:
    """Group the tables by what their validation state means; a state that is not known counts as failed."""
    groups: dict[str, list[str]] = {
        "validated": [],
        "under_way": [],
        "different": [],
        "not_validated": [],
        "failed": [],
    }
    for table in tables:
        group, text = _validation(table)
        groups[group].append(text)
    return ValidationSummary(**{group: tuple(names) for group, names in groups.items()})


def _validation(table: TableStatistics) -> tuple[str, str]:
    name, state = table.full_name, table.validation
    if state in DIFFERENT or table.validation_failed or table.validation_suspended:
        return "different", f"{name} ({table.validation_failed:,} failed, {table.validation_suspended:,} suspended)"
    if state in VALIDATED:
        return "validated", name
    if state in UNDER_WAY:
        return "under_way", f"{name} ({table.validation_pending:,} pending)" if table.validation_pending else name
    if state in NOT_VALIDATED:
        return "not_validated", f"{name} ({state})"
    return "failed", f"{name} ({state}{': ' + table.validation_details if table.validation_details else ''})"
