"""The journal on the target: what was done, when, by whom it was approved, and what was seen."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from crossfade import control
from crossfade.catalog import Table
from crossfade.connect import Connection, scalar
from crossfade.engines.base import Lag
from crossfade.errors import NotOursToWrite, PreconditionError
from crossfade.journal_evidence import Evidence
from crossfade.plan import Plan, parse_plan
from crossfade.routers.base import Side


class State(StrEnum):
    """Where a migration is."""

    ACTIVE = "active"  #: the target is ours to write to
    CUTTING_OVER = "cutting over"  #: a cutover is under way
    CUT_OVER = "cut over"  #: the target serves
    ROLLING_BACK = "rolling back"  #: a rollback is under way
    ABANDONED = "abandoned"  #: given up; its streams are gone
    COMPLETED = "completed"  #: cut over, and cleaned up: there is no way back any more


class NoMigration(PreconditionError):
    """The journal knows no migration of that plan."""

    def __init__(self, *, plan: str) -> None:
        super().__init__(
            f"the target's journal knows no migration of the plan {plan!r}. "
            f"Run the task prepare of {plan}.migrate first; nothing was changed"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class MigrationRecord:
    """One migration as the journal holds it."""

    id: UUID
    state: State
    plan: Plan
    archive: bytes | None
    stamp: str | None
    #: Of rows to the target: what the plan says or, after a rollback, 'native', or a task of AWS DMS from a 'slot'.
    carrier: str = "plan"
    cut_over_at: datetime | None = None
    writes_at_opening: int | None = None  #: `catalog.row_changes` of the target when it was opened


class Journal(Evidence):
    """The tables of ``crossfade`` that only the target has. The only writer of them."""

    # --- migrations -----------------------------------------------------------------------------------------------

    def find(self, plan: str) -> MigrationRecord | None:
        """The migration of that plan that goes on; None where there is none. Raises `NewerJournal`."""
        control.check(self.conn)
        if control.version(self.conn) == 0 or scalar(self.conn, "SELECT to_regclass('crossfade.migration')") is None:
            return None
        if control.version(self.conn) < control.VERSION:
            control.install(self.conn, Side.TARGET)
        row = self.conn.execute(
            "SELECT id, state, document, archive, stamp, carrier, cut_over_at, writes_at_opening"
            " FROM crossfade.migration WHERE plan = %s AND state NOT IN ('abandoned', 'completed')",
            [plan],
        ).fetchone()
        if row is None:
            return None
        plan_as_pinned = parse_plan(row.pop("document"), name=plan, file=f"{plan} as pinned in the journal")
        return MigrationRecord(**{**row, "state": State(row["state"]), "plan": plan_as_pinned})

    def get(self, plan: str) -> MigrationRecord:
        """The migration of that plan. Raises `NoMigration`."""
        found = self.find(plan)
        if found is None:
            raise NoMigration(plan=plan)
        return found

    def writable(self, plan: str, task: str) -> MigrationRecord:
        """The migration, if its target is still ours to write to. Raises `NotOursToWrite`, `NoMigration`."""
        found = self.get(plan)
        if found.state is not State.ACTIVE:
            raise NotOursToWrite(plan=plan, state=found.state, task=task)
        return found

    def pin(self, plan: Plan) -> MigrationRecord:
        """Record the plan as the one that runs: a new migration, or the active one with the plan as it is now."""
        self.conn.execute(
            """
            INSERT INTO crossfade.migration (plan, hash, document) VALUES (%s, %s, %s)
            ON CONFLICT (plan) WHERE state NOT IN ('abandoned', 'completed')
            DO UPDATE SET hash = excluded.hash, document = excluded.document, changed_at = clock_timestamp()
            WHERE migration.hash <> excluded.hash""",
            [plan.name, plan.hash, Jsonb(json.loads(plan.to_json()))],
        )
        return self.get(plan.name)

    def others_tables(self, plan: str) -> dict[str, str]:
        """Tables of other plans' migrations into this target: name -> plan."""
        rows = self.conn.execute(
            """
            SELECT p.table_name, m.plan FROM crossfade.part p JOIN crossfade.migration m ON m.id = p.migration_id
            WHERE m.plan <> %s AND m.state NOT IN ('abandoned', 'completed')""",
            [plan],
        ).fetchall()
        return {row["table_name"]: row["plan"] for row in rows}

    def others_serving(self, plan: str) -> list[str]:
        """Plans whose applications this target serves, or is about to: others, and any that was completed."""
        rows = self.conn.execute(
            "SELECT DISTINCT plan FROM crossfade.migration WHERE state = 'completed'"
            " OR (plan <> %s AND state IN ('cutting over', 'cut over', 'rolling back')) ORDER BY 1",
            [plan],
        ).fetchall()
        return [row["plan"] for row in rows]

    def keep_archive(self, migration: UUID, archive: bytes, stamp: str) -> None:
        """Keep the source's schema, and the stamp of the definitions it was taken from."""
        self.conn.execute(
            "UPDATE crossfade.migration SET archive = %s, stamp = %s WHERE id = %s", [archive, stamp, migration]
        )

    def keep_stamp(self, migration: UUID, stamp: str) -> None:
        """Keep the stamp of the source's definitions as they are now, which the target was found to have, too."""
        self.conn.execute("UPDATE crossfade.migration SET stamp = %s WHERE id = %s", [stamp, migration])

    def set_state(self, migration: UUID, state: State) -> None:
        """Enter where the migration is now."""
        self.conn.execute(
            "UPDATE crossfade.migration SET state = %s, changed_at = clock_timestamp() WHERE id = %s",
            [state, migration],
        )

    def enter_opening(self, migration: UUID, *, writes: int | None) -> None:
        """Enter since when the target serves, and how many row changes it had counted by then."""
        self.conn.execute(
            "UPDATE crossfade.migration SET cut_over_at = clock_timestamp(), writes_at_opening = %s WHERE id = %s",
            [writes, migration],
        )

    def enter_return(self, migration: UUID, *, carrier: str) -> None:
        """Enter that the source serves again, and what carries rows to the target from now on."""
        self.conn.execute(
            "UPDATE crossfade.migration SET state = 'active', carrier = %s, cut_over_at = NULL,"
            " writes_at_opening = NULL, changed_at = clock_timestamp() WHERE id = %s",
            [carrier, migration],
        )

    def change_state(self, migration: UUID, old: State, new: State) -> None:
        """Enter where the migration is now, if it was there before. Raises `NotOursToWrite` where it was not."""
        changed = self.conn.execute(
            "UPDATE crossfade.migration SET state = %s, changed_at = clock_timestamp() WHERE id = %s AND state = %s"
            " RETURNING plan",
            [new, migration, old],
        ).fetchone()
        if changed is None:
            row = self.conn.execute("SELECT plan, state FROM crossfade.migration WHERE id = %s", [migration]).fetchone()
            raise NotOursToWrite(plan=row["plan"] if row else "?", state=row["state"] if row else "gone", task=new)

    # --- steps ----------------------------------------------------------------------------------------------------

    @contextmanager
    def step(self, migration: UUID, name: str, *, attempt: UUID | None = None, ordinal: int = 0) -> Iterator[None]:
        """Enter a step before it runs, and its milliseconds and outcome afterwards."""
        row = scalar(
            self.conn,
            "INSERT INTO crossfade.step (migration_id, attempt_id, ordinal, name) VALUES (%s, %s, %s, %s) RETURNING id",
            [migration, attempt, ordinal, name],
        )
        start, outcome, detail = time.monotonic(), "done", ""
        try:
            yield
        except BaseException as error:
            outcome, detail = "failed", f"{type(error).__name__}: {error}"
            raise
        finally:
            self._end_step(row, (time.monotonic() - start) * 1000, outcome, detail)

    def _end_step(self, row: int, ms: float, outcome: str, detail: str) -> None:
        if self.conn.closed or self.conn.broken:
            return  # the row says 'running' for ever, which is what is known of it
        self.conn.execute(
            "UPDATE crossfade.step SET ms = %s, outcome = %s, detail = %s WHERE id = %s", [ms, outcome, detail, row]
        )

    def enter_step(self, migration: UUID, *, attempt: UUID, name: str, ordinal: int, ms: float) -> None:
        """Enter a step of an attempt that is done."""
        self.conn.execute(
            "INSERT INTO crossfade.step (migration_id, attempt_id, ordinal, name, ms, outcome)"
            " VALUES (%s, %s, %s, %s, %s, 'done')",
            [migration, attempt, ordinal, name, ms],
        )

    def mark(self, migration: UUID, name: str) -> None:
        """Enter that something was done; in the caller's transaction, so that it is entered if and only if it was."""
        self.conn.execute(
            "INSERT INTO crossfade.step (migration_id, name, ms, outcome) VALUES (%s, %s, 0, 'done')", [migration, name]
        )

    def marked(self, migration: UUID, name: str) -> bool:
        """Whether `mark` entered that name for this migration."""
        query = "SELECT EXISTS (SELECT FROM crossfade.step WHERE migration_id = %s AND name = %s AND outcome = 'done')"
        return bool(scalar(self.conn, query, [migration, name]))

    def forget_mark(self, migration: UUID, name: str) -> None:
        """Forget that `mark` entered that name: it has to be done again."""
        self.conn.execute(
            "DELETE FROM crossfade.step WHERE migration_id = %s AND name = %s AND attempt_id IS NULL", [migration, name]
        )

    def unmark(self, migration: UUID) -> None:
        """Forget every mark of this migration: it begins anew, with what its plan says."""
        self.conn.execute("UPDATE crossfade.migration SET carrier = 'plan' WHERE id = %s", [migration])
        self.conn.execute("DELETE FROM crossfade.step WHERE migration_id = %s AND attempt_id IS NULL", [migration])

    # --- tables and lag -------------------------------------------------------------------------------------------

    def assign(self, migration: UUID, waves: Sequence[Sequence[Table]]) -> None:
        """Enter which table belongs to which wave, counted from 1."""
        rows = [(migration, n, t.schema, t.name, t.bytes) for n, wave in enumerate(waves, 1) for t in wave]
        with self.conn.transaction(), self.conn.cursor() as cur:
            cur.execute("DELETE FROM crossfade.part WHERE migration_id = %s", [migration])
            cur.executemany(
                "INSERT INTO crossfade.part (migration_id, wave, schema, name, bytes) VALUES (%s, %s, %s, %s, %s)", rows
            )

    def waves(self, migration: UUID) -> dict[int, tuple[tuple[str, str], ...]]:
        """Wave -> schema and name of its tables, the largest first."""
        found: dict[int, tuple[tuple[str, str], ...]] = {}
        for part in self.parts(migration):
            found[part["wave"]] = (*found.get(part["wave"], ()), (part["schema"], part["name"]))
        return found

    def parts(self, migration: UUID) -> list[dict[str, Any]]:
        """Every table with wave, state, rows and bytes."""
        return self.conn.execute(
            "SELECT wave, schema, name, table_name, state, rows, bytes FROM crossfade.part WHERE migration_id = %s"
            " ORDER BY wave, bytes DESC, table_name",
            [migration],
        ).fetchall()

    def set_part(self, migration: UUID, name: tuple[str, str], *, state: str, rows: int | None = None) -> None:
        """Enter how far the table of that schema and name is; rows None: as before."""
        self.conn.execute(
            "UPDATE crossfade.part SET state = %s, rows = COALESCE(%s, rows), changed_at = clock_timestamp()"
            " WHERE migration_id = %s AND (schema, name) = (%s, %s)",
            [state, rows, migration, *name],
        )

    def sample(self, migration: UUID, lag: Lag) -> None:
        """Enter a measured lag."""
        self.conn.execute(
            "INSERT INTO crossfade.lag_sample (migration_id, bytes, seconds, method) VALUES (%s, %s, %s, %s)",
            [migration, lag.bytes, lag.seconds, lag.method],
        )


def open_journal(conn: Connection) -> Journal:
    """The journal in this database, made where it is missing. Raises `NewerJournal`."""
    control.install(conn, Side.TARGET)
    return Journal(conn)
