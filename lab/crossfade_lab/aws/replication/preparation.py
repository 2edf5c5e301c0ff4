"""Making the target's tables ready for a full load, by TargetTablePrepMode.

DMS creates a table with its columns, NOT NULL and primary key: no default, no sequence, no other index, no foreign
key, no trigger.
"""

from __future__ import annotations

from psycopg import sql

from crossfade_lab.aws.replication.catalog import Column, Table
from crossfade_lab.aws.replication.sessions import Connection


def prepare(target: Connection, table: Table, mode: str, *, booleans_kept: bool) -> None:
    """Drop and create, truncate, or leave alone; a missing table is created in every mode.

    :raises psycopg.Error: the target refuses, for example because a foreign key points at the table
    """
    exists = _exists(target, table)
    if exists and mode == "DROP_AND_CREATE":
        target.execute(sql.SQL("DROP TABLE {}").format(table.sql))
        exists = False
    elif exists and mode == "TRUNCATE_BEFORE_LOAD":
        target.execute(sql.SQL("TRUNCATE TABLE {}").format(table.sql))
    if not exists:
        _create(target, table, booleans_kept)


def _exists(target: Connection, table: Table) -> bool:
    query = "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = %s AND relname = %s"
    return target.execute(query, [table.schema, table.name]).fetchone() is not None


def _create(target: Connection, table: Table, booleans_kept: bool) -> None:
    schema = target.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [table.schema]).fetchone()
    if schema is None:
        target.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(table.schema)))
    parts: list[sql.Composable] = [
        sql.SQL("{} {}{}").format(
            sql.Identifier(column.name),
            sql.SQL(mapped_type(column, booleans_kept)),
            sql.SQL(" NOT NULL" if column.not_null else ""),
        )
        for column in table.migrated
    ]
    if table.primary_key and set(table.primary_key) <= {column.name for column in table.migrated}:
        names = sql.SQL(", ").join(map(sql.Identifier, table.primary_key))
        parts.append(sql.SQL("PRIMARY KEY ({})").format(names))
    target.execute(sql.SQL("CREATE TABLE {} ({})").format(table.sql, sql.SQL(", ").join(parts)))


def mapped_type(column: Column, booleans_kept: bool) -> str:
    """The type of a column in a table that DMS creates."""
    if column.array:
        return "text"
    if column.kind == "e":
        return "varchar(64)"
    if column.unbounded_numeric:
        return "numeric(28,6)"
    if column.type == "bool":
        return "boolean" if booleans_kept else "varchar(5)"
    sized = {"varchar": "varchar", "bpchar": "char"}
    if column.type in sized and column.typmod > 4:
        return f"{sized[column.type]}({column.typmod - 4})"
    if column.type == "numeric":
        return f"numeric({(column.typmod - 4) >> 16},{(column.typmod - 4) & 0x7FF})"
    return column.type
