"""
One 64-bit number for a row: equal rows give equal numbers on every server, and different rows different ones.

PostgreSQL hashes records by itself, and fast, but not to tell everything apart: its hash of a bigint or a timestamp is
one of 32 bits (1 and 4294967296 are the same), -0.0 is 0.0, 1.0 is 1.00, an interval of a day is one of 24 hours, enums
are hashed by their OID. So each type goes by what does: as it is, by the bytes it is sent as, or by its text.

Columns of a record are combined linearly. A sum of such numbers over rows would not see two rows that swapped a value:
so each row's hash is seeded with the hash of its key.
"""

from __future__ import annotations

from collections.abc import Mapping

from psycopg import sql

from crossfade.catalog import Column, Table
from crossfade.errors import PreconditionError
from crossfade.plan_validate import ColumnRule

#: Hashed by all of their bits, the same in every version.
_AS_IT_IS = frozenset({"bool", "int2", "int4", "oid", "date", "uuid", "bytea", "macaddr", "macaddr8", "xid", "cid"})
_TEXT = frozenset({"text", "varchar"})  #: by their bytes, whatever the collation takes for equal
_SENT = {
    "int8": "int8send",
    "money": "cash_send",
    "numeric": "numeric_send",
    "timestamp": "timestamp_send",
    "timestamptz": "timestamptz_send",
    "time": "time_send",
    "timetz": "timetz_send",
    "interval": "interval_send",
    "bpchar": "bpcharsend",  # its text lacks trailing blanks
    "name": "namesend",
    "inet": "inet_send",
    "cidr": "cidr_send",
    "bit": "bit_send",
    "varbit": "varbit_send",
    "pg_lsn": "pg_lsn_send",
    "xid8": "xid8send",
}
_INTEGERS = frozenset({"int2", "int4", "int8"})


class UnknownColumn(PreconditionError):
    """The plan has a rule for a column that cannot have it."""

    def __init__(self, *, table: str, column: str, problem: str) -> None:
        super().__init__(f"validate.columns has a rule for {column} of {table}: {problem}. Correct the plan")


class RowHash:
    """
    Expressions for one table.

    :param table: its columns are named, since their order may differ between databases
    :param rules: the plan's, by column
    :param as_text: columns whose types differ between the sides
    """

    def __init__(self, table: Table, rules: Mapping[str, ColumnRule], *, as_text: frozenset[str] = frozenset()) -> None:
        self.table, self.rules, self._as_text = table, rules, as_text
        names = {column.name for column in table.columns}
        for name, rule in rules.items():
            if name not in names:
                raise UnknownColumn(table=table.full_name, column=name, problem="there is no such column")
            if name in table.key and (rule.ignore or rule.expression):
                raise UnknownColumn(
                    table=table.full_name, column=name, problem="it belongs to the key, by which rows are found"
                )
        self.compared = tuple(column for column in table.columns if not rules.get(column.name, ColumnRule()).ignore)

    @property
    def overridden(self) -> tuple[str, ...]:
        """Columns that are not compared as they are, and how they are, for the report."""
        said = []
        for name, rule in sorted(self.rules.items()):
            if rule.ignore:
                said.append(f"{name}: ignored")
            elif rule.expression:
                said.append(f"{name}: as {rule.expression}")
        return tuple(said)

    @property
    def integer(self) -> sql.Composable | None:
        """The key, where it is one integer, as a bigint."""
        columns = {column.name: column for column in self.table.columns}
        if len(self.table.key) != 1 or self.table.key[0] in self._as_text:
            return None
        key = columns[self.table.key[0]]
        return sql.SQL("{}::int8").format(sql.Identifier(key.name)) if key.base_type in _INTEGERS else None

    @property
    def seed(self) -> sql.Composable:
        """A bigint that differs between rows: the key itself, or its hash; the whole row's hash where there is none."""
        if (integer := self.integer) is not None:
            return integer
        key = [column for column in self.table.columns if column.name in self.table.key]
        parts = sql.SQL(", ").join(self.value(column) for column in key or self.compared)
        return sql.SQL("hash_record_extended(ROW({}), 0)").format(parts)

    @property
    def row(self) -> sql.Composable:
        """The row's hash, a bigint."""
        values = sql.SQL(", ").join(self.value(column) for column in self.compared)
        return sql.SQL("hash_record_extended(ROW({}), {})").format(values, self.seed)

    def bucket(self, buckets: int) -> sql.Composable:
        """A number from 0 to below `buckets`, a power of two."""
        mask = sql.Literal(buckets - 1)
        if (integer := self.integer) is not None:  # also numbers that go in steps are spread
            return sql.SQL("({key} # ({key} >> 10) # ({key} >> 20)) & {mask}").format(key=integer, mask=mask)
        return sql.SQL("{} & {}").format(self.seed, mask)

    def value(self, column: Column) -> sql.Composable:
        """What stands for a column's value: equal if and only if it is."""
        name = sql.Identifier(column.name)
        rule = self.rules.get(column.name)
        if rule is not None and rule.expression:
            return sql.SQL('({})::text COLLATE "C"').format(_raw(rule.expression))
        if column.name not in self._as_text:
            if column.base_type in _AS_IT_IS:
                return name
            if column.base_type in _TEXT:
                return sql.SQL('{} COLLATE "C"').format(name)
            if (send := _SENT.get(column.base_type)) is not None:
                return sql.SQL("{}({})").format(sql.SQL(send), name)
        return sql.SQL('{}::text COLLATE "C"').format(name)

    def printed(self, column: Column) -> sql.Composable:
        """The value as people read it, with blanks that a cast to text takes away; NULL where it is NULL."""
        rule = self.rules.get(column.name)
        value = _raw(rule.expression) if rule is not None and rule.expression else sql.Identifier(column.name)
        return sql.SQL("CASE WHEN ({value}) IS DISTINCT FROM NULL THEN concat({value}) END").format(value=value)


def _raw(expression: str) -> sql.Composable:
    """The plan's own SQL: whoever writes the plan may run anything anyway."""
    return sql.SQL(expression)
