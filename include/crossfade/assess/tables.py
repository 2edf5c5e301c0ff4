"""Tables: which move, which cannot be replicated, and what does not travel with rows."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from crossfade.assess.registry import Problem, Severity, check
from crossfade.assess.scene import Database
from crossfade.catalog import Table
from crossfade.plan import Plan, Tables
from crossfade.queries import named_queries

_QUERIES = named_queries(__file__)
_KINDS = {"f": "a foreign table", "u": "an unlogged table"}
_NOT_CARRIED = {
    "f": 'tables: {{exclude: ["{name}"]}}  # or see to its server and user mappings on the target',
    "u": "ALTER TABLE {identifier} SET LOGGED;  -- or copy its rows by hand after the cutover",
}


@check("tables.selected", severity=Severity.BLOCKER)
def something_moves(source: Database, plan: Plan) -> Iterator[Problem]:
    """A plan whose patterns select no table, or have one that selects none."""
    tables = source.tables(plan)
    if not tables:
        there = [f"{row['schema']}.{row['name']}" for row in source.rows(_QUERIES["some_tables"])]
        yield Problem(
            ", ".join(plan.tables.include),
            f"no table of {source.endpoint.name} is selected; there are: {', '.join(there) or 'none at all'}",
            'tables: {include: ["public.*"]}  # in the plan; names as they are stored',
        )
        return
    for pattern in plan.tables.include:
        if not any(Tables(include=(pattern,)).selects(*table.root) for table in tables):
            yield Problem(
                pattern,
                "this pattern selects no table",
                f"Correct or remove {pattern!r} in tables.include of the plan; names as they are stored",
                severity=Severity.WARNING,
            )


@check("tables.replica_identity", severity=Severity.BLOCKER, engines={"logical"})
def every_table_can_be_updated(source: Database, plan: Plan) -> Iterator[Problem]:
    """Tables whose UPDATE and DELETE would fail on the source once they are published: nothing identifies a row."""
    for table in source.tables(plan):
        if not table.can_replicate_updates:
            name = table.identifier.as_string()
            yield Problem(table.full_name, _missing_identity(table), _identity_remedy(table, name))


def _missing_identity(table: Table) -> str:
    if table.replica_identity == "n":
        return "REPLICA IDENTITY NOTHING"
    if table.replica_identity == "i":
        return "the index of its replica identity is gone or invalid"
    return "no primary key and no replica identity"


def _identity_remedy(table: Table, name: str) -> str:
    full = f"ALTER TABLE {name} REPLICA IDENTITY FULL;  -- where no key can be had: the whole row is logged"
    if table.replica_identity == "d":
        return f"ALTER TABLE {name} ADD PRIMARY KEY (…);\n{full}"
    return f"ALTER TABLE {name} REPLICA IDENTITY DEFAULT;  -- its primary key, where it has one\n{full}"


@check("tables.replica_identity_full", severity=Severity.WARNING, engines={"logical"})
def no_table_is_identified_by_the_whole_row(source: Database, plan: Plan) -> Iterator[Problem]:
    """Tables whose every UPDATE and DELETE searches the target's table for the whole row."""
    for table in source.tables(plan):
        if table.replica_identity == "f":
            yield Problem(
                table.full_name,
                f"REPLICA IDENTITY FULL, about {table.rows_estimate} rows: UPDATE and DELETE are slow on the target "
                "unless it can use an index (16 or newer), and are logged with the whole row",
                f"ALTER TABLE {table.identifier.as_string()} REPLICA IDENTITY DEFAULT;  -- after ADD PRIMARY KEY",
            )


@check("tables.owners", severity=Severity.BLOCKER)
def every_owner_can_be_acted_for(source: Database, plan: Plan) -> Iterator[Problem]:
    """Tables whose owner cannot be an owner on the target, or that the migration role cannot publish."""
    owners: dict[str, list[str]] = {}
    for table in source.tables(plan):
        owners.setdefault(table.owner, []).append(table.full_name)
    ours = sql.Identifier(source.role["rolname"]).as_string()
    for row in source.rows(_QUERIES["owners"], names=list(owners)):
        owner, its = sql.Identifier(row["name"]).as_string(), ", ".join(owners[row["name"]])
        if row["superuser"] and not source.role["rolsuper"]:
            yield Problem(
                row["name"],
                f"a superuser owns {its}: {ours} cannot give them to that owner on the target"
                + (", nor publish them" if plan.goes_natively else ""),
                "\n".join(f"ALTER TABLE {name} OWNER TO …;  -- an ordinary role" for name in owners[row["name"]]),
            )
        elif plan.goes_natively and not row["member"]:
            yield Problem(
                row["name"],
                f"it owns {its}, and {ours} is no member of it: only an owner may publish a table",
                f"GRANT {owner} TO {ours};",
            )


@check("tables.not_carried", severity=Severity.WARNING)
def every_selected_table_has_rows_to_carry(source: Database, plan: Plan) -> Iterator[Problem]:
    """Tables that the plan's patterns select and whose rows no engine carries."""
    for row in source.rows(_QUERIES["not_carried"]):
        if plan.tables.selects(row["schema"], row["name"]):
            name = f"{row['schema']}.{row['name']}"
            yield Problem(
                name,
                f"{_KINDS[row['kind']]}: its definition moves, its rows do not",
                _NOT_CARRIED[row["kind"]].format(name=name, identifier=row["identifier"]),
            )


@check("tables.large_objects", severity=Severity.WARNING)
def there_are_no_large_objects(source: Database) -> Iterator[Problem]:
    """Large objects (pg_largeobject): no engine carries them."""
    count = source.value("SELECT count(*) FROM pg_largeobject_metadata")
    if count:
        yield Problem(
            "pg_largeobject",
            f"{count} large objects; neither they nor their changes reach the target",
            "Move their content into bytea columns first: UPDATE … SET content = lo_get(reference);",
        )
