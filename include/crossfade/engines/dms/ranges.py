"""Boundaries between the parts in which DMS loads a large table at the same time, from the planner's statistics.

User guide, "Using parallel load": ranges are the only kind for PostgreSQL, rows whose column is null are not loaded
(so only columns of a primary key are used), and columns that are LOBs or floating point to DMS are not allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import LiteralString

from psycopg import sql

from crossfade.catalog import Table
from crossfade.connect import Connection
from crossfade.engines.dms.names import addressable
from crossfade.queries import named_queries

_QUERIES = named_queries(__file__)

#: Parts of one table: DMS runs at most 49 loads at a time, for all tables together.
MOST_PARTS = 32

#: Types that can be bounded, by what their statistics are read as. Not text: to DMS it is a LOB.
_TYPES: Mapping[str, LiteralString] = {
    "int2": "bigint",
    "int4": "bigint",
    "int8": "bigint",
    "date": "date",
    "timestamp": "timestamp",
    "timestamptz": "timestamptz",
    "uuid": "uuid",
    "varchar": "text",
}
#: DMS puts a boundary into a statement of its own: nothing that it might have to quote.
_SAFE = re.compile(r"[A-Za-z0-9 .:@/+_-]*")
_ENDLESS = re.compile(r"-?infinity|.* BC")
_ROUNDING = 1e-6  #: shares are single-precision numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class TableRanges:
    """Where one table is split: at most one part more than there are boundaries."""

    schema: str
    name: str
    column: str
    boundaries: tuple[str, ...]  #: ascending; each the upper end of a part


def table_ranges(
    conn: Connection, tables: Sequence[Table], *, split_larger_than: int, most_parts: int = MOST_PARTS
) -> list[TableRanges]:
    """
    Ranges for the tables that are larger than so many bytes, each part about that large.

    Tables without a primary key, without statistics, or whose leading key column is of another type load as a whole,
    and so do those whose name no table-settings rule can hold.
    """
    large = {t.oid: t for t in tables if t.bytes > split_larger_than and addressable(t.schema, t.name)}
    found = []
    for row in conn.execute(_QUERIES["leading_key_columns"], {"oids": list(large)}).fetchall():
        table = large[row["table_oid"]]
        if row["type"] not in _TYPES:
            continue
        parts = min(-(-table.bytes // max(split_larger_than, 1)), most_parts)
        values = conn.execute(
            _shares(row["type"], (row["collation_schema"], row["collation_name"])),
            {"schema": table.schema, "table": table.name, "column": row["column"]},
        ).fetchall()
        if chosen := boundaries([(value["value"], value["share"]) for value in values], parts):
            found.append(
                TableRanges(schema=table.schema, name=table.name, column=row["column"], boundaries=tuple(chosen))
            )
    return found


def _shares(type_name: str, collation: tuple[str, str]) -> sql.Composed:
    """The query for one type; texts are ordered as their column orders them."""
    ordered = sql.SQL("COLLATE {}").format(sql.Identifier(*collation)) if type_name == "varchar" else sql.SQL("")
    return sql.SQL(_QUERIES["shares"]).format(type=sql.SQL(_TYPES[type_name]), collation=ordered)


def boundaries(shares: Iterable[tuple[str, float]], parts: int) -> list[str]:
    """
    Values that cut the rows into about so many equal parts, fewer where values repeat.

    :param shares: ascending values, each with the part of all rows that lie above the one before, up to it
    """
    values = list(shares)
    total = sum(share for _, share in values)
    chosen: list[str] = []
    below, due = 0.0, total / parts
    for value, share in values[:-1]:  # above the last one there is nothing
        below += share
        usable = _SAFE.fullmatch(value) and not _ENDLESS.fullmatch(value)
        if below >= due * (1 - _ROUNDING) and due < total * (1 - _ROUNDING) and usable and value not in chosen[-1:]:
            chosen.append(value)
            due = (int(below / total * parts * (1 + _ROUNDING)) + 1) * total / parts
    return chosen
