"""Table mappings: which tables a task moves, and what it does differently for some of them.

By the chapter "Using table mapping to specify task settings" of the AWS DMS user guide: names are case-sensitive,
selections are patterns, an exclusion wins over an inclusion; an explicit selection and table settings name exactly one
table each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from psycopg import sql

from crossfade_lab.aws import wildcards
from crossfade_lab.aws.replication.failures import TaskFailed

Rule = Mapping[str, Any]
_OPERATORS = {"eq": "=", "noteq": "<>", "ste": "<=", "lte": "<=", "gte": ">="}


@dataclass(frozen=True, slots=True)
class Mappings:
    """The rules of one task."""

    rules: Sequence[Rule]

    def check(self) -> None:
        """Refuse what is not simulated. Raises `TaskFailed`."""
        for rule in self.rules:
            if rule["rule-type"] == "transformation":
                raise TaskFailed(
                    f"Table mapping rule {rule.get('rule-id')}: transformation {rule.get('rule-action')} is not "
                    "simulated by the local DMS; map tables under their own names"
                )

    def selects(self, schema: str, table: str) -> bool:
        """Whether a table belongs to the task."""
        rules = [r for r in self.rules if r["rule-type"] == "selection" and _matches(r, schema, table)]
        return bool(rules) and not any(rule["rule-action"] == "exclude" for rule in rules)

    def filters(self, schema: str, table: str) -> sql.Composable:
        """The WHERE clause of a full load, or nothing."""
        rules = [r for r in self.rules if r["rule-type"] == "selection" and _matches(r, schema, table)]
        conditions = [_condition(item) for rule in rules for item in rule.get("filters") or []]
        return sql.SQL(" AND ").join(conditions) if conditions else sql.SQL("true")

    def lob_settings(self, schema: str, table: str) -> Mapping[str, Any]:
        """The table's own `lob-settings`, or an empty mapping."""
        return self._setting("lob-settings", schema, table)

    def ranges(self, schema: str, table: str) -> list[sql.Composable]:
        """Conditions that split a full load into parts; one part without `parallel-load`.

        A boundary is the inclusive upper end of its range; the last range has no end and takes NULLs along.
        """
        load = self._setting("parallel-load", schema, table)
        if load.get("type") != "ranges":
            return [sql.SQL("true")]
        columns = sql.SQL("ROW({})").format(sql.SQL(", ").join(sql.Identifier(name) for name in load["columns"]))
        ends = [
            sql.SQL("ROW({})").format(sql.SQL(", ").join(sql.Literal(str(value)) for value in boundary))
            for boundary in load["boundaries"]
        ]
        below = [sql.SQL("{} <= {}").format(columns, end) for end in ends]
        parts: list[sql.Composable] = [below[0]]
        parts += [sql.SQL("{} AND ({}) IS NOT TRUE").format(b, a) for a, b in pairwise(below)]
        return [*parts, sql.SQL("({}) IS NOT TRUE").format(below[-1])]

    def _setting(self, key: str, schema: str, table: str) -> Mapping[str, Any]:
        for rule in self.rules:
            if rule["rule-type"] == "table-settings" and _matches(rule, schema, table) and rule.get(key):
                return dict(rule[key])
        return {}


def _matches(rule: Rule, schema: str, table: str) -> bool:
    """Whether a rule is about a table ("Wildcards in table-settings are restricted": they take names, not patterns)."""
    locator = rule["object-locator"]
    if rule["rule-type"] == "table-settings" or rule.get("rule-action") == "explicit":
        return (locator["schema-name"], locator["table-name"]) == (schema, table)
    return wildcards.matches(locator["schema-name"], schema) and wildcards.matches(locator["table-name"], table)


def _condition(item: Mapping[str, Any]) -> sql.Composable:
    column = sql.Identifier(item["column-name"])
    either: Iterable[sql.Composable] = [_test(column, condition) for condition in item["filter-conditions"]]
    return sql.SQL("({})").format(sql.SQL(" OR ").join(either))


def _test(column: sql.Composable, condition: Mapping[str, Any]) -> sql.Composable:
    operator = condition["filter-operator"]
    if operator in ("null", "notnull"):
        return sql.SQL("{} IS {}").format(column, sql.SQL("NULL" if operator == "null" else "NOT NULL"))
    if operator in ("between", "notbetween"):
        ends = sql.Literal(str(condition["start-value"])), sql.Literal(str(condition["end-value"]))
        test = sql.SQL("{} BETWEEN {} AND {}").format(column, *ends)
        return test if operator == "between" else sql.SQL("NOT ({})").format(test)
    value = sql.Literal(str(condition["value"]))
    return sql.SQL("{} {} {}").format(column, sql.SQL(_OPERATORS[operator]), value)
