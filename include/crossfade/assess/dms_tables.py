"""Tables whose changes AWS DMS would lose or double, and names that it cannot tell apart.

User guide of AWS DMS, "Limitations on using a PostgreSQL database as a DMS source".
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from psycopg import sql

from crossfade.assess.dms_columns import left_out, on_top
from crossfade.assess.dms_scene import DMS
from crossfade.assess.registry import Problem, Severity, check
from crossfade.assess.scene import Database
from crossfade.catalog import Table
from crossfade.engines.dms.lobs import lob_tables
from crossfade.engines.dms.names import addressable
from crossfade.plan import Plan
from crossfade.queries import named_queries

_QUERIES = named_queries(__file__)
_IGNORED = "AWS DMS ignores UPDATE and DELETE on it"


@check("dms_tables.primary_key", severity=Severity.BLOCKER, engines=DMS)
def every_row_can_be_found_again(source: Database, plan: Plan) -> Iterator[Problem]:
    """Tables without a key that DMS can use: it would ignore their UPDATE and DELETE."""
    tables = source.tables(plan)
    lobs = {
        (lob.schema, lob.name): lob.columns for lob in lob_tables(source.conn, [(t.schema, t.name) for t in tables])
    }
    keys = {row["oid"]: row for row in source.rows(_QUERIES["keys"], oids=[table.oid for table in tables])}
    told = set()
    for table in tables:
        found = _key_problem(table, keys.get(table.oid), lobs.get((table.schema, table.name), ()))
        if found and table.root not in told:
            told.add(table.root)
            yield found


def _key_problem(table: Table, key: Mapping[str, Any] | None, lobs: Collection[str]) -> Problem | None:
    name, statement = ".".join(table.root), f"ALTER TABLE {on_top(table)}"
    add = f"{statement} ADD PRIMARY KEY (…);\n-- or: {left_out(table)}"
    if key is None:
        if table.replica_identity != "f" and not table.key:
            return Problem(name, f"it has no primary key: {_IGNORED}, and cannot carry large values one by one", add)
        if of_a_lob := [column for column in table.key if column in lobs]:
            return Problem(name, _lob_key("its replica identity", of_a_lob), _shorter(table, of_a_lob))
        return Problem(
            name,
            "it has no primary key, only a replica identity: AWS DMS neither validates it nor carries large values "
            "one by one, and of equal rows changes all",
            add,
            severity=Severity.WARNING,
        )
    if of_a_lob := [column for column in key["columns"] if column in lobs]:
        return Problem(name, _lob_key("its primary key", of_a_lob), _shorter(table, of_a_lob))
    columns = ", ".join(sql.Identifier(column).as_string() for column in key["columns"])
    if key["deferrable"] and table.replica_identity == "d":
        return Problem(
            name,
            f"its primary key is deferrable, so that the WAL does not tell which row was changed: {_IGNORED}",
            f"{statement} DROP CONSTRAINT {sql.Identifier(key['name']).as_string()}, ADD PRIMARY KEY ({columns});",
        )
    if table.replica_identity == "i" and (of_a_lob := [column for column in table.key if column in lobs]):
        return Problem(name, _lob_key("its replica identity", of_a_lob), f"{statement} REPLICA IDENTITY DEFAULT;")
    if table.replica_identity == "n" or (table.replica_identity == "i" and not table.key):
        return Problem(name, f"its replica identity is NOTHING: {_IGNORED}", f"{statement} REPLICA IDENTITY DEFAULT;")
    return None


def _lob_key(what: str, columns: Sequence[str]) -> str:
    return f"{', '.join(columns)} of {what} is a large object to AWS DMS, which then counts as none: {_IGNORED}"


def _shorter(table: Table, columns: Sequence[str]) -> str:
    types = {column.name: column.type for column in table.columns}
    lines = []
    for column in columns:
        name = sql.Identifier(column).as_string()
        if types[column].endswith("[]") or types[column] in ("bytea", "json", "jsonb", "xml", "hstore"):
            lines.append(
                f"-- {name} is {types[column]}: make a primary key of other columns, of an identity column say"
            )
        else:
            lines.append(
                f"ALTER TABLE {on_top(table)} ALTER COLUMN {name} TYPE varchar(255);  -- as long as its longest value; "
                "rewrites the table"
            )
    return "\n".join([*lines, f"-- or: {left_out(table)}"])


@check("dms_tables.inherited", severity=Severity.BLOCKER, engines=DMS)
def no_row_is_read_twice(source: Database, plan: Plan) -> Iterator[Problem]:
    """Ordinary tables with children by INHERITS: DMS reads a parent with its children's rows, which arrive twice."""
    for table, row in _rows_of(source, plan, "parents"):
        yield Problem(
            table.full_name,
            f"{row['children']} inherit from it: AWS DMS reads their rows with its own",
            f"ALTER TABLE … NO INHERIT {table.identifier.as_string()};  -- each child; or partition it\n"
            f"-- or: {left_out(table)}",
        )


@check("dms_tables.unique_expressions", severity=Severity.WARNING, engines=DMS)
def no_expression_is_unique(source: Database, plan: Plan) -> Iterator[Problem]:
    """Unique indexes on expressions: DMS does not support those of coalesce(), and says nothing of others."""
    for table, row in _rows_of(source, plan, "unique_expressions"):
        yield Problem(
            table.full_name,
            f"its unique index {row['name']} is on an expression; AWS DMS does not support such tables where it is "
            f"coalesce(): {row['definition']}",
            f"DROP INDEX {row['identifier']};  -- on the target until the cutover; or try it with a copy",
        )


@check("dms_tables.deferred", severity=Severity.WARNING, engines=DMS)
def no_constraint_is_deferred(source: Database, plan: Plan) -> Iterator[Problem]:
    """Unique and exclusion constraints that are checked only at the end of a transaction: DMS does not support them."""
    for table, row in _rows_of(source, plan, "deferred"):
        yield Problem(
            table.full_name,
            f"{row['constraints']} may be deferred, which AWS DMS does not support: a change may be refused in the "
            "middle of a transaction",
            "-- Try it with a copy; or drop them on the target until the cutover",
        )


@check("dms_tables.key_updates", severity=Severity.WARNING, engines=DMS)
def keys_are_not_changed(source: Database, plan: Plan) -> Iterator[Problem]:
    """Primary keys that are meant to change (ON UPDATE CASCADE leads to them): DMS ignores such updates."""
    for table, row in _rows_of(source, plan, "cascading"):
        yield Problem(
            table.full_name,
            f"{row['constraints']} follow changes of its key: AWS DMS ignores an UPDATE of a primary key",
            "-- Change no key while the migration runs; Crossfade compares every row and names those that differ",
        )


@check("dms_tables.names", severity=Severity.BLOCKER, engines=DMS)
def names_differ_by_more_than_case(source: Database, plan: Plan) -> Iterator[Problem]:
    """Tables whose names differ only by case, or are DMS's own; and those that no setting of a table can name."""
    alike: dict[str, list[Table]] = {}
    for table in source.tables(plan):
        alike.setdefault(table.full_name.lower(), []).append(table)
    for first, *others in alike.values():
        if others:
            yield Problem(
                ", ".join(table.full_name for table in (first, *others)),
                "their names differ only by case: AWS DMS may take one for the other",
                f"ALTER TABLE {first.identifier.as_string()} RENAME TO …;\n-- or: {left_out(first)}",
            )
        if first.name.lower().startswith("awsdms_"):
            yield Problem(
                first.full_name,
                "AWS DMS gives such names to its control tables, and does not carry them",
                f"DROP TABLE {first.identifier.as_string()};  -- what another task has left\n-- or: {left_out(first)}",
            )
        if not addressable(first.schema, first.name):
            yield Problem(
                first.full_name,
                "a percent sign is a wildcard to AWS DMS and cannot be escaped in settings of a table: it is neither "
                "loaded in ranges nor has limits of its own; its large values go one by one",
                f"ALTER TABLE {first.identifier.as_string()} RENAME TO …;  -- where that is too slow",
                severity=Severity.WARNING,
            )


def _rows_of(source: Database, plan: Plan, query: str) -> Iterator[tuple[Table, dict[str, Any]]]:
    """What a query says of the plan's tables; of partitions, which are alike, only the first is asked."""
    tables: dict[tuple[str, str], Table] = {}
    for table in source.tables(plan):
        tables.setdefault(table.root, table)
    by_oid = {table.oid: table for table in tables.values()}
    for row in source.rows(_QUERIES[query], oids=list(by_oid)):
        yield by_oid[row["oid"]], row
