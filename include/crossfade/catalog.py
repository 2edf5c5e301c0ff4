"""What is in a database: tables, keys, columns, sequences, sizes, open transactions; as typed rows."""

from __future__ import annotations

from collections.abc import Sequence as Several
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from psycopg import sql

from crossfade.connect import Connection, scalar
from crossfade.plan import Tables
from crossfade.queries import named_queries

_QUERIES = named_queries(__file__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column of a table."""

    name: str
    type: str  #: as format_type prints it
    not_null: bool
    generated: bool  #: computed by the server: never copied
    binary: bool  #: COPY's binary format of its type means the same on another server
    base_type: str = ""  #: pg_type.typname below any domain, of the types that come with PostgreSQL; else empty


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table that holds rows itself: an ordinary table or a leaf partition."""

    oid: int
    schema: str
    name: str
    owner: str
    root: tuple[str, str]  #: schema and name of the partitioned table on top; its own where it is no partition
    replica_identity: Literal["d", "n", "f", "i"]  #: pg_class.relreplident
    key: tuple[str, ...]  #: columns of its replica identity; empty for FULL and where there is none
    relfilenode: int  #: changes when the table is rewritten or truncated
    bytes: int  #: with TOAST, without indexes
    rows_estimate: int
    pages: int  #: of the main fork
    columns: tuple[Column, ...]

    @property
    def identifier(self) -> sql.Identifier:
        """For statements."""
        return sql.Identifier(self.schema, self.name)

    @property
    def full_name(self) -> str:
        """Schema and name as stored, for logs and the journal. Not for statements."""
        return f"{self.schema}.{self.name}"

    @property
    def copied_columns(self) -> tuple[Column, ...]:
        """The columns whose values travel: all but the generated ones."""
        return tuple(column for column in self.columns if not column.generated)

    @property
    def can_replicate_updates(self) -> bool:
        """Whether UPDATE and DELETE of a row can be told to a subscriber."""
        return bool(self.key) or self.replica_identity == "f"


@dataclass(frozen=True, kw_only=True, slots=True)
class Sequence:
    """A sequence and its bounds."""

    schema: str
    name: str
    increment: int
    minimum: int
    maximum: int

    @property
    def identifier(self) -> sql.Identifier:
        """For statements."""
        return sql.Identifier(self.schema, self.name)

    @property
    def full_name(self) -> str:
        """Schema and name as stored, for logs."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenTransaction:
    """A transaction that somebody holds open."""

    pid: int
    role: str
    database: str
    application_name: str
    state: str
    age: timedelta
    query: str  #: its start

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.role}, {self.application_name or 'no name'}) open for {self.age}: {self.query}"


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedTransaction:
    """A two-phase transaction that waits for its end."""

    gid: str
    role: str
    database: str
    age: timedelta


def tables(conn: Connection, selection: Tables) -> list[Table]:
    """The tables that a plan selects, by schema and name. A partition goes with its root table."""
    chosen = [
        row
        for row in conn.execute(_QUERIES["tables"]).fetchall()
        if selection.selects(row["root_schema"], row["root_name"])
        and not selection.excludes(row["schema"], row["name"])
    ]
    columns = _columns(conn, [row["oid"] for row in chosen])
    return [
        Table(
            oid=row["oid"],
            schema=row["schema"],
            name=row["name"],
            owner=row["owner"],
            root=(row["root_schema"], row["root_name"]),
            replica_identity=row["replica_identity"],
            key=tuple(row["key"]),
            relfilenode=row["relfilenode"],
            bytes=row["bytes"],
            rows_estimate=row["rows_estimate"],
            pages=row["pages"],
            columns=columns.get(row["oid"], ()),
        )
        for row in chosen
    ]


def _columns(conn: Connection, oids: Several[int]) -> dict[int, tuple[Column, ...]]:
    found: dict[int, tuple[Column, ...]] = {}
    for row in conn.execute(_QUERIES["columns"], {"oids": list(oids)}).fetchall():
        oid = row.pop("table_oid")
        found[oid] = (*found.get(oid, ()), Column(**row))
    return found


def sequences(conn: Connection) -> list[Sequence]:
    """Every sequence of the database, owned by a column or not, by schema and name."""
    return [Sequence(**row) for row in conn.execute(_QUERIES["sequences"]).fetchall()]


def blocking_transactions(conn: Connection) -> list[OpenTransaction]:
    """Transactions open in any database of the server, oldest first: a new slot waits for each of them."""
    return [OpenTransaction(**row) for row in conn.execute(_QUERIES["blocking_transactions"], {}).fetchall()]


def prepared_transactions(conn: Connection) -> list[PreparedTransaction]:
    """Two-phase transactions of this database, oldest first."""
    return [PreparedTransaction(**row) for row in conn.execute(_QUERIES["prepared_transactions"]).fetchall()]


def definition_stamp(conn: Connection) -> str:
    """A hash that changes with DDL on anything that row replication depends on. A few milliseconds."""
    return str(scalar(conn, _QUERIES["definition_stamp"]))


def row_changes(conn: Connection) -> int:
    """Rows inserted, updated and deleted in this database, as its statistics count them; a little late."""
    query = "SELECT tup_inserted + tup_updated + tup_deleted FROM pg_stat_database WHERE datname = current_database()"
    return int(scalar(conn, query))
