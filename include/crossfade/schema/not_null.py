"""
NOT NULL taken off columns for the time of a load, and put back without a long lock.

AWS DMS writes a row with large objects in two steps, the first with NULL in their place: at the load in full LOB mode,
afterwards in every mode (AWS knowledge center). So such columns stay nullable until its last change is applied.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from crossfade.connect import Connection
from crossfade.errors import PreconditionError
from crossfade.queries import named_queries
from crossfade.schema.ledger import Kind, Ledger
from crossfade.schema.nullable import NOT_VALID, ColumnGone, NullsFound, PendingNotNull
from crossfade.schema.patience import PATIENCE, patiently
from crossfade.schema.statements import Report

log = logging.getLogger(__name__)

_QUERIES = named_queries(__file__)

Column = tuple[str, str, str]  #: schema, table, column


class NotDroppable(PreconditionError):
    """Columns that cannot be made nullable."""

    def __init__(self, *, reasons: Sequence[str]) -> None:
        self.reasons = reasons
        super().__init__(
            f"NOT NULL cannot be dropped: {'; '.join(reasons)}. They were not touched. Leave these columns out, "
            "or change what stands in the way on the source and prepare again"
        )


def drop_not_null(conn: Connection, migration: UUID, columns: Iterable[Column], report: Report) -> int:
    """
    Make exactly these columns nullable, each with the partitions and parents that are bound to it; how many were not.

    :param conn: an autocommit connection to the target
    :param migration: in whose ledger it is entered: the journal's id

    From 18 on NOT NULL has a name, a comment, NO INHERIT and NOT VALID, which are kept. One thing is not: where a
    partition's was named otherwise than its parent's, it comes back with its name, but as one of the partition's own,
    since no statement can make it so and inherited.

    Safe to run again. Raises `NotDroppable` before anything is changed, `DeadlineExceeded`.
    """
    families = {column: _family(conn, column) for column in columns}
    if reasons := [reason for column, family in families.items() for reason in _reasons(column, family)]:
        raise NotDroppable(reasons=reasons)
    dropped = 0
    for (schema, table, column), family in families.items():
        name = f"{schema}.{table}.{column}"
        if not any(row["named"] and row["not_null"] for row in family):
            report(f"{name} is nullable already")
            continue
        members = [row for row in family if row["not_null"]]
        patiently(conn, f"dropping NOT NULL of {name}", partial(_drop, conn, migration, column, members), report)
        also = [f"{row['schema']}.{row['table']}" for row in members if not row["named"]]
        report(f"NOT NULL of {name} dropped" + (f", also of {', '.join(also)}" if also else ""))
        dropped += 1
    return dropped


def _family(conn: Connection, column: Column) -> list[dict[str, Any]]:
    return conn.execute(_QUERIES["family"], dict(zip(("schema", "table", "column"), column, strict=True))).fetchall()


def _reasons(column: Column, family: Sequence[dict[str, Any]]) -> list[str]:
    if not any(row["named"] for row in family):
        return [f"{'.'.join(column)}: there is no such column of a table"]
    reasons = []
    for row in family:
        name = f"{row['schema']}.{row['table']}.{column[2]}"
        if row["refused"]:
            reasons.append(f"{name}: {row['refused']}")
        elif row["domain"]:
            reasons.append(f"{name}: its type, the domain {row['domain']}, is NOT NULL")
    return reasons


def _drop(conn: Connection, migration: UUID, column: str, members: Sequence[dict[str, Any]]) -> None:
    """Enter and drop all or none. Raises `NotDroppable` for what only the server knows, such as a second parent."""
    try:
        _enter_and_drop(conn, migration, column, members)
    except psycopg.errors.InvalidTableDefinition as error:
        raise NotDroppable(reasons=[f"{column}: {error.diag.message_primary}"]) from error


def _enter_and_drop(conn: Connection, migration: UUID, column: str, members: Sequence[dict[str, Any]]) -> None:
    """The lowest is entered first, since they are restored in that order; the highest dropped first."""
    ledger = Ledger(conn, migration)
    for row in members:
        definition = _definition(row, column)
        ledger.enter(Kind.NOT_NULL, schema=row["schema"], table=row["table"], name=column, definition=definition)
    for row in reversed(members):
        conn.execute(
            sql.SQL("ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL").format(
                sql.Identifier(row["schema"], row["table"]), sql.Identifier(column)
            )
        )


def _definition(row: dict[str, Any], column: str) -> list[str]:
    """What makes it NOT NULL, if not its parent's does, and from 18 on what comments on the constraint."""
    table, name = sql.Identifier(row["schema"], row["table"]), sql.Identifier(column)
    if row["constraint"] is None:
        return [sql.SQL("ALTER TABLE ONLY {} ALTER COLUMN {} SET NOT NULL").format(table, name).as_string()]
    constraint = sql.Identifier(row["constraint"])
    make = sql.SQL("ALTER TABLE {}{} ADD CONSTRAINT {} NOT NULL {}{}{}").format(
        sql.SQL("ONLY " if row["no_inherit"] else ""),
        table,
        constraint,
        name,
        sql.SQL(" NO INHERIT" if row["no_inherit"] else ""),
        sql.SQL("" if row["validated"] else NOT_VALID),
    )
    inherited = row["comes_from_above"] and not row["local"]
    comment = sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}").format(constraint, table, sql.Literal(row["comment"]))
    first = make.as_string()
    if inherited:
        first = "-- made with its parent's" + ("" if row["validated"] else NOT_VALID)
    return [first, *([comment.as_string()] if row["comment"] is not None else [])]


def restore_not_null(conn: Connection, migration: UUID, report: Report) -> int:
    """
    Make every column of the ledger NOT NULL again; how many.

    Rows are read while a CHECK … NOT VALID stands in for it and is validated, which keeps nobody from writing
    (PostgreSQL: ALTER TABLE, "VALIDATE CONSTRAINT"). SET NOT NULL then takes the check for proof and reads nothing.

    Safe to run again after a kill at any point. Raises `NullsFound`, whereupon checks that it added are gone again;
    `ColumnGone`; `DeadlineExceeded`.
    """
    ledger = PendingNotNull(conn, migration, report, PATIENCE)
    pending = len(ledger.refresh())
    ledger.settle_what_is_there()
    added = ledger.enforce()
    try:
        ledger.validate()
    except NullsFound:
        ledger.relax(added)
        raise
    ledger.finish()
    return pending


def enforce(conn: Connection, migration: UUID, report: Report = log.info, *, seconds: float = PATIENCE) -> int:
    """
    Refuse new NULLs in the columns of the ledger from now on, without a look at old rows: milliseconds; how many.

    For the pause of a cutover, when the stream has ended: `restore_not_null` later does the rest.

    :param seconds: how long to wait for locks in all, for each table

    Safe to run again. Raises `ColumnGone`, `DeadlineExceeded`.
    """
    ledger = PendingNotNull(conn, migration, report, seconds)
    ledger.refresh()
    return len(ledger.enforce())


def relax(conn: Connection, migration: UUID, report: Report = log.info, *, seconds: float = PATIENCE) -> int:
    """Undo `enforce`; how many checks were removed. Safe to run again. Raises `ColumnGone`, `DeadlineExceeded`."""
    ledger = PendingNotNull(conn, migration, report, seconds)
    return ledger.relax({entry.id for entry in ledger.refresh()})


__all__ = [
    "Column",
    "ColumnGone",
    "NotDroppable",
    "NullsFound",
    "drop_not_null",
    "enforce",
    "relax",
    "restore_not_null",
]
