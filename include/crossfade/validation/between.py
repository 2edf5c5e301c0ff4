"""Comparing any two databases by their DSNs, without a plan or a journal: nothing is written to either."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from uuid import uuid4

import psycopg

from crossfade import catalog
from crossfade.capabilities import capabilities
from crossfade.connect import Connection, Endpoint, scalar
from crossfade.engines.watermarks import wait_until
from crossfade.errors import Unreachable
from crossfade.plan import Tables
from crossfade.plan_validate import Validate
from crossfade.routers.base import Side
from crossfade.validation.checks import run_checks
from crossfade.validation.compare import Pair
from crossfade.validation.progress import Forgotten
from crossfade.validation.result import Mode, Report, Sides
from crossfade.validation.sides import BothSides
from crossfade.validation.statistics import statistics
from crossfade.validation.tables import Comparison

_PASSED = """
    SELECT count(*) FILTER (WHERE NOT COALESCE(confirmed_flush_lsn >= %s::pg_lsn, false)) = 0
    FROM pg_replication_slots WHERE slot_type = 'logical' AND database = current_database() AND active"""


def examine_between(
    source: Endpoint,
    target: Endpoint,
    *,
    tables: Tables,
    settings: Validate,
    mode: Mode,
    told: Callable[[int, int], None],
) -> Report:
    """
    Compare two databases. A side that cannot be reached makes it incomplete.

    Where logical slots of the source are read, a difference counts only if it is there when all of them have passed.
    :param told: called with how many parts are done, and of how many
    """
    try:
        return _examine(source, target, tables=tables, settings=settings, mode=mode, told=told)
    except (Unreachable, psycopg.Error) as error:
        sides = Sides(source=source.address, target=target.address)
        return Report.of_nothing(error, plan="between", run_id="crossfade validate", mode=mode, sides=sides)


def _examine(
    source: Endpoint,
    target: Endpoint,
    *,
    tables: Tables,
    settings: Validate,
    mode: Mode,
    told: Callable[[int, int], None],
) -> Report:
    started_at = datetime.now(UTC)
    with source.session("validate") as there, target.session("validate") as here:
        ends = {Side.SOURCE: source, Side.TARGET: target}
        sides = BothSides(source=there, target=here, tables=tables, reopen=lambda side: ends[side].connect("validate"))
        checks = tuple(run_checks(sides, mode))
        ours, theirs = catalog.tables(there, tables), catalog.tables(here, tables)
        names = [_name(end, conn) for end, conn in ((source, there), (target, here))]
        if mode is Mode.QUICK:
            results = list(statistics(there, here, ours))
    if mode is not Mode.QUICK:
        pairs = partial(_pair, source, target, settings)
        sample = settings.sample if mode is Mode.SAMPLE else None
        comparison = Comparison(settings, ours, theirs, pairs=pairs, progress=Forgotten(), told=told, sample=sample)
        results = list(comparison.run())
    return Report(
        id=str(uuid4()),
        plan="between",
        run_id="crossfade validate",
        mode=mode,
        started_at=started_at,
        finished_at=datetime.now(UTC),
        source=names[0],
        target=names[1],
        checks=checks,
        tables=tuple(sorted(results, key=lambda table: table.table)),
    )


def _name(endpoint: Endpoint, conn: Connection) -> str:
    return f"{endpoint.dbname} on {endpoint.host}, PostgreSQL {capabilities(conn).version}"


@contextmanager
def _pair(source: Endpoint, target: Endpoint, settings: Validate) -> Iterator[Pair]:
    with (
        source.session("validate") as there,
        target.session("validate") as here,
        source.session("validate") as slots,
    ):
        for conn in (there, here):
            limit_statements(conn, settings)
        yield Pair(source=there, target=here, caught_up=partial(_caught_up, slots, settings))


def limit_statements(conn: Connection, settings: Validate) -> None:
    """As the plan limits them: how long one runs; and the number of jobs is the load, not a server's parallelism."""
    milliseconds = int(settings.statement.total_seconds() * 1000)
    conn.execute("SELECT set_config('statement_timeout', %s, false)", [str(milliseconds)])
    conn.execute("SET max_parallel_workers_per_gather = 0")


def _caught_up(source: Connection, settings: Validate) -> None:
    lsn = scalar(source, "SELECT pg_current_wal_insert_lsn()")
    deadline = time.monotonic() + settings.settle.total_seconds()
    wait_until(
        lambda: bool(scalar(source, _PASSED, [lsn])), deadline, f"confirming {lsn}", "a slot of the source is behind it"
    )
