"""
The ledger of what was dropped on the target for the time of a load: foreign keys, triggers, indexes, NOT NULL.

Each is entered and dropped in one transaction, so that whatever is missing is in the ledger, wherever a run was killed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from uuid import UUID

import psycopg

from crossfade.connect import Connection, scalar
from crossfade.errors import PreconditionError
from crossfade.queries import named_queries
from crossfade.schema.patience import LOCKED, patiently
from crossfade.schema.statements import SETTINGS, Report, set_locally

_QUERIES = named_queries(__file__)


class Kind(StrEnum):
    """What can be dropped and made again."""

    INDEX = "index"
    FOREIGN_KEY = "foreign key"
    TRIGGER = "trigger"
    NOT_NULL = "not null"


@dataclass(frozen=True, kw_only=True, slots=True)
class Dropped:
    """One entry that waits to be restored."""

    id: int
    kind: Kind
    schema: str
    table: str
    name: str  #: of the constraint, trigger or index; of the column for NOT NULL
    definition: tuple[str, ...]  #: SQL; each element is run in a transaction of its own

    def __str__(self) -> str:
        return f"{self.kind} {self.name} on {self.schema}.{self.table}"


class NotRestored(PreconditionError):
    """The target refused to make again what was dropped."""

    def __init__(self, *, entry: Dropped, sqlstate: str, message: str) -> None:
        self.entry, self.sqlstate = entry, sqlstate
        super().__init__(
            f"the {entry} could not be restored: {message.strip()} (SQLSTATE {sqlstate}). It stays in the ledger "
            f"(crossfade.restore, id {entry.id}). {_REMEDIES.get(sqlstate, 'Put right what it names')}, "
            "then run this again: what is there already is left alone"
        )


_REMEDIES = {
    "23503": "Rows are missing in the table it points at: compare it with the source and reload it",
    "23505": "Rows are there twice: compare the table with the source and reload it",
    "23P01": "Rows are there that exclude each other: compare the table with the source and reload it",
    "42501": "The migration role must be able to SET ROLE to the table's owner (docs/privileges/target.sql)",
    "53100": "Give the target more disk",
}


@contextmanager
def refusals(conn: Connection, entry: Dropped) -> Iterator[None]:
    """Turn the server's errors into `NotRestored`, but for locks, which may be waited for, and lost connections."""
    try:
        yield
    except LOCKED:
        raise
    except psycopg.Error as error:
        if conn.closed or error.sqlstate is None:
            raise
        message = f"{error.diag.message_primary}. {error.diag.message_detail or ''}"
        raise NotRestored(entry=entry, sqlstate=error.sqlstate, message=message) from error


class Ledger:
    """
    What was dropped for one migration, in ``crossfade.restore`` on the target.

    :param conn: an autocommit connection to the target
    :param migration: whose entries: the journal's id

    Every method may be run again. Those that change tables raise `DeadlineExceeded` where locks did not come in time.
    """

    def __init__(self, conn: Connection, migration: UUID) -> None:
        self.conn = conn
        self.migration = migration

    def pending(self, kind: Kind | None = None) -> list[Dropped]:
        """What waits to be restored, of one kind or all: indexes, foreign keys, triggers, NOT NULL."""
        rows = self.conn.execute(_QUERIES["pending"], {"migration": self.migration, "kind": kind}).fetchall()
        return [Dropped(**{**row, "kind": Kind(row["kind"]), "definition": tuple(row["definition"])}) for row in rows]

    def enter(self, kind: Kind, *, schema: str, table: str, name: str, definition: Sequence[str]) -> None:
        """Enter what the caller's transaction is about to drop. An entry that is pending already stays as it is."""
        self.conn.execute(
            _QUERIES["enter"],
            {
                "migration": self.migration,
                "kind": kind,
                "schema": schema,
                "table": table,
                "name": name,
                "definition": list(definition),
            },
        )

    def settle(self, entry: Dropped) -> None:
        """Enter that it is there again, in the caller's transaction."""
        self.conn.execute("UPDATE crossfade.restore SET restored_at = clock_timestamp() WHERE id = %s", [entry.id])

    def forget(self) -> None:
        """Remove every entry: the tables themselves were dropped, and come back whole."""
        self.conn.execute("DELETE FROM crossfade.restore WHERE migration_id = %s", [self.migration])

    # --- dropping -------------------------------------------------------------------------------------------------

    def drop_foreign_keys(self, tables: Iterable[tuple[str, str]], report: Report) -> int:
        """
        Drop the foreign keys from and to tables (schema, name); how many.

        The key of a partition that comes from its partitioned table is dropped there. Keys whose internal triggers
        somebody disabled come back enabled.
        """
        return self._drop_all(Kind.FOREIGN_KEY, "foreign_keys", tables, report)

    def drop_triggers(self, tables: Iterable[tuple[str, str]], report: Report) -> int:
        """
        Drop the user triggers of tables (schema, name); how many.

        The trigger of a partition that comes from its partitioned table is dropped there.
        """
        return self._drop_all(Kind.TRIGGER, "triggers", tables, report)

    def drop_indexes(self, tables: Iterable[tuple[str, str]], report: Report) -> int:
        """
        Drop the indexes of tables (schema, name), also those of UNIQUE and EXCLUDE constraints; how many.

        Primary keys, replica identities and what foreign keys point at stay, as do invalid indexes, which is reported.
        An index of a partition is dropped, and restored, with the one that it is attached to.
        """
        return self._drop_all(Kind.INDEX, "indexes", tables, report)

    def _drop_all(self, kind: Kind, query: str, tables: Iterable[tuple[str, str]], report: Report) -> int:
        chosen = list(tables)
        names = {"schemas": [schema for schema, _ in chosen], "names": [name for _, name in chosen]}
        with self.conn.transaction():
            set_locally(self.conn, SETTINGS)  # every name prints qualified
            rows = self.conn.execute(_QUERIES[query], names).fetchall()
        dropped = 0
        for row in rows:
            what = f"{kind} {row['name']} on {row['schema']}.{row['table']}"
            if reason := row.pop("kept", None):
                report(f"{what} stays: {reason}")
                continue
            patiently(self.conn, f"dropping the {what}", partial(self._drop, kind, **row), report)
            report(f"{what} dropped")
            dropped += 1
        return dropped

    def _drop(
        self, kind: Kind, *, schema: str, table: str, name: str, drop: Sequence[str], definition: Sequence[str]
    ) -> None:
        self.enter(kind, schema=schema, table=table, name=name, definition=definition)
        for statement in drop:
            self.conn.execute(statement.encode())

    # --- restoring ------------------------------------------------------------------------------------------------

    def restore(self, report: Report) -> int:
        """
        Make indexes, foreign keys and triggers again that are pending; how many. NOT NULL: `not_null.restore_not_null`.

        What is there by now, whoever made it, is left as it is. Foreign keys are made NOT VALID, then validated, so
        that no lock is held while rows are read; before 18 not those of partitioned tables, which cannot be. Indexes
        are not made CONCURRENTLY: writes to their table wait.

        Raises `NotRestored`.
        """
        made = 0
        for entry in self.pending():
            if entry.kind is Kind.NOT_NULL:
                continue
            for stage in range(len(entry.definition)):
                what = f"restoring the {entry}"
                patiently(self.conn, what, partial(self._make, entry, stage), report)
            report(f"{entry} restored")
            made += 1
        return made

    def _make(self, entry: Dropped, stage: int) -> None:
        if not self.lock(entry):
            return
        with refusals(self.conn, entry):
            if stage > 0 or not self._there(entry):
                set_locally(self.conn, SETTINGS)
                self.conn.execute(entry.definition[stage].encode())
        if stage == len(entry.definition) - 1:
            self.settle(entry)

    def lock(self, entry: Dropped) -> bool:
        """Keep other sessions from restoring the same until the transaction ends; False where one has."""
        query = "SELECT restored_at IS NULL FROM crossfade.restore WHERE id = %s FOR UPDATE"
        return bool(scalar(self.conn, query, [entry.id]))

    def _there(self, entry: Dropped) -> bool:
        names = {"kind": entry.kind, "schema": entry.schema, "table": entry.table, "name": entry.name}
        return bool(scalar(self.conn, _QUERIES["there"], names))
