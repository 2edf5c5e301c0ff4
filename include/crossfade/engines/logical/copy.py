"""Moving rows: parts of tables, piped from one server's COPY into the other's."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import psycopg2
import psycopg2.extensions
from psycopg import sql

from crossfade.catalog import Table
from crossfade.errors import TransientError

BulkConnection = psycopg2.extensions.connection

_BUFFER = 1 << 18  #: bytes


class CopyFailed(TransientError):
    """Rows of a table could not be copied."""

    def __init__(self, *, table: str, side: str, reason: str) -> None:
        super().__init__(
            f"copying {table} failed on the {side}: {reason.strip()}. "
            "Put that right and clear this task: its wave is copied again from the start, others are not touched"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A stretch of a table's pages, or the whole table."""

    table: Table
    first_page: int  #: included
    end_page: int | None  #: excluded; None: to the end

    @property
    def bytes(self) -> int:
        """Its share of the table's size."""
        pages = max(self.table.pages, 1)
        end = pages if self.end_page is None else self.end_page
        return self.table.bytes * max(end - self.first_page, 0) // pages

    def copy_out(self) -> str:
        """The source's COPY statement."""
        columns = sql.SQL(", ").join(sql.Identifier(c.name) for c in self.table.copied_columns)
        if self.first_page == 0 and self.end_page is None:
            rows: sql.Composable = sql.SQL("{} ({})").format(self.table.identifier, columns)
        else:
            rows = sql.SQL("(SELECT {} FROM ONLY {} WHERE {})").format(
                columns, self.table.identifier, self._condition()
            )
        return sql.SQL("COPY {} TO STDOUT ({})").format(rows, self._format()).as_string(None)

    def copy_in(self) -> str:
        """The target's COPY statement."""
        columns = sql.SQL(", ").join(sql.Identifier(c.name) for c in self.table.copied_columns)
        return (
            sql.SQL("COPY {} ({}) FROM STDIN ({})")
            .format(self.table.identifier, columns, self._format())
            .as_string(None)
        )

    def _condition(self) -> sql.Composable:
        lower = sql.SQL("ctid >= {}::tid").format(sql.Literal(f"({self.first_page},0)"))
        if self.end_page is None:
            return lower
        return sql.SQL("{} AND ctid < {}::tid").format(lower, sql.Literal(f"({self.end_page},0)"))

    def _format(self) -> sql.SQL:
        binary = all(column.binary for column in self.table.copied_columns)
        return sql.SQL("FORMAT binary") if binary else sql.SQL("FORMAT text, ENCODING 'UTF8'")


def parts(table: Table, split_larger_than: int) -> Iterator[Part]:
    """A table in stretches of about that many bytes; the last one is open to the end."""
    count = -(-table.bytes // split_larger_than) if table.bytes > split_larger_than else 1
    count = min(count, max(table.pages, 1))
    bounds = [table.pages * n // count for n in range(count)]
    for first, end in zip(bounds, [*bounds[1:], None], strict=True):
        yield Part(table=table, first_page=first, end_page=end)


def copy(part: Part, source: BulkConnection, target: BulkConnection) -> int:
    """
    Copy a part inside the target connection's transaction, and commit it. Returns the number of rows.

    The commit waits for the source's own success: the end of a pipe alone may also be the end of its writer.
    Raises `CopyFailed`.
    """
    reading, writing = os.pipe()
    sender = _Sender(part, source, os.fdopen(writing, "wb", _BUFFER))
    with os.fdopen(reading, "rb", _BUFFER) as pipe, target.cursor() as cur:
        sender.start()
        try:
            cur.copy_expert(part.copy_in(), pipe, _BUFFER)
        except psycopg2.Error as error:
            pipe.close()  # the sender's next write fails, so that it ends
            sender.join()
            if sender.failed_first:
                raise CopyFailed(table=part.table.full_name, side="source", reason=str(sender.error)) from error
            raise CopyFailed(table=part.table.full_name, side="target", reason=str(error)) from error
        sender.join()
    if sender.error is not None:
        target.rollback()
        raise CopyFailed(table=part.table.full_name, side="source", reason=str(sender.error)) from sender.error
    if sender.rows != cur.rowcount:
        target.rollback()
        seen = f"the source sent {sender.rows} rows, the target took {cur.rowcount}"
        raise CopyFailed(table=part.table.full_name, side="target", reason=seen)
    target.commit()
    return cur.rowcount


class _Sender(threading.Thread):
    """The source's half, in a thread: libpq waits outside Python's lock."""

    def __init__(self, part: Part, source: BulkConnection, pipe: BinaryIO) -> None:
        super().__init__(name=f"copy {part.table.full_name}", daemon=True)
        self.part, self.source, self.pipe = part, source, pipe
        self.rows = -1
        self.error: Exception | None = None

    @property
    def failed_first(self) -> bool:
        """Whether the source ended by itself, not because the target's half closed the pipe."""
        return isinstance(self.error, psycopg2.Error) and not isinstance(self.error.__cause__, BrokenPipeError)

    def run(self) -> None:
        try:
            with self.source.cursor() as cur:
                cur.copy_expert(self.part.copy_out(), self.pipe, _BUFFER)
                self.rows = cur.rowcount
            self.pipe.flush()
        except (psycopg2.Error, OSError, ValueError) as error:
            self.error = error
        finally:
            self._close()

    def _close(self) -> None:
        try:
            self.pipe.close()
        except OSError as error:
            self.error = self.error or error
