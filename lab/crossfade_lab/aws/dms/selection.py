"""Which tables of a source the selection rules of a mapping name."""

from collections.abc import Iterable, Mapping
from typing import Any

import psycopg

from crossfade_lab.aws import wildcards

Table = tuple[str, str]

#: Ordinary tables and partitions; DMS reads partitions, not their parents. Returns schema and name.
_TABLES = """
SELECT n.nspname, c.relname
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg#_toast%' ESCAPE '#'
ORDER BY 1, 2
"""


def selected(source: psycopg.Connection, mapping: Mapping[str, Any]) -> list[Table]:
    """The tables of the source that a mapping includes and does not exclude, as schema and name."""
    tables = [(str(schema), str(name)) for schema, name in source.execute(_TABLES).fetchall()]
    rules = [rule for rule in mapping["rules"] if rule["rule-type"] == "selection"]
    included = [rule for rule in rules if rule["rule-action"] != "exclude"]
    excluded = [rule for rule in rules if rule["rule-action"] == "exclude"]
    return [table for table in tables if _named(table, included) and not _named(table, excluded)]


def _named(table: Table, rules: Iterable[Mapping[str, Any]]) -> bool:
    return any(_names(rule, *table) for rule in rules)


def _names(rule: Mapping[str, Any], schema: str, name: str) -> bool:
    """Whether a rule is about a table: an explicit selection has its name, others a pattern."""
    locator = rule["object-locator"]
    if rule["rule-action"] == "explicit":
        return (locator["schema-name"], locator["table-name"]) == (schema, name)
    return wildcards.matches(locator["schema-name"], schema) and wildcards.matches(locator["table-name"], name)
