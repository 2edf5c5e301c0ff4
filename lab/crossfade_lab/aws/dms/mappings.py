"""Table mappings: the rules that a PostgreSQL source allows, and what DMS refuses about them.

By the chapter "Using table mapping to specify task settings" of the AWS DMS user guide.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from crossfade_lab.aws.dms.errors import InvalidParameterValueException

Rule = dict[str, Any]

_COMMON = {"rule-type", "rule-id", "rule-name", "object-locator", "rule-action", "filters", "load-order"}
_MOST_COLUMNS = 10  # of a parallel load
_TRANSFORMATIONS = {
    "add-before-image-columns", "add-column", "add-prefix", "add-suffix", "change-data-type", "convert-lowercase",
    "convert-uppercase", "define-primary-key", "include-column", "remove-column", "remove-prefix", "remove-suffix",
    "rename", "replace-prefix", "replace-suffix",
}  # fmt: skip
_OPERATORS = {"eq", "noteq", "ste", "gte", "lte", "between", "notbetween", "null", "notnull"}


def checked(given: str) -> dict[str, Any]:
    """The mapping document, parsed.

    :raises InvalidParameterValueException: for what DMS refuses; the message names the rule
    """
    try:
        document = json.loads(given)
    except json.JSONDecodeError as error:
        raise InvalidParameterValueException(f"Invalid Table Mappings document: {error}") from None
    problems = list(_problems(document))
    if problems:
        raise InvalidParameterValueException(f"Invalid Table Mappings document: {'; '.join(problems)}")
    return dict(document)


def _problems(document: Any) -> Iterator[str]:
    if not isinstance(document, dict) or set(document) != {"rules"} or not isinstance(document["rules"], list):
        yield 'it must be an object with one key, "rules"'
        return
    rules: list[Any] = document["rules"]
    if not rules:
        yield "there are no rules"
        return
    for rule in rules:
        yield from _problems_of(rule) if isinstance(rule, dict) else [f"not a rule: {rule!r}"]
    objects = [rule for rule in rules if isinstance(rule, dict)]
    for key in ("rule-id", "rule-name"):
        seen = [str(rule.get(key)) for rule in objects]
        for value in sorted({value for value in seen if seen.count(value) > 1}):
            yield f"{key} {value} is used more than once"
    if not any(_selects(rule) for rule in objects):
        yield "there is no selection rule that includes tables"


def _selects(rule: Rule) -> bool:
    return rule.get("rule-type") == "selection" and rule.get("rule-action") in ("include", "explicit")


def _problems_of(rule: Rule) -> Iterator[str]:
    name = f"rule {rule.get('rule-id')}"
    if not re.fullmatch(r"[0-9]+", str(rule.get("rule-id", ""))):
        yield f"{name}: rule-id must be numeric"
    if not isinstance(rule.get("rule-name"), str) or not rule["rule-name"]:
        yield f"{name}: rule-name is missing"
    kind = str(rule.get("rule-type"))
    if kind not in _KINDS:
        yield f"{name}: unknown rule-type {kind!r}"
        return
    for problem in [*_problems_of_locator(rule), *_KINDS[kind](rule)]:
        yield f"{name}: {problem}"


def _problems_of_locator(rule: Rule) -> Iterator[str]:
    locator = rule.get("object-locator")
    if not isinstance(locator, dict):
        yield "object-locator is missing"
        return
    needed = ["schema-name"] if rule.get("rule-target") == "schema" else ["schema-name", "table-name"]
    for key in needed:
        if not isinstance(locator.get(key), str) or not locator[key]:
            yield f"object-locator needs {key}"
    for key in sorted(set(locator) - {"schema-name", "table-name", "table-type", "column-name", "data-type"}):
        yield f"unknown key {key} in object-locator"


def _unknown_keys(rule: Rule, also: set[str]) -> Iterator[str]:
    for key in sorted(set(rule) - _COMMON - also):
        yield f"unknown key {key}"


def _selection(rule: Rule) -> Iterator[str]:
    yield from _unknown_keys(rule, set())
    action, locator = rule.get("rule-action"), rule.get("object-locator") or {}
    if action not in ("include", "exclude", "explicit"):
        yield f"unknown rule-action {action!r} of a selection"
    if action == "explicit" and any("%" in str(locator.get(key)) for key in ("schema-name", "table-name")):
        yield "an explicit selection allows no wildcards"
    for item in rule.get("filters") or []:
        yield from _problems_of_filter(item)


def _problems_of_filter(item: Any) -> Iterator[str]:
    if not isinstance(item, dict) or item.get("filter-type") != "source" or not item.get("column-name"):
        yield f"a filter needs filter-type source and column-name: {item!r}"
        return
    conditions = item.get("filter-conditions") or []
    for condition in conditions:
        if condition.get("filter-operator") not in _OPERATORS:
            yield f"unknown filter-operator {condition.get('filter-operator')!r}"
    if not conditions:
        yield "a filter needs filter-conditions"


def _transformation(rule: Rule) -> Iterator[str]:
    also = {"rule-target", "value", "old-value", "data-type", "expression", "primary-key-def", "before-image-def"}
    yield from _unknown_keys(rule, also)
    if rule.get("rule-action") not in _TRANSFORMATIONS:
        yield f"unknown rule-action {rule.get('rule-action')!r} of a transformation"
    if rule.get("rule-target") not in ("schema", "table", "column", "table-tablespace", "index-tablespace"):
        yield f"unknown rule-target {rule.get('rule-target')!r}"


def _table_settings(rule: Rule) -> Iterator[str]:
    locator = rule.get("object-locator") or {}
    if any("%" in str(locator.get(key)) for key in ("schema-name", "table-name")):
        yield "Exact schema and table name required when using table settings rule"
    yield from _unknown_keys(rule, {"parallel-load", "lob-settings", "parallel-apply"})
    if (load := rule.get("parallel-load")) is not None:
        yield from _problems_of_load(load)
    if (lobs := rule.get("lob-settings")) is not None:
        yield from _problems_of_lobs(lobs)


def _problems_of_load(load: Any) -> Iterator[str]:
    if not isinstance(load, dict) or load.get("type") != "ranges":
        yield "parallel-load: a PostgreSQL source allows type ranges only"
        return
    columns, boundaries = load.get("columns"), load.get("boundaries")
    if not isinstance(columns, list) or not 1 <= len(columns) <= _MOST_COLUMNS:
        yield f"parallel-load: needs 1 to {_MOST_COLUMNS} columns"
        return
    if not isinstance(boundaries, list) or not boundaries:
        yield "parallel-load: needs boundaries"
        return
    for boundary in boundaries:
        if not isinstance(boundary, list) or len(boundary) != len(columns):
            yield f"parallel-load: boundary {boundary!r} does not have {len(columns)} value(s), as columns has"


def _problems_of_lobs(lobs: Any) -> Iterator[str]:
    if not isinstance(lobs, dict) or lobs.get("mode") not in ("limited", "unlimited", "none"):
        yield "lob-settings: mode must be limited, unlimited or none"
        return
    size = str(lobs.get("bulk-max-size", ""))
    if lobs["mode"] == "limited" and not (size.isdecimal() and int(size) > 0):
        yield "lob-settings: limited needs bulk-max-size (kB)"


_KINDS: Mapping[str, Callable[[Rule], Iterator[str]]] = {
    "selection": _selection,
    "transformation": _transformation,
    "table-settings": _table_settings,
}
