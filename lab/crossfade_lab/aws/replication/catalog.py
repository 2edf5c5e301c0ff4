"""The tables of a task, as the source's catalog describes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from crossfade_lab.aws.replication.mapping import Mappings
from crossfade_lab.aws.replication.sessions import Connection

#: Types that DMS handles as large objects, by the chapter on PostgreSQL sources of the user guide.
LOBS = frozenset({"text", "citext", "bytea", "xml", "json", "jsonb", "hstore", "path", "polygon"})
#: Types that DMS leaves out, by the same chapter.
NOT_MIGRATED = frozenset(
    {"inet", "cidr", "macaddr", "macaddr8", "tsvector", "tsquery", "line", "lseg", "box", "circle"}
)
OWN_SCHEMAS = ("pg_catalog", "information_schema", "pg_toast")


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column that can be read from the source and written to the target."""

    name: str
    type: str  #: name of the base type, below any domain
    declaration: str  #: the type as CREATE TABLE takes it
    kind: str  #: typtype of the base type: b(ase), c(omposite), e(num), r(ange), m(ultirange)
    array: bool
    typmod: int
    not_null: bool

    @property
    def migrated(self) -> bool:
        return self.kind not in ("c", "r", "m") and self.type not in NOT_MIGRATED

    @property
    def lob(self) -> bool:
        return self.array or self.type in LOBS

    @property
    def unbounded_numeric(self) -> bool:
        return self.type == "numeric" and self.typmod < 0


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Table:
    """A table of the task; one object each, so that it can be a quick key of dictionaries.

    `key` is what identifies a row in the stream: the primary key, or what REPLICA IDENTITY names. It is empty where
    there is none and where one of its columns is a large object: such tables get INSERTs only.
    """

    schema: str
    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...]
    identity: tuple[str, ...]  #: columns of the replica identity, whatever their types
    key: tuple[str, ...]
    always_identity: bool  #: a GENERATED ALWAYS AS IDENTITY column exists

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def sql(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def migrated(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.migrated)


_TABLES = """
SELECT c.oid, n.nspname, c.relname, c.relreplident,
       ARRAY(SELECT a.attname FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS k (num, place)
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.num
             WHERE i.indrelid = c.oid AND i.indisprimary ORDER BY k.place)::text[],
       ARRAY(SELECT a.attname FROM pg_index i, unnest(i.indkey) WITH ORDINALITY AS k (num, place)
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.num
             WHERE i.indrelid = c.oid AND i.indisreplident ORDER BY k.place)::text[]
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence = 'p' AND n.nspname <> ALL (%s) AND c.relname NOT LIKE 'awsdms\\_%%'
ORDER BY pg_relation_size(c.oid) DESC, n.nspname, c.relname
"""
_COLUMNS = """
WITH RECURSIVE base (oid, type, typmod) AS (
    SELECT oid, typbasetype, typtypmod FROM pg_type WHERE typtype = 'd'
    UNION ALL
    SELECT base.oid, t.typbasetype, t.typtypmod FROM base JOIN pg_type t ON t.oid = base.type AND t.typtype = 'd'
)
SELECT a.attrelid, a.attname, t.typname, format_type(a.atttypid, a.atttypmod), t.typtype,
       t.typcategory = 'A', coalesce(b.typmod, a.atttypmod), a.attnotnull, a.attidentity = 'a'
FROM pg_attribute a
LEFT JOIN (base b JOIN pg_type u ON u.oid = b.type AND u.typtype <> 'd') ON b.oid = a.atttypid
JOIN pg_type t ON t.oid = coalesce(b.type, a.atttypid)
WHERE a.attrelid = ANY (%s) AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
ORDER BY a.attrelid, a.attnum
"""


def read_tables(source: Connection, mappings: Mappings) -> list[Table]:
    """The ordinary tables that the mapping selects, largest first. Parents of partitions hold no rows: left out."""
    found = [row for row in source.execute(_TABLES, [list(OWN_SCHEMAS)]) if mappings.selects(row[1], row[2])]
    columns: dict[int, list[Column]] = {row[0]: [] for row in found}
    always: set[int] = set()
    for oid, name, type_, declaration, kind, array, typmod, not_null, identity in source.execute(
        _COLUMNS, [list(columns)]
    ):
        column = Column(
            name=name, type=type_, declaration=declaration, kind=kind, array=array, typmod=typmod, not_null=not_null
        )
        columns[oid].append(column)
        if identity:
            always.add(oid)
    return [
        _table(schema, name, columns[oid], replident, pk, index, oid in always)
        for oid, schema, name, replident, pk, index in found
    ]


def _table(
    schema: str,
    name: str,
    columns: Sequence[Column],
    replident: str,
    primary_key: Sequence[str],
    index: Sequence[str],
    always: bool,
) -> Table:
    whole = primary_key or [column.name for column in columns]
    identity = {"d": primary_key, "i": index, "f": whole, "n": []}[replident]
    of_a_lob = {column.name for column in columns if column.lob or not column.migrated}
    if replident == "f" and not primary_key:
        key = [name for name in identity if name not in of_a_lob]
    else:
        key = [] if of_a_lob & set(identity) else list(identity)
    return Table(
        schema=schema,
        name=name,
        columns=tuple(columns),
        primary_key=tuple(primary_key),
        identity=tuple(identity),
        key=tuple(key),
        always_identity=always,
    )
