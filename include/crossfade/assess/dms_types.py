"""Types that AWS DMS does not carry from PostgreSQL to PostgreSQL, or not as they are.

User guide of AWS DMS, "Using a PostgreSQL database as an AWS DMS source": data types and limitations. An enum travels
as text of 64 characters, and no label is longer than 63 bytes; generated columns are computed by the target: nothing is
said of them here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from crossfade.assess.dms_columns import Column, columns, left_out
from crossfade.assess.dms_scene import DMS
from crossfade.assess.registry import Problem, Severity, check
from crossfade.assess.scene import Database
from crossfade.plan import Plan

_NOT_MIGRATED = frozenset(
    {"inet", "cidr", "macaddr", "macaddr8", "tsvector", "tsquery", "line", "lseg", "box", "path", "circle", "oid"}
)
_KINDS = {"c": "composite", "r": "range", "m": "multirange"}
#: Those whose values may arrive changed, and how.
_CHANGED = {
    "timetz": (Severity.WARNING, "the time zone may get lost"),
    "interval": (Severity.WARNING, "it travels as text of 128 characters in fields, and is carried in part only"),
    "money": (Severity.WARNING, "it travels as numeric(38,4), read in the locale of DMS's session"),
    "float4": (Severity.NOTE, "it may differ in its last digits"),
    "float8": (Severity.NOTE, "it may differ in its last digits"),
    "bpchar": (Severity.NOTE, "trailing blanks go on the way, and are padded again on the target"),
}
_CARRIED = frozenset(
    {"int2", "int4", "int8", "numeric", "varchar", "text", "bytea", "timestamp", "timestamptz", "date", "time", "bool",
     "bit", "varbit", "uuid", "xml", "point", "polygon", "json", "jsonb"}
)  # fmt: skip
_EXTENSIONS_CARRIED = frozenset({"citext", "hstore", "postgis"})


@check("dms_types.left_out", severity=Severity.BLOCKER, engines=DMS)
def every_type_is_migrated(source: Database, plan: Plan) -> Iterator[Problem]:
    """Columns of types that DMS leaves out: they would stay empty on the target."""

    def seen(column: Column) -> str | None:
        if column.array:
            return None  # carried as text
        if kind := _KINDS.get(column.kind):
            return f"{column.declared}, a {kind} type"
        return column.declared if column.builtin and column.type in _NOT_MIGRATED else None

    for column, what in _once(columns(source, plan), seen):
        carried = "bigint" if column.type == "oid" else "text"
        yield Problem(
            f"{column.root}.{column.name}",
            f"{what}: AWS DMS does not migrate such columns, they stay NULL or at their default on the target",
            f"{column.alter(carried)}  -- and back on the target, after the cutover\n"
            f"-- or: {left_out(column.table)}\n-- or: engine: logical  # carries every type",
        )


@check("dms_types.changed", severity=Severity.WARNING, engines=DMS)
def values_arrive_as_they_were(source: Database, plan: Plan) -> Iterator[Problem]:
    """Columns of types whose values may arrive changed."""

    def seen(column: Column) -> str | None:
        return column.type if column.builtin and column.type in _CHANGED else None

    by_type: dict[str, list[Column]] = {}
    for column, type_name in _once(columns(source, plan), seen):
        by_type.setdefault(type_name, []).append(column)
    for type_name, found in by_type.items():
        severity, why = _CHANGED[type_name]
        yield Problem(
            found[0].declared if len(found) == 1 else type_name,
            f"{_listed(found)}: {why}",
            "Crossfade compares every row and names those that differ. Where they do: engine: logical in the plan",
            severity=severity,
        )


@check("dms_types.unknown", severity=Severity.WARNING, engines=DMS)
def every_type_is_known_to_dms(source: Database, plan: Plan) -> Iterator[Problem]:
    """Columns of types of which AWS's documentation says nothing."""

    def seen(column: Column) -> str | None:
        if column.array or column.kind != "b" or column.extension in _EXTENSIONS_CARRIED:
            return None
        known = column.builtin and column.type in _CARRIED | _NOT_MIGRATED | _CHANGED.keys()
        return None if known else column.declared

    for column, declared in _once(columns(source, plan), seen):
        yield Problem(
            f"{column.root}.{column.name}",
            f"of AWS DMS and the type {declared} nothing is documented",
            f"{column.alter('text')}  -- or try it with a copy, or: engine: logical",
        )


def _once(found: Iterable[Column], seen: Callable[[Column], str | None]) -> Iterator[tuple[Column, str]]:
    """What is seen of columns; partitions of one table have the same ones, which are told once."""
    told: set[tuple[tuple[str, str], str]] = set()
    for column in found:
        what = seen(column)
        if what is not None and (column.table.root, column.name) not in told:
            told.add((column.table.root, column.name))
            yield column, what


def _listed(found: list[Column]) -> str:
    names = [f"{column.root}.{column.name}" for column in found]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
