"""What the benchmark found: the content of `cutover.json`, what is wrong with it, and tables for people."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.cutover.events import STALLED_MS, Event, spread, steps_of
from rich.table import Table

from crossfade_lab.verdict import Verdict

PRODUCT, RUNBOOK, CHAIN, TASK = "product", "runbook", "chain", "product_in_airflow"
NOTHING, NOTHING_AIRFLOW = "baseline", "baseline_beside_airflow"

TITLES: Mapping[str, str] = {
    NOTHING: "nothing happens",
    PRODUCT: "the product",
    RUNBOOK: "scripted runbook (psql)",
    NOTHING_AIRFLOW: "nothing happens, Airflow runs",
    TASK: "the product, as one Airflow task",
    CHAIN: "the same steps, a chain of Airflow tasks",
}
REACHED = 0.95  #: part of the rate asked for that counts as reached; pgbench's own schedule is random
#: ways that are the product's: what goes wrong in them fails the benchmark
OURS = (NOTHING, PRODUCT, NOTHING_AIRFLOW, TASK)


@dataclass(frozen=True, kw_only=True, slots=True)
class Counted:
    """What is in the database of the writes of one way's clients, once it is over."""

    verdict: Verdict  #: of the clients with a ledger
    pgbench_told: int  #: transactions that pgbench's clients were told of as committed
    pgbench_found: int  #: their rows
    pgbench_unknown: int = 0  #: clients that gave up: the last transaction of each may be there or not

    @property
    def ok(self) -> bool:
        return self.verdict.ok and 0 <= self.pgbench_found - self.pgbench_told <= self.pgbench_unknown

    def as_dict(self) -> dict[str, Any]:
        more = self.pgbench_found - self.pgbench_told
        return {
            "acknowledged": self.verdict.acked_writes + self.pgbench_told,
            "lost": self.verdict.lost_writes + max(-more, 0),
            "doubled": self.verdict.duplicated_writes + max(more - self.pgbench_unknown, 0),
            "phantom": self.verdict.phantom_writes,
            "examples": self.verdict.examples,
        }


def result(
    events: Sequence[Event], counted: Mapping[str, Counted], *, options: Mapping[str, Any], versions: Mapping[str, str]
) -> dict[str, Any]:
    """The content of `cutover.json`. Times are milliseconds unless named otherwise."""
    ways = {way: [event for event in events if event.way == way] for way in TITLES}
    asked = float(options["tps"])
    still = [event.seen for event in events if event.way in (NOTHING, NOTHING_AIRFLOW)]
    achieved = median(stats.per_second for stats in still or [event.before for event in events])
    return {
        "machine": {"processors": os.cpu_count(), "load_average": round(os.getloadavg()[0], 2)},
        "versions": dict(versions),
        "options": dict(options),
        "tps": {"asked": asked, "achieved": round(achieved, 1)},
        "ways": {way: _way(found, counted.get(way)) for way, found in ways.items() if found},
        "ratios": _ratios(ways),
        "events": [event.as_dict() for event in events],
    }


def _way(events: Sequence[Event], counted: Counted | None) -> dict[str, Any]:
    held = [event.held_ms for event in events if event.held_ms is not None]
    return {
        "events": len(events),
        "seconds": spread([event.seconds for event in events]),
        "longest_ms": spread([event.longest for event in events]),
        "longest_before_ms": spread([event.before.max for event in events]),
        f"over_{STALLED_MS:.0f}_ms": spread([float(event.stalled) for event in events]),
        "held_ms": spread(held),
        "p50_ms": spread([event.seen.p50 for event in events]),
        "p99_ms": spread([event.seen.p99 for event in events]),
        "failed": sum(event.failed for event in events),
        "errors": sorted({error for event in events for error in event.errors})[:5],
        "writes": counted.as_dict() if counted else None,
        "steps_ms": steps_of(events),
    }


def _ratios(ways: Mapping[str, Sequence[Event]]) -> dict[str, float]:
    """How many times longer the longest stall of another way is, by the medians; beside Airflow on both sides first."""

    def middle(way: str) -> float:
        return median(event.longest for event in ways[way]) if ways.get(way) else 0.0

    pairs = {
        "chain_to_product_in_airflow": (CHAIN, TASK),
        "chain_to_product": (CHAIN, PRODUCT),
        "runbook_to_product": (RUNBOOK, PRODUCT),
        "product_to_baseline": (PRODUCT, NOTHING),
    }
    return {
        name: round(middle(longer) / middle(shorter), 1)
        for name, (longer, shorter) in pairs.items()
        if middle(shorter) and middle(longer)
    }


def wrong(found: Mapping[str, Any], counted: Mapping[str, Counted]) -> list[str]:
    """What must not be, in words. What other ways do to their clients is their result, not a failure."""
    problems = []
    for way in OURS:
        if way in found["ways"] and found["ways"][way]["failed"]:
            problems.append(f"{TITLES[way]}: {found['ways'][way]['failed']} failed transactions")
        if way in counted and not counted[way].ok:
            problems.append(f"{TITLES[way]}: {_writes(counted[way].as_dict())}")
    return problems


def remarks(found: Mapping[str, Any]) -> list[str]:
    """What a reader of the figures must know."""
    said = []
    tps = found["tps"]
    if tps["achieved"] < REACHED * tps["asked"]:
        said.append(
            f"This machine did not reach {tps['asked']:.0f} transactions a second even where nothing happened: the "
            f"figures are of {tps['achieved']:.0f}. Clients, poolers and servers share "
            f"{found['machine']['processors']} processors"
        )
    for way in (RUNBOOK, CHAIN):
        writes = found["ways"].get(way, {}).get("writes")
        if writes and (writes["lost"] or writes["doubled"] or writes["phantom"]):
            said.append(f"{TITLES[way]}: {_writes(writes)}")
        for error in found["ways"].get(way, {}).get("errors", [])[:2]:
            said.append(f"{TITLES[way]}: {error[:200]}")
    return said


def _writes(writes: Mapping[str, Any]) -> str:
    return f"{writes['lost']} lost, {writes['doubled']} doubled, {writes['phantom']} phantom writes"


def table(found: Mapping[str, Any]) -> Table:
    """The ways beside each other."""
    tps = found["tps"]
    title = (
        f"PostgreSQL {found['versions']['source']} and {found['versions']['target']}, "
        f"{found['options']['clients']} clients, {tps['achieved']:.0f} of {tps['asked']:.0f} transactions/s"
    )
    shown = Table(title=title, caption="longest: of an event, the longest latency of any client; median (min to max)")
    for name in ("", "events", "longest, ms", f"over {STALLED_MS:.0f} ms", "p50, ms", "p99, ms", "held, ms"):
        shown.add_column(name, justify="right" if name else "left")
    for name in ("failed", "lost", "doubled"):
        shown.add_column(name, justify="right")
    for way, about in found["ways"].items():
        writes = about["writes"] or {"lost": "", "doubled": ""}
        shown.add_row(
            TITLES[way],
            str(about["events"]),
            _range(about["longest_ms"]),
            _middle(about[f"over_{STALLED_MS:.0f}_ms"], 0),
            _middle(about["p50_ms"], 1),
            _middle(about["p99_ms"], 1),
            _middle(about["held_ms"], 0),
            *(str(value) for value in (about["failed"], writes["lost"], writes["doubled"])),
        )
    return shown


def step_table(found: Mapping[str, Any]) -> Table:
    """Every step of every way, in its order."""
    shown = Table(title="Steps: median (min to max), ms")
    for name in ("way", "step", "took"):
        shown.add_column(name, justify="right" if name == "took" else "left")
    for way, about in found["ways"].items():
        for number, (name, took) in enumerate(about["steps_ms"].items()):
            shown.add_row("" if number else TITLES[way], name, _range(took))
    return shown


def _range(values: Mapping[str, float]) -> str:
    return f"{values['median']:.0f} ({values['min']:.0f} to {values['max']:.0f})" if values else ""


def _middle(values: Mapping[str, float], digits: int) -> str:
    return f"{values['median']:.{digits}f}" if values else ""


def ratio_lines(found: Mapping[str, Any]) -> list[str]:
    """The ratios in words."""
    words = {
        "chain_to_product_in_airflow": "The chain's longest stall is {} times that of the product as one Airflow task",
        "chain_to_product": "The chain's longest stall is {} times the product's",
        "runbook_to_product": "The runbook's longest stall is {} times the product's",
        "product_to_baseline": "The product's longest stall is {} times the longest latency with nothing happening",
    }
    return [words[name].format(ratio) for name, ratio in found["ratios"].items()]
