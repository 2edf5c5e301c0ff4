"""
Splitting a table into parts that are compared one by one: ranges of its key, or else its pages.

A part by key holds the same rows on both sides, is read in a moment, and so sees few changes on their way. That takes
a key that both servers sort alike and by which rows lie on the disk: reading a range of random keys would touch nearly
every page of the table, for each range again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from psycopg import sql

from crossfade.catalog import Table
from crossfade.connect import Connection
from crossfade.queries import named_queries

_QUERIES = named_queries(__file__)

Bound = tuple[str, ...]  #: values of the key's columns, as text

_CORRELATED = (
    0.5  #: of the key's first column, from where on its ranges are read in order; 1: the very order of the disk
)
_SAMPLED_A_PART = 60  #: rows looked at for each bound


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A range of keys: from the lower bound, up to before the upper one; None: without end. Or all of a table."""

    number: int = 0
    keyed: bool = True  #: else the whole table, which is read page by page
    lower: Bound | None = None
    upper: Bound | None = None
    share: tuple[int, int] | None = (
        None  #: of a whole table: only rows whose hash leaves that remainder, divided by that
    )

    @classmethod
    def of_document(cls, number: int, document: dict[str, Any]) -> Part:
        """As `document` gave it."""
        bounds = {side: tuple(bound) if (bound := document[side]) else None for side in ("lower", "upper", "share")}
        return cls(number=number, keyed=document["keyed"], **bounds)

    @property
    def document(self) -> dict[str, Any]:
        """For the journal."""
        return {"keyed": self.keyed, "lower": self.lower, "upper": self.upper, "share": self.share}

    def where(self, table: Table) -> sql.Composable:
        """The condition of rows that belong to it."""
        types = {column.name: column.type for column in table.columns}
        key = sql.SQL("({})").format(sql.SQL(", ").join(sql.SQL("t.{}").format(sql.Identifier(c)) for c in table.key))
        conditions: list[sql.Composable] = []
        for operator, bound in ((">=", self.lower), ("<", self.upper)):
            if bound is None:
                continue
            values = sql.SQL(", ").join(
                # format_type's own text: a type's name as the server prints it
                sql.SQL("{}::").format(sql.Literal(value)) + sql.SQL(types[name])
                for name, value in zip(table.key, bound, strict=True)
            )
            conditions.append(sql.SQL("{} {} ({})").format(key, sql.SQL(operator), values))
        return sql.SQL(" AND ").join(conditions) if conditions else sql.SQL("true")


def by_key(source: Connection, target: Connection, table: Table) -> bool:
    """Whether parts of this table are ranges of its key. Raises `psycopg.Error`."""
    if not table.key:
        return False
    columns = {column.name: column for column in table.columns}
    if not all(columns[name].base_type for name in table.key):
        return False  # a user's type: an enum's labels may be in another order
    ours, theirs = _orderings(source, table), _orderings(target, table)
    if [row["ordering"] for row in ours] != [row["ordering"] for row in theirs]:
        return False
    known = [rows[0]["correlation"] for rows in (ours, theirs) if rows and rows[0]["correlation"] is not None]
    return all(correlation >= _CORRELATED for correlation in known)


def _orderings(conn: Connection, table: Table) -> list[dict[str, Any]]:
    return conn.execute(
        _QUERIES["orderings"], {"schema": table.schema, "name": table.name, "key": list(table.key)}
    ).fetchall()


def split(conn: Connection, table: Table, rows: int) -> list[Part]:
    """
    Ranges of about so many rows each, from a sample of the table's pages.

    :param conn: to the side that serves
    """
    wanted = -(-estimate(table) // rows)
    bounds = _bounds(conn, table, wanted) if wanted > 1 else []
    lowers: Sequence[Bound | None] = [None, *bounds]
    uppers: Sequence[Bound | None] = [*bounds, None]
    return [
        Part(number=number, lower=lower, upper=upper)
        for number, (lower, upper) in enumerate(zip(lowers, uppers, strict=True))
    ]


def spacing(parts: Sequence[Part], rows: int) -> float | None:
    """How far apart keys are, where they are single integers and all parts ranges of about so many rows; else None."""
    bounds = [part.lower[0] for part in parts if part.lower is not None and len(part.lower) == 1]
    if not all(part.keyed for part in parts) or not all(re.fullmatch(r"-?\d+", bound) for bound in bounds):
        return None
    numbers = sorted(int(bound) for bound in bounds)
    apart = [(after - before) / rows for before, after in pairwise(numbers)]
    return median(apart) if apart else 1.0


def shares(per_cent: float) -> list[Part]:
    """A table that is not split, in shares of about so much: each reads all of it, but compares only some rows."""
    of = math.ceil(100 / per_cent)
    return [Part(number=number, keyed=False, share=(number, of)) for number in range(of)]


def estimate(table: Table) -> int:
    """Rows; of a table that was never analysed by its size."""
    return table.rows_estimate or table.pages * 50


def _bounds(conn: Connection, table: Table, parts: int) -> list[Bound]:
    per_cent = min(100.0, 100.0 * parts * _SAMPLED_A_PART / max(estimate(table), 1))
    # at least some hundred pages, so that what lies together does not count too much
    per_cent = min(100.0, max(per_cent, 100.0 * 300 / max(table.pages, 1)))
    key = sql.SQL(", ").join(sql.Identifier(name) for name in table.key)
    texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in table.key)
    query = sql.SQL(
        "SELECT key FROM (SELECT ARRAY[{texts}] AS key, row_number() OVER (ORDER BY {key}) AS n,"
        " count(*) OVER () AS total FROM ONLY {table} TABLESAMPLE SYSTEM ({per_cent})) AS sampled"
        " WHERE n * {parts} / total > (n - 1) * {parts} / total AND n < total ORDER BY n"
    ).format(texts=texts, key=key, table=table.identifier, per_cent=sql.Literal(per_cent), parts=sql.Literal(parts))
    found = [tuple(row["key"]) for row in conn.execute(query)]
    return list(dict.fromkeys(found))
