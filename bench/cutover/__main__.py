"""Cut over and back by each way, with clients writing: `make bench-cutover`, or `python -m bench.cutover`.

Writes `bench/out/cutover.json`. Nothing is asserted about times; it ends with 1 where a transaction of the product's
clients failed, or a write was lost or doubled.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from bench.cutover import report
from bench.cutover.chain import Airflow, airflow
from bench.cutover.events import Event, Step, observe
from bench.cutover.load import Clients, Load
from bench.cutover.report import CHAIN, NOTHING, NOTHING_AIRFLOW, PRODUCT, RUNBOOK, TASK, Counted
from bench.cutover.runbook import Runbook, both_ways
from bench.cutover.scene import Scene, scene
from rich.console import Console

from crossfade.cutover import order
from crossfade.errors import CrossfadeError
from crossfade.routers.base import Direction
from crossfade_lab.processes import LabError
from crossfade_lab.shop.data import DATABASE
from crossfade_lab.verdict import verify

OUT = Path(__file__).parents[1] / "out" / "cutover.json"
BEFORE = 3.0  #: seconds of load before an event: connections are open, and it is measured as it is undisturbed
AFTER = 1.5  #: seconds after it: what was held has caught up
LEAST = 3.0  #: seconds of a baseline at least
TRIES = 3

Act = Callable[[], tuple[float | None, Sequence[Step]]]


@dataclass(kw_only=True)
class Bench:
    """All events, one after another, each with clients of its own."""

    scene: Scene
    clients: Clients
    console: Console
    events: list[Event] = field(default_factory=list)
    counted: dict[str, Counted] = field(default_factory=dict)
    _told: Counter[str] = field(default_factory=Counter)  #: way -> what pgbench's clients were told of as committed
    _gave_up: Counter[str] = field(default_factory=Counter)  #: way -> clients of pgbench

    def event(self, way: str, direction: Direction | None, act: Act) -> None:
        """Let clients write, do it, and look at what they saw."""
        load = Load(clients=self.clients, mark=f"bench-{way}", ledger=self.clients.directory / way)
        with load:
            before = load.undisturbed(BEFORE)
            start = time.time()
            held, steps = act()
            time.sleep(AFTER)
            at = start, time.time()
        written = load.written
        self._told[way] += written.pgbench
        self._gave_up[way] += written.aborted
        event = observe(
            written.samples,
            way=way,
            direction=direction.value if direction else "",
            at=at,
            before=(before[0] + BEFORE / 2, before[1]),  # the first half is that of logging in
            held_ms=held,
            steps=steps,
            errors=written.said,
            failed=written.ledger_failed + written.aborted,
        )
        self.events.append(event)
        was = f"{event.before.max:.0f} ms just before, {event.before.per_second:.0f} transactions/s"
        name = f"{report.TITLES[way]}{f', {direction.value}' if direction else ''}"
        self.console.print(f"{name}: longest {event.longest:.0f} ms ({was}), {event.failed} failed")

    def count(self, way: str) -> None:
        """Count the writes of one way's clients again, in the database that serves."""
        serving = self.scene.lab.serving().dsn(dbname=DATABASE)
        with psycopg.connect(serving) as conn:
            row = conn.execute("SELECT count(*) FROM events WHERE uid = %s", [f"bench-{way}"]).fetchone()
        assert row is not None, "an aggregate has a row"
        judged = verify(self.clients.directory / way, serving)
        self.counted[way] = Counted(
            verdict=judged, pgbench_told=self._told[way], pgbench_found=row[0], pgbench_unknown=self._gave_up[way]
        )

    def product(self, direction: Direction) -> None:
        """One cutover or rollback of the product."""
        run = f"bench {len(self.events)}"
        self.scene.approve(direction, run)

        def act() -> tuple[float, list[Step]]:
            summary = self.cut_over(direction, run)
            return summary.paused_ms, [Step(name=s.name, started_ms=s.started_ms, ms=s.ms) for s in summary.steps]

        self.event(PRODUCT, direction, act)

    def cut_over(self, direction: Direction, run: str) -> order.CutoverSummary:
        """Tried again where it is refused, which clients do not notice: streams may not have caught up."""
        for _ in range(TRIES - 1):
            try:
                return self.scene.cut_over(direction, run)
            except order.Refused as error:
                self.console.print(f"Trying again: {error}", markup=False)
                time.sleep(1)
        return self.scene.cut_over(direction, run)

    def runbook(self, direction: Direction) -> None:
        """One run of the runbook."""
        book = Runbook(scene=self.scene, direction=direction)
        self.event(RUNBOOK, direction, lambda: (book.run(), book.steps))

    def nothing(self, way: str, like: str) -> None:
        """A baseline as long as the last event of that way."""
        lasted = next((event.seconds for event in reversed(self.events) if event.way == like), 0.0)
        seconds = max(lasted - AFTER, LEAST)

        def act() -> tuple[None, list[Step]]:
            time.sleep(seconds)
            return None, []

        self.event(way, None, act)

    def round(self) -> None:
        """There and back by the product and by the runbook, and a baseline."""
        for direction in Direction:
            self.product(direction)
        self.nothing(NOTHING, PRODUCT)
        with both_ways(self.scene):
            for direction in Direction:
                self.runbook(direction)

    def airflow_round(self, beside: Airflow) -> None:
        """There by the chain of tasks, back by the product's task, and a baseline."""
        self.event(CHAIN, Direction.FORWARD, beside.cut_over)
        self.event(TASK, Direction.BACK, beside.roll_back)
        self.nothing(NOTHING_AIRFLOW, TASK)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 1 where something of the product's clients went wrong."""
    parser = argparse.ArgumentParser(prog="make bench-cutover ARGS=", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="cutovers and rollbacks by product and by runbook")
    parser.add_argument("--chain-rounds", type=int, default=2, help="cutovers by the chain of Airflow tasks")
    parser.add_argument("--tps", type=float, default=1000, help="transactions a second of all clients together")
    parser.add_argument("--clients", type=int, default=32, help="an eighth of them keep a ledger, others are pgbench's")
    parser.add_argument("--rows", type=int, default=100_000, help="of the shop")
    parser.add_argument("--out", type=Path, default=OUT, help="where the figures go")
    parser.add_argument("--skip-airflow", action="store_true", help="leave out the chain of Airflow tasks")
    options = parser.parse_args(arguments)
    if options.rounds < 1 and (options.skip_airflow or options.chain_rounds < 1):
        parser.error("nothing to measure: give --rounds or --chain-rounds")
    console = Console(width=None if sys.stdout.isatty() else 150)
    try:
        found, counted = run(options, console)
    except (LabError, CrossfadeError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(found, indent=2) + "\n")
    console.print(report.step_table(found), report.table(found))
    for line in (*report.ratio_lines(found), *report.remarks(found)):
        console.print(line, highlight=False, markup=False)
    console.print(f"Figures of every event: {options.out}")
    problems = report.wrong(found, counted)
    for problem in problems:
        console.print(problem, style="red", markup=False)
    return int(bool(problems))


def run(options: argparse.Namespace, console: Console) -> tuple[dict[str, Any], dict[str, Counted]]:
    """All rounds; the content of the file, and what was counted."""
    with ExitStack() as stack:
        stage = stack.enter_context(scene(options.rows, lambda text: console.print(text)))
        clients = Clients(
            endpoints=stage.lab.endpoints(),
            clients=options.clients,
            rate=options.tps,
            customers=stage.lab.customers,
            directory=stage.directory / "clients",
        )
        bench = Bench(scene=stage, clients=clients, console=console)
        for _ in range(options.rounds):
            bench.round()
        if not options.skip_airflow and options.chain_rounds:
            console.print("Starting Airflow")
            beside = stack.enter_context(airflow(stage))
            for _ in range(options.chain_rounds):
                bench.airflow_round(beside)
        for way in dict.fromkeys(event.way for event in bench.events):
            bench.count(way)
        versions = {"source": _version(stage.lab.source.dsn()), "target": _version(stage.lab.target.dsn())}
    return report.result(bench.events, bench.counted, options=_shown(options), versions=versions), bench.counted


def _shown(options: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name, value in vars(options).items() if name != "out"}


def _version(dsn: str) -> str:
    with psycopg.connect(dsn) as conn:
        return conn.info.parameter_status("server_version") or "unknown"


if __name__ == "__main__":
    sys.exit(main())
