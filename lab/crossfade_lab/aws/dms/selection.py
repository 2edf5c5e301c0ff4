"""Which tables of a source the selection rules of a mapping name."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import psycopg

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
    included = [rule["object-locator"] for rule in rules if rule["rule-action"] != "exclude"]
    excluded = [rule["object-locator"] for rule in rules if rule["rule-action"] == "exclude"]
    return [table for table in tables if _named(table, included) and not _named(table, excluded)]


def _named(table: Table, locators: Iterable[Mapping[str, str]]) -> bool:
    return any(
        _matches(locator["schema-name"], table[0]) and _matches(locator["table-name"], table[1]) for locator in locators
    )


def _matches(pattern: str, name: str) -> bool:
    """Whether a name fits a pattern with % for any characters and _ for one; case matters."""
    wildcards = {"%": ".*", "_": "."}
    return (
        re.fullmatch("".join(wildcards.get(sign) or re.escape(sign) for sign in pattern), name, re.DOTALL) is not None
    )
