"""Digests: what to ask both servers, so that equal rows give equal numbers and different ones do not."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import sql

from crossfade.catalog import Table
from crossfade.connect import Connection

Key = tuple[str | None, ...]  #: of one row: its key columns as text; its hash, where the table has no key

_ROWS_A_BUCKET = 1000
_MOST_BUCKETS = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Bucket:
    """Some of a table's rows, chosen by a hash of their key."""

    rows: int
    digest: int  #: sum of 64-bit row hashes: a sum, since XOR takes {a, a, b} for {c, c, b}


class Digests:
    """The questions for one table. Columns are named, since their order may differ between databases."""

    def __init__(self, table: Table) -> None:
        self.table = table
        columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in table.columns)
        self._row = sql.SQL("hashtextextended(ROW({})::text, 1)").format(columns)
        key = sql.SQL(", ").join(sql.Identifier(name) for name in table.key)
        self._spread = sql.SQL("hashtextextended(ROW({})::text, 0)").format(key) if table.key else self._row
        wanted = max(table.rows_estimate // _ROWS_A_BUCKET, 1)
        self.buckets = min(1 << (wanted - 1).bit_length(), _MOST_BUCKETS)

    def of_buckets(self, conn: Connection) -> dict[int, Bucket]:
        """One pass over the table: bucket -> rows and digest."""
        query = sql.SQL(
            "SELECT {spread} & {mask} AS bucket, count(*) AS rows, sum({row}::numeric) AS digest"
            " FROM ONLY {table} GROUP BY 1"
        ).format(spread=self._spread, mask=sql.Literal(self.buckets - 1), row=self._row, table=self.table.identifier)
        rows = conn.execute(query).fetchall()
        return {row["bucket"]: Bucket(rows=row["rows"], digest=int(row["digest"])) for row in rows}

    def rows_of_buckets(self, conn: Connection, buckets: Collection[int]) -> dict[Key, tuple[int, int]]:
        """The rows of some buckets: key -> (hash, how many such rows)."""
        where = sql.SQL("{} & {} = ANY({})").format(
            self._spread, sql.Literal(self.buckets - 1), sql.Literal(sorted(buckets))
        )
        return self._rows(conn, where, sql.SQL(""))

    def rows_of_keys(self, conn: Connection, keys: Sequence[Key]) -> dict[Key, tuple[int, int]]:
        """Those of the given rows that are there, found by their key's index: key -> (hash, how many)."""
        if not self.table.key:
            wanted = sql.SQL("{} = ANY({})").format(self._row, sql.Literal([int(key[0] or 0) for key in keys]))
            return self._rows(conn, wanted, sql.SQL(""))
        types = {column.name: column.type for column in self.table.columns}
        names = [sql.Identifier(f"k{n}") for n in range(len(self.table.key))]
        join = sql.SQL(" JOIN unnest({}) AS keys({}) ON {}").format(
            sql.SQL(", ").join(
                sql.SQL("{}::text[]").format(sql.Literal(list(part))) for part in zip(*keys, strict=True)
            ),
            sql.SQL(", ").join(names),
            sql.SQL(" AND ").join(
                # format_type's own text: a type's name as the server prints it
                sql.SQL("t.{} = keys.{}::").format(sql.Identifier(name), n) + sql.SQL(types[name])
                for name, n in zip(self.table.key, names, strict=True)
            ),
        )
        return self._rows(conn, sql.SQL("true"), join)

    def _rows(self, conn: Connection, where: sql.Composable, join: sql.Composable) -> dict[Key, tuple[int, int]]:
        key = (
            sql.SQL("ARRAY[{}]").format(
                sql.SQL(", ").join(sql.SQL("t.{}::text").format(sql.Identifier(c)) for c in self.table.key)
            )
            if self.table.key
            else sql.SQL("ARRAY[({})::text]").format(self._row)
        )
        query = sql.SQL("SELECT {} AS key, {} AS hash FROM ONLY {} AS t{} WHERE {}").format(
            key, self._row, self.table.identifier, join, where
        )
        found: dict[Key, tuple[int, int]] = {}
        for row in conn.execute(query):
            name = tuple(row["key"])
            found[name] = (row["hash"], found.get(name, (0, 0))[1] + 1)
        return found

    def describe(self, key: Key) -> str:
        """A row, for people."""
        if not self.table.key:
            return f"row with hash {key[0]}"
        pairs: list[Any] = [f"{name}={value}" for name, value in zip(self.table.key, key, strict=True)]
        return f"({', '.join(pairs)})"
