"""SQL for captured changes, as DMS applies them to a PostgreSQL target.

A row with large objects is inserted with NULL in their place and updated with them afterwards, in every LOB mode
("null value in column violates not-null constraint", AWS Knowledge Center): NOT NULL on such a column fails the INSERT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from crossfade_lab.aws.replication.catalog import Column, Table
from crossfade_lab.aws.replication.conversion import Conversion, Converter
from crossfade_lab.aws.replication.pgoutput import Change, Relation, Row, Unchanged, Value


@dataclass(frozen=True, slots=True)
class Field:
    """A column of the stream that goes to the target."""

    place: int  #: in the stream's rows
    column: Column
    name: bytes  #: quoted
    converter: Converter | None
    deferred: bool  #: a large object that follows its row

    def literal(self, value: Value) -> bytes:
        """The value as SQL."""
        if value is None:
            return b"NULL"
        assert isinstance(value, bytes)
        text = self.converter(value) if self.converter else value
        return b"'" + text.replace(b"'", b"''") + b"'"


@dataclass(frozen=True, slots=True)
class Work:
    """One captured change, as it goes to the target. The first statement is the one whose row count matters."""

    table: Table
    kind: str  #: I, U, D
    statements: tuple[bytes, ...]
    key: tuple[Value, ...]
    truncated: str | None  #: a large object that was cut
    change: Change


class Writer:
    """Statements for the changes of one table, by the columns that the stream names."""

    def __init__(self, table: Table, relation: Relation, conversion: Conversion) -> None:
        self.table = table
        self._cutting = conversion.lobs.mode == "limited"
        known = {column.name: column for column in table.migrated}
        self._fields = [
            Field(
                place,
                known[name],
                sql.Identifier(name).as_bytes(None),
                conversion.changed(known[name]),
                known[name].lob and bool(table.key),
            )
            for place, name in enumerate(relation.columns)
            if name in known and not (known[name].lob and conversion.lobs.mode == "none")
        ]
        self._key = [field for name in table.key for field in self._fields if field.column.name == name]
        fixed = {*table.primary_key, *table.key} if table.primary_key else set()
        self._others = [field for field in self._fields if field.column.name not in fixed]
        self._deferred = [field for field in self._fields if field.deferred]
        self._name = table.sql.as_bytes(None)
        columns = b", ".join(field.name for field in self._fields)
        self._insert = b"INSERT INTO " + self._name + b" (" + columns + b") OVERRIDING SYSTEM VALUE VALUES ("

    def work(self, change: Change, *, cached: bool) -> Work | None:
        """What to do for a change; None where DMS ignores it: no key, or an UPDATE of the key itself.

        :param cached: the row may have come with the full load already, so that a conflict says nothing
        """
        old, new = change.old, change.new
        if change.kind == "I":
            assert new is not None
            statements = self._inserting(new, cached)
        elif not self._key or self._key_changed(change):
            return None
        elif change.kind == "U":
            assert new is not None
            statements = self._updating(new, self._where(old or new))
        else:
            assert old is not None
            statements = (b"DELETE FROM " + self._name + self._where(old),)
        if not statements:
            return None
        row = new if new is not None else old
        assert row is not None
        key = tuple(row[field.place] for field in self._key)
        return Work(self.table, change.kind, statements, key, self._cut(new), change)

    def missing(self, change: Change) -> tuple[bytes, ...]:
        """The INSERT that takes the place of an UPDATE which found no row."""
        assert change.new is not None
        return self._inserting(change.new, False) if Unchanged.TOAST not in change.new else ()

    def existing(self, change: Change) -> tuple[bytes, ...]:
        """The UPDATE that takes the place of an INSERT whose row exists."""
        assert change.new is not None
        return self._updating(change.new, self._where(change.new)) if self._key else ()

    def _inserting(self, row: Row, cached: bool) -> tuple[bytes, ...]:
        values = b", ".join(b"NULL" if f.deferred else f.literal(row[f.place]) for f in self._fields)
        insert = self._insert + values + (b") ON CONFLICT DO NOTHING" if cached else b")")
        objects = [f for f in self._deferred if row[f.place] is not None]
        if not objects:
            return (insert,)
        return insert, b"UPDATE " + self._name + b" SET " + _assigned(objects, row) + self._where(row)

    def _updating(self, row: Row, where: bytes) -> tuple[bytes, ...]:
        fields = [f for f in self._others if row[f.place] is not Unchanged.TOAST]
        return (b"UPDATE " + self._name + b" SET " + _assigned(fields, row) + where,) if fields else ()

    def _where(self, row: Row) -> bytes:
        tests = [
            f.name + (b" IS NULL" if row[f.place] is None else b" = " + f.literal(row[f.place])) for f in self._key
        ]
        return b" WHERE " + b" AND ".join(tests)

    def _key_changed(self, change: Change) -> bool:
        if change.kind != "U" or change.old is None or not self.table.primary_key:
            return False
        assert change.new is not None
        return any(change.old[f.place] != change.new[f.place] for f in self._key)

    def _cut(self, row: Row | None) -> str | None:
        if row is None or not self._cutting:
            return None
        for field in self._fields:
            value = row[field.place]
            if field.column.lob and isinstance(value, bytes) and field.converter and field.converter(value) != value:
                return field.column.name
        return None


def _assigned(fields: Sequence[Field], row: Row) -> bytes:
    return b", ".join(field.name + b" = " + field.literal(row[field.place]) for field in fields)
