"""Validate several shapes of tables: `make bench-validate`, or `python -m bench.validate`.

Writes `bench/out/validate.json`. Nothing is asserted about times; it ends with 1 where a comparison finds what is not
there, or misses what is.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from bench.validate import peer
from bench.validate.shapes import SHAPES, fill, plant
from psycopg import sql
from rich.console import Console

from crossfade import catalog
from crossfade.connect import Endpoint
from crossfade.plan import Tables
from crossfade.plan_validate import Validate
from crossfade.validation.between import limit_statements
from crossfade.validation.compare import Pair
from crossfade.validation.progress import Forgotten
from crossfade.validation.result import TableResult
from crossfade.validation.rowhash import RowHash
from crossfade.validation.tables import Comparison
from crossfade_lab.testing import cluster_pair

OUT = Path(__file__).parents[1] / "out" / "validate.json"
Times = dict[str, list[float]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 1 where a comparison is wrong."""
    parser = argparse.ArgumentParser(prog="make bench-validate ARGS=", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=5_000_000, help="of all tables together")
    parser.add_argument("--differences", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--skip-reladiff", action="store_true")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 150)
    with cluster_pair() as (source, target):
        ends = Endpoint.from_dsn("source", source.dsn()), Endpoint.from_dsn("target", target.dsn())
        console.print(f"PostgreSQL 16 and 18 run; making {options.rows:,} rows on both")
        fill(ends, options.rows)
        bench = Bench(ends, console)
        program = None if options.skip_reladiff else peer.install()
        for number in range(options.rounds):
            bench.timed("floor", bench.floor)
            bench.timed("product", partial(bench.product, 0))
            if program is not None:
                bench.timed("reladiff", partial(bench.peer, program, "reladiff", 0))
            console.print(f"round {number + 1} of {options.rounds}: " + bench.told())
        planted = plant(ends[1], options.rows, options.differences)
        for _ in range(options.rounds):
            bench.timed("product_with_differences", partial(bench.product, planted))
            if program is not None:
                way = "reladiff_with_differences"
                bench.timed(way, partial(bench.peer, program, way, planted))
        console.print(f"with {planted} rows that differ: " + bench.told("_with_differences"))
    found = bench.result(vars(options) | {"out": ""}, planted)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=2) + "\n")
    for name, value in bench.ratios().items():
        console.print(f"{name}: {value:.2f}")
    for problem in bench.problems:
        console.print(problem, style="red")
    console.print(f"All figures: {options.out}")
    return int(bool(bench.problems))


class Bench:
    """The ways to compare, one after another."""

    def __init__(self, ends: tuple[Endpoint, Endpoint], console: Console) -> None:
        self.ends, self.console = ends, console
        with ends[0].session("bench") as there, ends[1].session("bench") as here:
            self.ours, self.theirs = catalog.tables(there, Tables()), catalog.tables(here, Tables())
        self.times: Times = {}
        self.tables: dict[str, list[TableResult]] = {}
        self.problems: list[str] = []

    def timed(self, way: str, act: Callable[[], None]) -> None:
        """Seconds of one comparison of all tables."""
        start = time.monotonic()
        act()
        self.times.setdefault(way, []).append(time.monotonic() - start)

    def told(self, ending: str = "") -> str:
        """The last time of each way whose name has that ending."""
        return ", ".join(f"{way} {times[-1]:.1f} s" for way, times in self.times.items() if way.endswith(ending))

    def floor(self) -> None:
        """`count(*), sum(hash)` of every table, both sides at the same time: less cannot be read."""
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self._sums, self.ends))

    def _sums(self, end: Endpoint) -> None:
        with end.session("bench") as conn:
            limit_statements(conn, Validate())
            for table in self.ours:
                query = sql.SQL("SELECT count(*), sum({}) FROM ONLY {} AS t")
                conn.execute(query.format(RowHash(table, {}).row, table.identifier)).fetchone()

    def product(self, expected: int) -> None:
        """As a validation of a plan with its defaults compares rows."""
        comparison = Comparison(Validate(), self.ours, self.theirs, pairs=self._pair, progress=Forgotten())
        results = list(comparison.run())
        found = sum(len(table.differences) + table.more for table in results)
        if found != expected:
            self.problems.append(f"the product found {found} rows that differ; there are {expected}")
        self.problems += [f"{table.table}: {table.error}" for table in results if table.error]
        self.tables["with differences" if expected else "equal"] = results

    @contextmanager
    def _pair(self) -> Iterator[Pair]:
        with self.ends[0].session("bench") as source, self.ends[1].session("bench") as target:
            for conn in (source, target):
                limit_statements(conn, Validate())
            yield Pair(source=source, target=target, caught_up=lambda: None)

    def peer(self, program: Path, way: str, expected: int) -> None:
        """reladiff, one table after the other, all columns. What it finds is told where it is not what is there."""
        found = 0
        uris = [f"postgresql://{e.user}:{e.password}@{e.host}:{e.port}/{e.dbname}" for e in self.ends]
        for shape in SHAPES:
            try:
                seconds, lines = peer.compare(program, uris[0], uris[1], shape)
            except subprocess.CalledProcessError as error:
                self.console.print(f"reladiff cannot compare {shape.name}: {error.stderr[-300:]}", markup=False)
                continue
            self.times.setdefault(f"{shape.name}, {way}", []).append(seconds)
            found += lines
        if found != 2 * expected:  # a line for each side
            self.console.print(f"reladiff finds {found} lines where {expected} rows differ")

    def ratios(self) -> dict[str, float]:
        """Of medians."""
        medians = {way: median(times) for way, times in self.times.items()}
        ratios = {
            "speed of the product, of the floor's": medians["floor"] / medians["product"],
            "time with differences, of the time without": medians["product_with_differences"] / medians["product"],
        }
        if "reladiff" in medians:
            ratios["reladiff's time, of the product's"] = medians["reladiff"] / medians["product"]
            differing = medians["reladiff_with_differences"] / medians["product_with_differences"]
            ratios["the same with differences"] = differing
        return ratios

    def result(self, options: dict[str, object], planted: int) -> dict[str, object]:
        """The content of `validate.json`. Seconds are medians."""
        return {
            "options": {name: value for name, value in options.items() if name != "out"},
            "differences": planted,
            "ratios": self.ratios(),
            "median_seconds": {way: median(times) for way, times in self.times.items()},
            "seconds": self.times,
            "tables": {
                when: [
                    {
                        "table": t.table,
                        "method": t.method,
                        "parts": t.parts,
                        "rows": t.rows,
                        "seconds": round(t.seconds, 3),
                    }
                    for t in tables
                ]
                for when, tables in self.tables.items()
            },
        }


if __name__ == "__main__":
    sys.exit(main())
