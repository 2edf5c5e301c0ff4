"""The columns that AWS DMS would carry, by the type beneath any domain; and how a table is named in a remedy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql

from crossfade.assess.scene import Database
from crossfade.catalog import Table
from crossfade.plan import Plan
from crossfade.queries import named_queries

_QUERIES = named_queries(__file__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """One column that travels: not a generated one."""

    table: Table
    name: str
    declared: str  #: as format_type prints it
    type: str  #: name of the base type, below any domain
    kind: str  #: typtype of the base type: b(ase), c(omposite), e(num), r(ange), m(ultirange)
    array: bool
    typmod: int  #: of the base type; -1 where it has none
    extension: str | None  #: whose type it is; None for PostgreSQL's own and for a user's
    builtin: bool  #: whether it is PostgreSQL's own
    default: str  #: the expression; empty where there is none

    @property
    def root(self) -> str:
        """Schema and name of the table that people know: the partitioned one on top. For messages."""
        return ".".join(self.table.root)

    @property
    def identifier(self) -> sql.Identifier:
        """For statements."""
        return sql.Identifier(self.name)

    def alter(self, type: str) -> str:
        """The statement that gives it another type: on the root, since a partition cannot differ from it."""
        return f"ALTER TABLE {on_top(self.table)} ALTER COLUMN {self.identifier.as_string()} TYPE {type};"


def on_top(table: Table) -> str:
    """The table whose definition decides, for a statement."""
    return sql.Identifier(*table.root).as_string()


def left_out(table: Table) -> str:
    """The plan's key that leaves the table out."""
    return f'tables: {{exclude: ["{".".join(table.root)}"]}}  # in the plan'


def columns(source: Database, plan: Plan) -> Sequence[Column]:
    """The columns of the plan's tables, in order; those of partitions, too."""
    tables = {table.oid: table for table in source.tables(plan)}
    rows = source.rows(_QUERIES["columns"], oids=list(tables))
    return [Column(table=tables[row.pop("oid")], **row) for row in rows]
