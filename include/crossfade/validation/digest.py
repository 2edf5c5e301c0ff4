"""Digests: what to ask both servers, so that equal rows give equal numbers and different ones do not."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from hashlib import md5
from math import log2

from psycopg import sql
from psycopg.rows import tuple_row

from crossfade.connect import Connection, scalar
from crossfade.validation.parts import Part
from crossfade.validation.rowhash import RowHash

Key = tuple[str | None, ...]  #: of one row: its key columns as text; its hash, where the table has no key
Row = tuple[int, int]  #: a row's hash, and how many such rows there are

_SHOWN = 100  #: characters of a value in a report
_ROWS_A_BUCKET = 100
_MOST_BUCKETS = 1 << 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Bucket:
    """Some of a part's rows: a short range of an integer key, or those whose key has some hash."""

    rows: int
    digest: int  #: sum of 64-bit row hashes: a sum, since XOR takes {a, a, b} for {c, c, b}


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    """One column's value in one row."""

    digest: str | None  #: of all of it; None: NULL
    shown: str | None  #: as people read it: long ones shortened, secret ones as a hash


class Digests:
    """
    The questions for one table.

    :param rows: about how many rows a part has
    :param piece_rows: about how many rows one statement reads where a part is the whole table
    :param spacing: how far integer keys are apart, where parts are ranges of them: then a bucket is a range, too, whose
        rows its index finds; None: rows are spread over buckets by a hash, and all of the part is read for those of one
    """

    def __init__(
        self, row_hash: RowHash, *, rows: int, piece_rows: int = 500_000, spacing: float | None = None
    ) -> None:
        self.row_hash, self.table, self._piece_rows = row_hash, row_hash.table, piece_rows
        self._name = sql.Literal(self.table.identifier.as_string())
        wanted = max(rows // _ROWS_A_BUCKET, 1)
        self.buckets = min(1 << (wanted - 1).bit_length(), _MOST_BUCKETS)
        self._shift: int | None = None
        self._bucket = sql.SQL("({})").format(row_hash.bucket(self.buckets))
        if spacing is not None and row_hash.integer is not None:
            self._shift = max(0, round(log2(_ROWS_A_BUCKET * max(spacing, 1))))
            self._bucket = sql.SQL("({} >> {})").format(row_hash.integer, sql.Literal(self._shift))

    def of_part(self, conn: Connection, part: Part) -> Bucket:
        """One pass over the part, all of it as one."""
        rows = digest = 0
        for where in self._pieces(conn, part):
            query = sql.SQL(
                "SELECT count(*) AS rows, sum({row}) AS digest FROM ONLY {table} AS t WHERE {where}"
            ).format(row=self.row_hash.row, table=self.table.identifier, where=where)
            for row in conn.execute(query):
                rows, digest = rows + row["rows"], digest + int(row["digest"] or 0)
        return Bucket(rows=rows, digest=digest)

    def of_buckets(self, conn: Connection, part: Part) -> dict[int, Bucket]:
        """One pass over the part: bucket -> rows and digest."""
        found: dict[int, Bucket] = {}
        for where in self._pieces(conn, part):
            query = sql.SQL(
                "SELECT {bucket} AS bucket, count(*) AS rows, sum({row}) AS digest FROM ONLY {table} AS t WHERE {where}"
                " GROUP BY 1"
            ).format(bucket=self._bucket, row=self.row_hash.row, table=self.table.identifier, where=where)
            for row in conn.execute(query).fetchall():
                before = found.get(row["bucket"], Bucket(rows=0, digest=0))
                found[row["bucket"]] = Bucket(rows=before.rows + row["rows"], digest=before.digest + int(row["digest"]))
        return found

    def _pieces(self, conn: Connection, part: Part) -> Iterator[sql.Composable]:
        """Conditions of what one statement reads: the part, or some of the table's pages."""
        if part.keyed:
            yield part.where(self.table)
            return
        mine: sql.Composable = sql.SQL("true")
        if part.share is not None:
            share, of = part.share
            mine = sql.SQL("mod({}, {}) IN ({}, {})").format(self.row_hash.seed, of, share, -share)
        size = int(scalar(conn, "SELECT pg_relation_size(%s::oid::regclass)", [self._oid(conn)]) or 0)
        pages = size // int(scalar(conn, "SELECT current_setting('block_size')::int"))
        a_piece = max(1, pages * self._piece_rows // max(self.table.rows_estimate, self._piece_rows))
        starts = list(range(0, max(pages, 1), a_piece))
        for start in starts:
            end = (
                sql.SQL("")
                if start == starts[-1]
                else sql.SQL(" AND t.ctid < {}::tid").format(f"({start + a_piece},0)")
            )
            yield sql.SQL("t.ctid >= {}::tid{} AND {}").format(f"({start},0)", end, mine)

    def _oid(self, conn: Connection) -> int:
        """The table's, on that side. Raises `psycopg.errors.UndefinedTable`."""
        return int(scalar(conn, sql.SQL("SELECT {}::regclass::oid").format(self._name)))

    def rows_of_buckets(self, conn: Connection, part: Part, buckets: Collection[int]) -> dict[Key, Row]:
        """The rows of some buckets. One that moved between pages meanwhile is counted twice, or not at all."""
        if self._shift is not None:
            return self._rows(conn, part.where(self.table), self._ranges(buckets, self._shift))
        found: dict[Key, Row] = {}
        for piece in self._pieces(conn, part):
            where = sql.SQL("{} AND {} = ANY({})").format(piece, self._bucket, sql.Literal(sorted(buckets)))
            for key, (number, copies) in self._rows(conn, where).items():
                found[key] = (number, copies + found.get(key, (0, 0))[1])
        return found

    def _ranges(self, buckets: Collection[int], shift: int) -> sql.Composable:
        """A join with the ranges of the key that these buckets are."""
        return sql.SQL(
            " JOIN unnest({numbers}::int8[]) AS bucket({n})"
            " ON t.{key} BETWEEN {n} << {shift} AND {n} << {shift} | {rest}"
        ).format(
            n=self._unused("n"),
            numbers=sql.Literal(sorted(buckets)),
            key=sql.Identifier(self.table.key[0]),
            shift=sql.Literal(shift),
            rest=sql.Literal((1 << shift) - 1),
        )

    def rows_of_keys(self, conn: Connection, keys: Collection[Key]) -> dict[Key, Row]:
        """Those of the given rows that are there, found by their key's index."""
        if not self.table.key:
            wanted = sql.SQL("{} = ANY({})").format(self.row_hash.row, sql.Literal([int(key[0] or 0) for key in keys]))
            return self._rows(conn, wanted)
        return self._rows(conn, sql.SQL("true"), self.join(keys))

    def join(self, keys: Collection[Key]) -> sql.Composable:
        """With a list of keys."""
        return sql.SQL(" JOIN {} ON {}").format(*self.listed(keys))

    def listed(self, keys: Collection[Key]) -> tuple[sql.Composable, sql.Composable]:
        """A list of keys as a table, and the condition that a row is one of them."""
        types = {column.name: column.type for column in self.table.columns}
        names = [self._unused(f"k{n}") for n in range(len(self.table.key))]
        rows = sql.SQL("unnest({}) AS keys({})").format(
            sql.SQL(", ").join(
                sql.SQL("{}::text[]").format(sql.Literal(list(part))) for part in zip(*keys, strict=True)
            ),
            sql.SQL(", ").join(names),
        )
        condition = sql.SQL(" AND ").join(
            # format_type's own text: a type's name as the server prints it
            sql.SQL("t.{} = keys.{}::").format(sql.Identifier(name), n) + sql.SQL(types[name])
            for name, n in zip(self.table.key, names, strict=True)
        )
        return rows, condition

    def _unused(self, name: str) -> sql.Identifier:
        """A name that no column has."""
        taken = {column.name for column in self.table.columns}
        while name in taken:
            name += "_"
        return sql.Identifier(name)

    @property
    def _key(self) -> sql.Composable:
        if not self.table.key:
            return sql.SQL("({})::text").format(self.row_hash.row)
        return sql.SQL(", ").join(sql.SQL("t.{}::text").format(sql.Identifier(c)) for c in self.table.key)

    def _rows(
        self,
        conn: Connection,
        where: sql.Composable,
        join: sql.Composable = sql.SQL(""),  # noqa: B008
    ) -> dict[Key, Row]:
        query = sql.SQL("SELECT {} AS hash, {} FROM ONLY {} AS t{} WHERE {}").format(
            self.row_hash.row, self._key, self.table.identifier, join, where
        )
        found: dict[Key, Row] = {}
        for number, *key in conn.cursor(row_factory=tuple_row).execute(query):
            name = tuple(key)
            found[name] = (number, found.get(name, (0, 0))[1] + 1)
        return found

    def values(self, conn: Connection, keys: Sequence[Key]) -> dict[Key, dict[str, Value]]:
        """Every compared column of some rows of a table with a key."""
        lists = sql.SQL(", ").join(
            sql.SQL(
                "(SELECT ARRAY[md5(p.v), left(p.v, {}), length(p.v)::text] FROM (SELECT {} AS v) AS p) AS {}"
            ).format(sql.Literal(_SHOWN), self.row_hash.printed(column), sql.Identifier(f"c{n}"))
            for n, column in enumerate(self.row_hash.compared)
        )
        query = sql.SQL("SELECT ARRAY[{}] AS key, {} FROM ONLY {} AS t{}").format(
            self._key, lists, self.table.identifier, self.join(keys)
        )
        return {tuple(row["key"]): dict(self._read(row)) for row in conn.execute(query)}

    def hidden(self, key: tuple[tuple[str, str | None], ...]) -> tuple[tuple[str, str | None], ...]:
        """A key for a report: values of secret columns as a hash."""
        secret = {name for name, rule in self.row_hash.rules.items() if rule.secret}
        return tuple(
            (name, f"secret, hash {md5((value or '').encode(), usedforsecurity=False).hexdigest()[:12]}")
            if name in secret
            else (name, value)
            for name, value in key
        )

    def describe(self, key: Key) -> str:
        """A row, for people."""
        if not self.table.key:
            return f"row with hash {key[0]}"
        pairs = self.hidden(tuple(zip(self.table.key, key, strict=True)))
        return f"({', '.join(f'{name}={value}' for name, value in pairs)})"

    def _read(self, row: dict[str, list[str | None]]) -> Iterator[tuple[str, Value]]:
        for n, column in enumerate(self.row_hash.compared):
            digest, start, length = row[f"c{n}"]
            yield column.name, Value(digest=digest, shown=self._shown(column.name, digest, start, length))

    def _shown(self, column: str, digest: str | None, start: str | None, length: str | None) -> str | None:
        if digest is None or start is None or length is None:
            return None
        rule = self.row_hash.rules.get(column)
        if rule is not None and rule.secret:
            return f"secret, hash {digest[:12]}"
        return start if int(length) <= _SHOWN else f"{start}… ({int(length):,} characters, md5 {digest[:12]})"
