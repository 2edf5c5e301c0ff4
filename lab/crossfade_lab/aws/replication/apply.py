"""Applying transactions to the target: whole ones, in the source's order, several to a commit."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import psycopg

from crossfade_lab.aws.replication.board import Board
from crossfade_lab.aws.replication.catalog import Table
from crossfade_lab.aws.replication.control_tables import ControlTables
from crossfade_lab.aws.replication.failures import Interrupted, TableSuspended
from crossfade_lab.aws.replication.policies import Policies
from crossfade_lab.aws.replication.sessions import Connection
from crossfade_lab.aws.replication.statements import Work, Writer

Unit = Sequence[Work]  #: the work of one source transaction
_INSTEAD = ("INSERT_RECORD", "UPDATE_RECORD")  #: policies that write the row in another way
_COUNTER = {"I": "inserts", "U": "updates", "D": "deletes"}


class _Conflict(Exception):
    """A change met the wrong row, or none, under a policy that wants more than to go on."""


class _Suspend(Exception):
    """A table leaves the task in the middle of a commit, which is therefore done again without it."""

    def __init__(self, table: Table, reason: str) -> None:
        super().__init__(reason)
        self.table = table


@dataclass(kw_only=True)
class Apply:
    """The one session that writes changes to the target."""

    target: Connection
    board: Board
    policies: Policies
    control: ControlTables
    writer_of: Callable[[Work], Writer]
    lob_truncation_fatal: bool
    applied: int = field(default=0)  #: rows since the start of the worker

    def commit(self, units: Sequence[Unit], position: int | None, *, cached: bool = False) -> None:
        """Apply source transactions in one commit of the target.

        :param position: LSN to enter in the table of TaskRecoveryTableEnabled; None to enter nothing
        :param cached: conflicts are expected: changes from the time of the full load
        :raises TaskFailed: an error policy, or a lost session, ends the task
        """
        quick = True
        while True:
            todo = [[work for work in unit if not self._suspended(work.table)] for unit in units]
            try:
                if quick:
                    self._quick(todo, position, cached)
                else:
                    self._slow(todo, position, cached)
                break
            except (_Conflict, psycopg.Error) as error:
                self._roll_back(error)
                if not quick:
                    raise Interrupted(f"Applying changes failed: {error}") from error
                quick = False
            except _Suspend as error:
                self.target.execute("ROLLBACK")
                self.control.exception(self.target, error.table.schema, error.table.name, "-", str(error))
                self.policies.suspend(self.target, error.table, str(error), loading=False)
        self._count([work for unit in todo for work in unit])

    def _suspended(self, table: Table) -> bool:
        return bool(self.board.tables[table.schema, table.name]["suspended"])

    def _roll_back(self, error: Exception) -> None:
        try:
            self.target.execute("ROLLBACK")
        except psycopg.Error:
            raise Interrupted(f"The session with the target was lost: {error}") from error

    def _quick(self, units: Iterable[Unit], position: int | None, cached: bool) -> None:
        """Everything in one message. Raises `_Conflict` or psycopg's error when it has to be done one by one."""
        works = [work for unit in units for work in unit]
        if not works and position is None:
            return
        statements = [statement for work in works for statement in work.statements]
        cursor = self.target.cursor()
        cursor.execute(b";".join([b"BEGIN", *statements]))
        for work in works:
            cursor.nextset()
            if cursor.rowcount == 0 and not self._harmless(work, cached):
                raise _Conflict
            for _ in work.statements[1:]:
                cursor.nextset()
            self._warn(work)
        if position is not None:
            self.control.position(self.target, position)
        self.target.execute("COMMIT")

    def _harmless(self, work: Work, cached: bool) -> bool:
        return cached or self.policies.of_change(work.kind) == "IGNORE_RECORD"

    def _slow(self, units: Iterable[Unit], position: int | None, cached: bool) -> None:
        """One by one, each change and each transaction behind a savepoint, errors by their policies."""
        self.target.execute("BEGIN")
        for unit in units:
            self.target.execute("SAVEPOINT whole")
            for work in unit:
                self._one(work, cached)
                self._warn(work)
            try:
                self.target.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
            except psycopg.errors.IntegrityError as error:
                self.target.execute("ROLLBACK TO whole")
                for work in unit:
                    self._failed(work, self.policies.of_change(work.kind), str(error))
            self.target.execute("RELEASE whole")
        if position is not None:
            self.control.position(self.target, position)
        self.target.execute("COMMIT")

    def _one(self, work: Work, cached: bool) -> None:
        try:
            found = self._try(work.statements)
        except psycopg.OperationalError:
            raise
        except psycopg.errors.UniqueViolation as error:
            if not (cached and self.policies.conflicts_ignored):
                self._conflict(work, str(error))
        except (psycopg.errors.DataError, psycopg.errors.NotNullViolation, psycopg.errors.CheckViolation) as error:
            self._failed(work, self.policies.of_data, str(error))
        except psycopg.errors.IntegrityError as error:
            self._failed(work, self.policies.of_change(work.kind), str(error))
        except psycopg.Error as error:
            raise _Suspend(work.table, str(error)) from error
        else:
            if not found and not self._harmless(work, cached):
                self._conflict(work, "zero rows affected: the row is missing on the target")

    def _conflict(self, work: Work, error: str) -> None:
        policy = self.policies.of_change(work.kind)
        writer = self.writer_of(work)
        instead: tuple[bytes, ...] = ()
        if policy == "INSERT_RECORD" and work.kind == "U":
            instead = writer.missing(work.change)
        elif policy == "UPDATE_RECORD" and work.kind == "I":
            instead = writer.existing(work.change)
        if not instead:
            self._failed(work, policy if policy not in _INSTEAD else "LOG_ERROR", error)
            return
        try:
            self._try(instead)
        except psycopg.errors.IntegrityError as another:
            self._failed(work, "LOG_ERROR", str(another))

    def _try(self, statements: Sequence[bytes]) -> int:
        """Run statements behind a savepoint; the row count of the first one."""
        try:
            cursor = self.target.cursor()
            cursor.execute(b";".join([b"SAVEPOINT one", *statements, b"RELEASE one"]))
        except psycopg.Error:
            self.target.execute("ROLLBACK TO one")
            raise
        cursor.nextset()
        return cursor.rowcount

    def _failed(self, work: Work, policy: str, error: str) -> None:
        statement = b";".join(work.statements).decode(errors="replace")
        try:
            self.policies.change_failed(self.target, work.table, policy, statement, error)
        except TableSuspended as reason:
            raise _Suspend(work.table, str(reason)) from reason

    def _warn(self, work: Work) -> None:
        if work.truncated is None:
            return
        try:
            self.policies.truncated(work.table, work.truncated, 1, self.lob_truncation_fatal)
        except TableSuspended as reason:
            raise _Suspend(work.table, str(reason)) from reason

    def _count(self, works: Sequence[Work]) -> None:
        counts = Counter((work.table, _COUNTER[work.kind]) for work in works)
        for (table, name), amount in counts.items():
            self.board.count(table, **{name: amount, f"applied_{name}": amount})
        self.applied += len(works)


def key_text(key: Sequence[object]) -> str:
    """A row's key as DMS writes it down in its tables."""
    values = [value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in key]
    return json.dumps({"key": values})
