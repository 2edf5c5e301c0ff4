"""
The tables of a quick validation: what both servers' statistics say, without reading a row.

Statistics are estimates and late. That they agree proves nothing, and the result says that it is theirs; that they are
far apart is a reason to look, not a mismatch. Only what the catalog knows for sure is one: a table that is not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from crossfade.catalog import Table
from crossfade.connect import Connection
from crossfade.queries import named_queries
from crossfade.routers.base import Side
from crossfade.validation.result import TableResult, Verdict

_QUERIES = named_queries(__file__)

TOLERANCE = 0.1  #: of the larger estimate: autovacuum analyses a table again when a tenth of it has changed
FEW = 1000  #: rows by which estimates may differ in any table

_AT_ONCE = 500  #: tables asked for by one statement


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a server's statistics say of one table."""

    rows: int | None  #: None: nobody has ever counted them
    pages: int  #: 0: it holds no row, for sure


def statistics(source: Connection, target: Connection, tables: Sequence[Table]) -> Iterator[TableResult]:
    """
    Each table's result, in their order. Raises `psycopg.Error` where a side cannot be asked.

    :param tables: as the source has them
    """
    for start in range(0, len(tables), _AT_ONCE):
        asked = tables[start : start + _AT_ONCE]
        there, here = _estimates(source, asked), _estimates(target, asked)
        for table in asked:
            name = (table.schema, table.name)
            yield _compared(table, there.get(name), here.get(name))


def _estimates(conn: Connection, tables: Sequence[Table]) -> dict[tuple[str, str], Estimate]:
    names = {"schemas": [table.schema for table in tables], "names": [table.name for table in tables]}
    rows = conn.execute(_QUERIES["estimates"], names).fetchall()
    return {(row["schema"], row["name"]): Estimate(rows=row["rows"], pages=row["pages"]) for row in rows}


def _compared(table: Table, there: Estimate | None, here: Estimate | None) -> TableResult:
    verdict, error = Verdict.OK, ""
    if there is None or here is None:
        verdict = Verdict.MISMATCH
        error = f"the table is missing on the {'source' if there is None else 'target'}"
    elif error := _doubt(table, there, here):
        verdict = Verdict.INCOMPLETE
    return TableResult(
        table=table.full_name,
        verdict=verdict,
        method="statistics",
        rows=tuple((side.rows or 0) if side else 0 for side in (there, here)),
        coverage=0.0,
        parts=0,
        error=error,
    )


def _doubt(table: Table, there: Estimate, here: Estimate) -> str:
    """Why the statistics leave it open; empty where they agree."""
    unknown = [side for side, estimate in zip(Side, (there, here), strict=True) if estimate.rows is None]
    if unknown:
        return (
            f"never analysed on the {' and the '.join(unknown)}: its statistics say nothing. "
            f"There: ANALYZE {table.identifier.as_string()}; or compare rows, in the mode full"
        )
    ours, theirs = there.rows or 0, here.rows or 0
    apart = abs(ours - theirs)
    one_is_empty = (not there.pages and theirs > 0) or (not here.pages and ours > 0)
    if one_is_empty or (apart > FEW and apart > TOLERANCE * max(ours, theirs)):
        return (
            f"the statistics differ: {_about(there)} rows on the source, {_about(here)} on the target. They are "
            "estimates, and late: compare rows, in the mode full"
        )
    return ""


def _about(estimate: Estimate) -> str:
    return f"about {estimate.rows}" if estimate.pages else "no"
