"""Values that AWS DMS rounds, cuts or clips: looked for in the data, in one pass over each table that may hold some.

User guide of AWS DMS, "Using a PostgreSQL database as an AWS DMS source": numeric without precision is (28,6), varchar
without length has 8000 bytes, infinite times are clipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql

from crossfade.assess.dms_columns import Column, columns
from crossfade.assess.dms_scene import DMS
from crossfade.assess.registry import Problem, Severity, check
from crossfade.assess.scene import Database
from crossfade.plan import Plan

SECONDS = 600.0  #: for the pass over one table
_DECIMALS, _DIGITS = 6, 22  #: after and before the point, of numeric(28,6)
_LONGEST_NUMERIC = 38  #: digits that DMS carries as a number
_VARCHAR_BYTES = 8000
_WITHOUT_INFINITE = sql.SQL("UPDATE {table} SET {this} = NULL WHERE NOT isfinite({this});")
_TIMES = frozenset({"timestamp", "timestamptz", "date"})


@check("dms_values.lossy", severity=Severity.BLOCKER, engines=DMS)
def no_value_is_changed(source: Database, plan: Plan) -> Iterator[Problem]:
    """Values that would be rounded, cut or clipped, and columns into which such values may come."""
    by_table: dict[int, list[Column]] = {}
    for column in columns(source, plan):
        if _expressions(column):
            by_table.setdefault(column.table.oid, []).append(column)
    worst: dict[tuple[tuple[str, str], str], tuple[Column, dict[str, int]]] = {}
    for found in by_table.values():
        try:
            measured = _measured(source, found)
        except psycopg.errors.QueryCanceled:
            yield _too_large(found)
            continue
        for column, seen in zip(found, measured, strict=True):
            _, before = worst.setdefault((column.table.root, column.name), (column, seen))
            before.update({what: max(value, before[what]) for what, value in seen.items()})
    for column, seen in worst.values():
        if problem := _problem(column, seen):
            yield problem


def _expressions(column: Column) -> Mapping[str, str]:
    """What is measured of a column; ``{}`` is its name."""
    if column.array or not column.builtin:
        return {}
    if column.type == "numeric" and column.typmod == -1:
        return {"decimals": "max(scale({}))", "digits": "max(length(trunc(abs({}))::text))"}
    if column.type == "varchar" and column.typmod == -1:
        return {"bytes": "max(octet_length({}))"}
    if column.type in _TIMES:
        return {"infinite": "bool_or(NOT isfinite({}))::int"}
    return {}


def _query(found: Sequence[Column]) -> sql.Composed:
    parts = [
        sql.SQL("coalesce({}, 0)").format(sql.SQL(expression).format(column.identifier))
        for column in found
        for expression in _expressions(column).values()
    ]
    return sql.SQL("SELECT ARRAY[{}]::bigint[] FROM ONLY {}").format(
        sql.SQL(", ").join(parts), found[0].table.identifier
    )


def _measured(source: Database, found: Sequence[Column]) -> list[dict[str, int]]:
    with source.conn.transaction():
        source.conn.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(int(SECONDS * 1000)))
        values = iter(source.value(_query(found)))
    return [{what: next(values) for what in _expressions(column)} for column in found]


def _too_large(found: Sequence[Column]) -> Problem:
    return Problem(
        found[0].table.full_name,
        f"it could not be read within {SECONDS:g} s: whether {', '.join(column.name for column in found)} hold values "
        "that AWS DMS changes is not known",
        f"{_query(found).as_string()};  -- by yourself: decimals (at most {_DECIMALS}) and digits (at most {_DIGITS}) "
        f"of numeric, bytes of varchar (at most {_VARCHAR_BYTES}), 1 for infinite times, by column",
        severity=Severity.WARNING,
    )


def _problem(column: Column, seen: Mapping[str, Any]) -> Problem | None:
    name = f"{column.root}.{column.name}"
    if "digits" in seen:
        return _numeric(column, name, seen["decimals"], seen["digits"])
    if "bytes" in seen:
        return Problem(
            name,
            f"varchar without length: AWS DMS carries {_VARCHAR_BYTES} bytes; the longest value has {seen['bytes']}",
            f"{column.alter('text')}  -- rewrites nothing",
            severity=None if seen["bytes"] > _VARCHAR_BYTES else Severity.NOTE,
        )
    if seen["infinite"]:
        table, this = sql.Identifier(*column.table.root), column.identifier
        return Problem(
            name,
            "it holds infinite values: AWS DMS clips them to 9999-12-31 23:59:59 and 4713-01-01 BC",
            _WITHOUT_INFINITE.format(table=table, this=this).as_string()
            + "  -- or a date far off, as the application reads it; see to its default, too",
        )
    if "infinity" in column.default:
        return Problem(
            name,
            f"its default is {column.default}: AWS DMS clips infinite values, which may come while it runs",
            f"ALTER TABLE {sql.Identifier(*column.table.root).as_string()} ALTER COLUMN "
            f"{column.identifier.as_string()} SET DEFAULT …;",
            severity=Severity.WARNING,
        )
    return None


def _numeric(column: Column, name: str, decimals: int, digits: int) -> Problem:
    fitting = digits + decimals <= _LONGEST_NUMERIC
    remedy = column.alter(f"numeric({_LONGEST_NUMERIC}, {decimals})" if fitting else "text")
    if decimals <= _DECIMALS and digits <= _DIGITS:
        return Problem(
            name,
            f"numeric without precision: what changes while AWS DMS runs arrives with {_DECIMALS} decimals, 1.5 as "
            "1.500000, which counts as a difference when rows are compared; more decimals are rounded",
            remedy,
            severity=Severity.WARNING,
        )
    return Problem(
        name,
        f"numeric without precision: AWS DMS carries changes as numeric(28,6); there are values with {decimals} "
        f"decimals and {digits} digits before them",
        remedy,
    )
