"""The messages of PostgreSQL's output plugin pgoutput, protocol version 1, decoded.

By the chapter "Logical Replication Message Formats" of PostgreSQL's documentation.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import Enum

POSTGRES_EPOCH = 946_684_800  #: 2000-01-01 in seconds since 1970


class Unchanged(Enum):
    """A TOASTed value that an UPDATE left alone: the stream does not carry it."""

    TOAST = "unchanged"


Value = bytes | None | Unchanged
Row = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as the stream describes it before its first change."""

    oid: int
    schema: str
    name: str
    columns: tuple[str, ...]


@dataclass(slots=True)
class Change:
    """One row changed. `old` holds what the replica identity makes the source send of the row before."""

    relation: Relation
    kind: str  #: I, U, D
    new: Row | None
    old: Row | None


@dataclass(slots=True)
class Transaction:
    """One committed transaction of the source."""

    xid: int
    committed: float  #: seconds since 1970
    end: int = 0  #: LSN just behind its commit record
    changes: list[Change] = field(default_factory=list)


class Decoder:
    """Messages in, whole transactions out."""

    def __init__(self) -> None:
        self.relations: dict[int, Relation] = {}
        self.open: Transaction | None = None  #: begun, its commit not yet received

    def feed(self, message: bytes) -> Transaction | None:
        """Take one message; the transaction when this was its commit."""
        kind = message[:1]
        if kind in b"IUD":
            assert self.open is not None
            self.open.changes.append(self._change(kind, message))
        elif kind == b"B":
            _, microseconds, xid = struct.unpack_from(">QqI", message, 1)
            self.open = Transaction(xid=xid, committed=POSTGRES_EPOCH + microseconds / 1e6)
        elif kind == b"R":
            self._relation(message)
        elif kind == b"C":
            complete, self.open = self.open, None
            assert complete is not None
            (complete.end,) = struct.unpack_from(">Q", message, 10)
            return complete
        return None  # origin, type, truncate and logical messages change no row

    def _relation(self, message: bytes) -> None:
        (oid,) = struct.unpack_from(">I", message, 1)
        schema, place = _string(message, 5)
        name, place = _string(message, place)
        (count,) = struct.unpack_from(">H", message, place + 1)
        place += 3
        columns = []
        for _ in range(count):
            column, place = _string(message, place + 1)
            columns.append(column)
            place += 8
        self.relations[oid] = Relation(oid, schema or "pg_catalog", name, tuple(columns))

    def _change(self, kind: bytes, message: bytes) -> Change:
        (oid,) = struct.unpack_from(">I", message, 1)
        old: Row | None = None
        new: Row | None = None
        place = 5
        while place < len(message):
            which = message[place : place + 1]
            row, place = _row(message, place + 1)
            if which == b"N":
                new = row
            else:
                old = row
        return Change(self.relations[oid], kind.decode(), new, old)


def _string(message: bytes, place: int) -> tuple[str, int]:
    end = message.index(b"\0", place)
    return message[place:end].decode(), end + 1


def _row(message: bytes, place: int) -> tuple[Row, int]:
    (count,) = struct.unpack_from(">H", message, place)
    place += 2
    values: list[Value] = []
    for _ in range(count):
        kind = message[place]
        place += 1
        if kind == 0x74:  # t: text
            (length,) = struct.unpack_from(">I", message, place)
            values.append(message[place + 4 : place + 4 + length])
            place += 4 + length
        else:
            values.append(None if kind == 0x6E else Unchanged.TOAST)  # n: NULL, u: unchanged
    return tuple(values), place
