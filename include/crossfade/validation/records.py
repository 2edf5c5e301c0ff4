"""What the journal holds of a validation: its batches of tables, what each check and each table came to, its end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from psycopg.types.json import Jsonb
from pydantic import BaseModel, ConfigDict

from crossfade.connect import Connection
from crossfade.errors import PreconditionError
from crossfade.queries import named_queries
from crossfade.validation.result import CheckResult, Mode, Report, Sides, TableResult, Verdict

if TYPE_CHECKING:
    from crossfade.journal import MigrationRecord

_QUERIES = named_queries(__file__)


class NoSuchValidation(PreconditionError):
    """The journal has no such validation: it was begun on another target. Clear the task `begin`."""


class Begun(BaseModel):
    """A validation as the journal has it."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    migration_id: UUID
    run_id: str
    mode: Mode
    started_at: datetime
    finished_at: datetime | None
    sides: Sides
    batches: tuple[tuple[str, ...], ...]  #: tables by their full names
    checks: tuple[CheckResult, ...] | None  #: None until they are done


class Records:
    """
    The journal's tables ``validation`` and ``table_check``.

    :param conn: an autocommit session on the target
    """

    def __init__(self, conn: Connection) -> None:
        self.conn = conn

    def begin(
        self, record: MigrationRecord, *, run_id: str, mode: Mode, sides: Sides, batches: Sequence[Sequence[str]]
    ) -> Begun:
        """Enter a validation; or find the one of this run that was killed, with the batches that it has."""
        values = {
            "migration": record.id,
            "hash": record.plan.hash,
            "run": run_id,
            "mode": mode,
            "sides": Jsonb(sides.model_dump()),
            "batches": Jsonb([list(batch) for batch in batches]),
        }
        row = self.conn.execute(_QUERIES["unfinished"], values).fetchone()
        row = row or self.conn.execute(_QUERIES["begin"], values).fetchone()
        assert row is not None, "RETURNING returns"
        return self.get(row["id"])

    def get(self, validation: UUID | str) -> Begun:
        """Raises `NoSuchValidation`."""
        row = self.conn.execute(_QUERIES["validation"], {"id": validation}).fetchone()
        if row is None:
            raise NoSuchValidation
        return Begun.model_validate(row)

    def open_checks(self, begun: Begun) -> None:
        """
        The checks begin, and what an earlier try found is forgotten.

        Where the validation was concluded it is under way again: until it is concluded anew it allows no cutover.
        """
        with self.conn.transaction():
            self.conn.execute(_QUERIES["open"], {"id": begun.id})
            self.conn.execute(_QUERIES["checked"], {"id": begun.id, "checks": None})

    def checked(self, begun: Begun, checks: Sequence[CheckResult]) -> None:
        """Enter what the checks beside the rows found."""
        found = Jsonb([check.model_dump(mode="json") for check in checks])
        self.conn.execute(_QUERIES["checked"], {"id": begun.id, "checks": found})
        self._tell(begun, *(check.verdict for check in checks))

    def open_batch(self, begun: Begun, batch: int) -> set[str]:
        """
        A batch begins: its tables that are to be compared, which are those not known to be equal; all where all are.

        What an earlier try found of them is forgotten, but for parts of a table whose comparison has not ended. The
        validation is under way again, as by `open_checks`.
        """
        names = set(begun.batches[batch])
        with self.conn.transaction():
            self.conn.execute(_QUERIES["open"], {"id": begun.id})
            equal = {result.table for result in self.results(begun) if result.verdict is Verdict.OK}
            due = names - equal or names
            self.conn.execute(_QUERIES["forget"], {"id": begun.id, "tables": sorted(due)})
        return due

    def _tell(self, begun: Begun, *verdicts: Verdict) -> None:
        """That something differs stands in a cutover's way at once."""
        if Verdict.MISMATCH in verdicts:
            self.conn.execute(_QUERIES["differs"], {"id": begun.id})

    def compared(self, begun: Begun, result: TableResult) -> None:
        """Enter what the comparison of a table found."""
        self._tell(begun, result.verdict)
        self.conn.execute(
            _QUERIES["compared"],
            {
                "id": begun.id,
                "table": result.table,
                "source_rows": result.rows[0],
                "target_rows": result.rows[1],
                "equal": result.verdict is Verdict.OK,
                "detail": "; ".join(result.problems),
                "ms": result.seconds * 1000,
                "result": Jsonb(result.model_dump(mode="json")),
            },
        )

    def results(self, begun: Begun) -> list[TableResult]:
        """Of the tables whose comparison has ended, by name."""
        rows = self.conn.execute(_QUERIES["results"], {"id": begun.id}).fetchall()
        return [TableResult.model_validate(row["result"]) for row in rows]

    def report(self, begun: Begun, plan: str) -> Report:
        """All that is known of it so far. What has not ended is incomplete."""
        found = {result.table: result for result in self.results(begun)}
        names = sorted(name for batch in begun.batches for name in batch)
        return Report(
            id=str(begun.id),
            plan=plan,
            run_id=begun.run_id,
            mode=begun.mode,
            started_at=begun.started_at,
            finished_at=begun.finished_at or datetime.now(UTC),
            source=begun.sides.source,
            target=begun.sides.target,
            checks=(_NOT_CHECKED,) if begun.checks is None else begun.checks,
            tables=tuple(found.get(name) or TableResult.not_compared(name, _NOT_ENDED) for name in names),
        )

    def conclude(self, begun: Begun, plan: str) -> Report:
        """Enter the verdict. A batch or the checks that begin meanwhile wait, and take it back."""
        with self.conn.transaction():
            self.conn.execute(_QUERIES["hold"], {"id": begun.id})
            equal = self.report(self.get(begun.id), plan).verdict is Verdict.OK
            self.conn.execute(_QUERIES["conclude"], {"id": begun.id, "equal": equal})
            return self.report(self.get(begun.id), plan)


_NOT_ENDED = "its comparison did not come to an end: the log of its task tells why"
_NOT_CHECKED = CheckResult(
    name="checks",
    title="all that is compared beside rows",
    verdict=Verdict.INCOMPLETE,
    lines=("they did not come to an end: the log of their task tells why",),
)
