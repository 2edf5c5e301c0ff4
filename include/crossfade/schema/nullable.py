"""Columns whose NOT NULL waits in the ledger: checks that stand in for it, their validation, and the end of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg import sql

from crossfade.connect import Connection, scalar
from crossfade.errors import PreconditionError
from crossfade.queries import named_queries
from crossfade.schema.ledger import Dropped, Kind, Ledger, refusals
from crossfade.schema.patience import patiently
from crossfade.schema.statements import Report

_QUERIES = named_queries(__file__)

NOT_VALID: Final = " NOT VALID"  #: ends the definition of what never held for old rows


class NullsFound(PreconditionError):
    """Rows have NULL in columns that must not be NULL."""

    def __init__(self, *, found: Sequence[str]) -> None:
        self.found = found
        super().__init__(
            f"NOT NULL cannot be restored: {'; '.join(found)}. The columns stay nullable, and in the ledger "
            "(crossfade.restore). Is the stream still applying changes? Let it end first. Otherwise these values were "
            "not carried: reload the tables, or set the values from the source, then run this again"
        )


class ColumnGone(PreconditionError):
    """A column of the ledger is no longer there."""

    def __init__(self, *, entries: Sequence[Dropped]) -> None:
        super().__init__(
            f"these columns are in the ledger (crossfade.restore) and not in the database: "
            f"{', '.join(_said(entry) for entry in entries)}. Make them again, or delete their rows there "
            f"(id {', '.join(str(entry.id) for entry in entries)}) if they were dropped on purpose"
        )


class PendingNotNull:
    """Columns that wait for their NOT NULL, and how far each is; `refresh` reads them."""

    def __init__(self, conn: Connection, migration: UUID, report: Report, seconds: float) -> None:
        self._conn, self._report, self._seconds = conn, report, seconds
        self._ledger = Ledger(conn, migration)
        self._pending: list[Dropped] = []
        self._states: dict[int, dict[str, Any]] = {}

    def refresh(self) -> list[Dropped]:
        """The entries as they are now. Raises `ColumnGone`."""
        self._pending = self._ledger.pending(Kind.NOT_NULL)
        self._states = self._read() if self._pending else {}
        if gone := [entry for entry in self._pending if entry.id not in self._states]:
            raise ColumnGone(entries=gone)
        return self._pending

    def _read(self) -> dict[int, dict[str, Any]]:
        rows = self._conn.execute(_QUERIES["states"], {"migration": self._ledger.migration}).fetchall()
        return {row["id"]: row for row in rows}

    def enforce(self) -> set[int]:
        """Add the checks that are missing, all of a table by one statement; the entries that got theirs."""
        added: set[int] = set()
        for entries in self._by_table(lambda state: state["has_rows"] and not state["not_null"] | state["enforced"]):
            checks = [
                sql.SQL("ADD CONSTRAINT {} CHECK ({} IS NOT NULL) NO INHERIT NOT VALID").format(
                    _check(entry), sql.Identifier(entry.name)
                )
                for entry in entries
            ]
            self._alter(entries, "refusing NULL in", checks)
            added.update(entry.id for entry in entries)
        if added:
            self.refresh()
        return added

    def validate(self) -> None:
        """Read the rows of every table once. Raises `NullsFound`, after all tables were read."""
        found: list[str] = []
        valid = {entry.id for entry in self._pending if not entry.definition[0].endswith(NOT_VALID)}
        for entries in self._by_table(lambda state: state["enforced"] and not state["proved"] and state["id"] in valid):
            actions = [sql.SQL("VALIDATE CONSTRAINT {}").format(_check(entry)) for entry in entries]
            try:
                self._alter(entries, "looking for NULL in", actions)
            except psycopg.errors.CheckViolation:
                found += [said for entry in entries if (said := self._nulls(entry))]
        if found:
            raise NullsFound(found=found)
        self.refresh()

    def _nulls(self, entry: Dropped) -> str:
        """How many rows have NULL there and the key of one; empty where none has."""
        table, column = sql.Identifier(entry.schema, entry.table), sql.Identifier(entry.name)
        where = sql.SQL("FROM ONLY {} WHERE {} IS NULL").format(table, column)
        count = scalar(self._conn, sql.SQL("SELECT count(*) {}").format(where))
        if not count:
            return ""
        rows = self._conn.execute(_QUERIES["key_columns"], {"schema": entry.schema, "table": entry.table}).fetchall()
        key = [row["name"] for row in rows] or ["ctid"]
        columns = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in key)
        row = self._conn.execute(sql.SQL("SELECT {} {} LIMIT 1").format(columns, where)).fetchone()
        example = ", ".join(f"{name} = {value}" for name, value in (row or {}).items())
        return f"{_said(entry)} is NULL in {count} rows, for example where {example}"

    def finish(self) -> None:
        """Set NOT NULL where it is proved, table by table, the lowest first; the checks go in the same transaction."""
        for entries in self._by_table(lambda state: not state["not_null"]):
            names = ", ".join(_said(entry) for entry in entries)
            self._patiently(f"setting NOT NULL on {names}", partial(self._finish, entries))
        self.settle_what_is_there()

    def _finish(self, entries: Sequence[Dropped]) -> None:
        for entry in entries:
            with refusals(self._conn, entry):
                if self._ledger.lock(entry):
                    self._conn.execute(entry.definition[0].encode())
        self._settle(entries)

    def settle_what_is_there(self) -> None:
        """Close the entries of columns that are NOT NULL, by us, through their parent or by somebody else."""
        self.refresh()
        for entries in self._by_table(lambda state: state["not_null"]):
            names = ", ".join(_said(entry) for entry in entries)
            self._patiently(f"closing the entries of {names}", partial(self._settle, entries))
        self.refresh()

    def _settle(self, entries: Sequence[Dropped]) -> None:
        states = self._read()
        for entry in entries:
            state = states.get(entry.id)
            if state is None or not state["not_null"]:
                continue
            for comment in entry.definition[1:]:
                self._conn.execute(comment.encode())
            if state["enforced"]:
                self._conn.execute(sql.SQL("ALTER TABLE {} {}").format(_table(entry), _drop_check(entry)))
            self._ledger.settle(entry)
            self._report(f"{_said(entry)} is NOT NULL again")

    def relax(self, chosen: set[int]) -> int:
        """Remove the checks of chosen entries; how many."""
        self.refresh()
        removed = 0
        for entries in self._by_table(lambda state: state["enforced"] and state["id"] in chosen):
            self._alter(entries, "no longer refusing NULL in", [_drop_check(entry) for entry in entries])
            removed += len(entries)
        return removed

    def _by_table(self, wanted: Callable[[dict[str, Any]], bool]) -> list[list[Dropped]]:
        """The entries whose state is wanted, those of a table together, in the ledger's order."""
        tables: dict[tuple[str, str], list[Dropped]] = {}
        for entry in self._pending:
            if wanted(self._states[entry.id]):
                tables.setdefault((entry.schema, entry.table), []).append(entry)
        return list(tables.values())

    def _alter(self, entries: Sequence[Dropped], doing: str, actions: Sequence[sql.Composable]) -> None:
        statement = sql.SQL("ALTER TABLE ONLY {} {}").format(_table(entries[0]), sql.SQL(", ").join(actions))
        what = f"{doing} {', '.join(_said(entry) for entry in entries)}"
        self._patiently(what, partial(self._conn.execute, statement))
        self._report(f"{what}: done")

    def _patiently(self, what: str, action: Callable[[], object]) -> None:
        patiently(self._conn, what, action, self._report, seconds=self._seconds)


def _said(entry: Dropped) -> str:
    return f"{entry.schema}.{entry.table}.{entry.name}"


def _table(entry: Dropped) -> sql.Identifier:
    return sql.Identifier(entry.schema, entry.table)


def _check(entry: Dropped) -> sql.Identifier:
    return sql.Identifier(f"crossfade_not_null_{entry.id}")


def _drop_check(entry: Dropped) -> sql.Composed:
    return sql.SQL("DROP CONSTRAINT {}").format(_check(entry))
