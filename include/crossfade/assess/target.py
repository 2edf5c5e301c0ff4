"""The target: empty, with the source's extensions at hand."""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from crossfade.assess.registry import Problem, Severity, check
from crossfade.assess.scene import Database
from crossfade.plan import Plan
from crossfade.queries import named_queries

_QUERIES = named_queries(__file__)
_OURS = {"active", "cutting over", "cut over", "rolling back"}


@check("target.empty", severity=Severity.BLOCKER)
def target_is_empty(target: Database, plan: Plan) -> Iterator[Problem]:
    """Tables with rows on the target that are not this migration's own."""
    ours = _migration_is_known(target, plan)
    for row in target.rows(_QUERIES["tables"]):
        if ours and plan.tables.selects(row["schema"], row["name"]):
            continue
        if target.value(_has_rows(row["schema"], row["name"])):
            yield Problem(
                f"{row['schema']}.{row['name']}",
                f"it holds rows ({row['size']}); Crossfade loads into an empty database only",
                f"DROP TABLE {sql.Identifier(row['schema'], row['name']).as_string()};  -- or use another database",
            )


def _has_rows(schema: str, name: str) -> sql.Composed:
    return sql.SQL("SELECT EXISTS (SELECT FROM ONLY {})").format(sql.Identifier(schema, name))


def _migration_is_known(target: Database, plan: Plan) -> bool:
    """Whether the target's journal holds a migration of this plan: its tables are then ours."""
    if target.value("SELECT to_regclass('crossfade.migration')") is None:
        return False
    states = target.rows("SELECT state FROM crossfade.migration WHERE plan = %(plan)s", plan=plan.name)
    return any(row["state"] in _OURS for row in states)


@check("target.extensions", severity=Severity.BLOCKER)
def extensions_are_available(source: Database, target: Database) -> Iterator[Problem]:
    """Extensions of the source that the target cannot create, or only in another version."""
    available: dict[str, list[str]] = {}
    for row in target.rows("SELECT name, version FROM pg_available_extension_versions"):
        available.setdefault(row["name"], []).append(row["version"])
    for row in source.rows("SELECT extname AS name, extversion AS version FROM pg_extension ORDER BY 1"):
        versions = available.get(row["name"])
        if versions is None:
            yield Problem(
                row["name"],
                f"version {row['version']} is used on the source; the target's server does not have it",
                f"Install the extension's package for PostgreSQL {target.can.major} on the target's server, "
                f"or: DROP EXTENSION {sql.Identifier(row['name']).as_string()};  -- on the source",
            )
        elif row["version"] not in versions:
            yield Problem(
                row["name"],
                f"version {row['version']} on the source; the target has {', '.join(sorted(versions))}",
                f"Read the extension's release notes; the target gets its default version. On the source first: "
                f"ALTER EXTENSION {sql.Identifier(row['name']).as_string()} UPDATE;",
                severity=Severity.WARNING,
            )
