"""What a cutover is allowed by: rehearsals, validations and approvals, as the journal on the target holds them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, LiteralString
from uuid import UUID

from crossfade.connect import Connection, scalar

if TYPE_CHECKING:
    from crossfade.journal import MigrationRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Approval:
    """A recorded yes of a person."""

    approver: str
    approved_at: datetime
    plan_hash: str
    validation_id: UUID | None = None  #: of a cutover
    action: str = "cutover"  #: or rollback, or cleanup


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationRecord:
    """The outcome of one validation."""

    id: UUID
    run_id: str
    equal: bool | None  #: None while it is under way or after it was killed
    age: timedelta | None  #: of what was looked at longest ago
    plan_hash: str = ""
    reloaded: bool = False  #: whether a table was loaded again since it was compared


_VALIDATION: LiteralString = """
    SELECT id, run_id, equal, plan_hash, clock_timestamp() - LEAST(
            (SELECT min(checked_at) FROM crossfade.table_check WHERE validation_id = v.id),
            (SELECT min(done_at) FROM crossfade.validation_part WHERE validation_id = v.id),
            checks_done_at, finished_at
        ) AS age,
        EXISTS (
            SELECT FROM crossfade.table_check c
            JOIN crossfade.part p ON p.migration_id = c.migration_id AND p.table_name = c.table_name
            WHERE c.validation_id = v.id AND p.changed_at > c.checked_at
        ) AS reloaded
    FROM crossfade.validation v"""


class Evidence:
    """The journal's tables ``rehearsal`` and ``approval``, and how validations ended."""

    def __init__(self, conn: Connection) -> None:
        self.conn = conn

    # --- rehearsals -----------------------------------------------------------------------------------------------

    def enter_rehearsal(
        self, record: MigrationRecord, *, clean: bool, predicted_ms: float | None, held_ms: float | None, detail: str
    ) -> None:
        """Enter how a rehearsal went."""
        self.conn.execute(
            "INSERT INTO crossfade.rehearsal (migration_id, plan_hash, clean, predicted_ms, held_ms, detail)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            [record.id, record.plan.hash, clean, predicted_ms, held_ms, detail],
        )

    def clean_rehearsals(self, record: MigrationRecord) -> int:
        """How many rehearsals of this plan found nothing in the way."""
        query = "SELECT count(*) FROM crossfade.rehearsal WHERE migration_id = %s AND plan_hash = %s AND clean"
        return int(scalar(self.conn, query, [record.id, record.plan.hash]))

    def last_rehearsal(self, record: MigrationRecord) -> dict[str, Any] | None:
        """The newest rehearsal of this plan: at, clean, predicted_ms, held_ms, detail."""
        return self.conn.execute(
            "SELECT at, clean, predicted_ms, held_ms, detail FROM crossfade.rehearsal"
            " WHERE migration_id = %s AND plan_hash = %s ORDER BY id DESC LIMIT 1",
            [record.id, record.plan.hash],
        ).fetchone()

    def unseen_for(self, migration: UUID) -> float:
        """Seconds since the first of the newest samples in a row in which no watermark had arrived; 0 without any."""
        query = """
            SELECT COALESCE(extract(epoch FROM clock_timestamp() - min(at)), 0)::float8 FROM crossfade.lag_sample
            WHERE migration_id = %(id)s AND seconds IS NULL AND at > COALESCE(
                (SELECT max(at) FROM crossfade.lag_sample WHERE migration_id = %(id)s AND seconds IS NOT NULL),
                '-infinity')"""
        return float(scalar(self.conn, query, {"id": migration}))

    # --- validation and approval ----------------------------------------------------------------------------------

    def last_validation(self, migration: UUID) -> ValidationRecord | None:
        """The newest validation of every row that came to its end, or has found a difference."""
        row = self.conn.execute(
            f"{_VALIDATION} WHERE migration_id = %s AND mode = 'full' AND (finished_at IS NOT NULL OR NOT equal)"
            " ORDER BY started_at DESC LIMIT 1",
            [migration],
        ).fetchone()
        return None if row is None else ValidationRecord(**row)

    def validation(self, validation: UUID) -> ValidationRecord:
        """That one, also while it is under way, or is done again."""
        row = self.conn.execute(f"{_VALIDATION} WHERE id = %s", [validation]).fetchone()
        assert row is not None, "nothing deletes validations"
        return ValidationRecord(**row)

    def approve(self, migration: UUID, *, run_id: str, approval: Approval) -> None:
        """Record a person's yes."""
        self.conn.execute(
            "INSERT INTO crossfade.approval"
            " (migration_id, run_id, approver, approved_at, plan_hash, validation_id, action)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [
                migration,
                run_id,
                approval.approver,
                approval.approved_at,
                approval.plan_hash,
                approval.validation_id,
                approval.action,
            ],
        )

    def last_approval(self, migration: UUID, run_id: str, action: str = "cutover") -> Approval | None:
        """The newest approval of that run, for that."""
        row = self.conn.execute(
            "SELECT approver, approved_at, plan_hash, validation_id, action FROM crossfade.approval"
            " WHERE migration_id = %s AND run_id = %s AND action = %s ORDER BY approved_at DESC LIMIT 1",
            [migration, run_id, action],
        ).fetchone()
        return None if row is None else Approval(**row)
