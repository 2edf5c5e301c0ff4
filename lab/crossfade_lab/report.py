"""What the demo found: the figures for `demo.json`, the promises they are held to, and the table for people."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from crossfade_lab.journal_facts import JournalFacts
from crossfade_lab.samples import Sample, Stats, stretch
from crossfade_lab.verdict import Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """Everything that was observed in one demo."""

    engine: str
    clients: int
    baseline: tuple[float, float]  #: epoch seconds
    migration: tuple[float, float]
    whole: tuple[float, float]
    samples: Sequence[Sample]
    verdict: Verdict
    journal: JournalFacts
    run_state: str
    run_seconds: float
    source_version: str
    target_version: str
    serving: str  #: source or target


def figures(seen: Evidence) -> dict[str, Any]:
    """The content of `demo.json`. Times are milliseconds unless named otherwise."""
    baseline = stretch(seen.samples, *seen.baseline)
    migration = stretch(seen.samples, *seen.migration)
    whole = stretch(seen.samples, *seen.whole)
    pause = seen.journal.pause
    around = stretch(seen.samples, pause[0], pause[1] + 0.5) if pause else None
    return {
        "engine": seen.engine,
        "rows_loaded": seen.journal.rows_loaded,
        "bytes_loaded": seen.journal.bytes_loaded,
        "tables_validated": seen.journal.tables_validated,
        "mismatches": seen.journal.mismatches,
        "clients": seen.clients,
        "transactions": whole.transactions,
        "failed_transactions": whole.failed,
        "acked_writes": seen.verdict.acked_writes,
        "lost_writes": seen.verdict.lost_writes,
        "duplicated_writes": seen.verdict.duplicated_writes,
        "phantom_writes": seen.verdict.phantom_writes,
        "unknown_writes": seen.verdict.unknown,
        "max_stall_ms": round(migration.max, 1),
        "longest_gap_ms": round(migration.longest_gap, 1),
        "cutover_max_ms": round(around.max, 1) if around else None,
        "baseline_max_ms": round(baseline.max, 1),
        "p50": round(migration.p50, 2),
        "p99": round(migration.p99, 2),
        "paused_ms": round((pause[1] - pause[0]) * 1000, 1) if pause else None,
        "steps": [{"name": step.name, "ms": round(step.ms, 1)} for step in seen.journal.steps],
        "airflow_run_state": seen.run_state,
        "airflow_run_seconds": round(seen.run_seconds, 1),
        "source_version": seen.source_version,
        "target_version": seen.target_version,
        "serving": seen.serving,
        "stretches": {"baseline": _rounded(baseline), "migration": _rounded(migration)},
    }


def _rounded(stats: Stats) -> Mapping[str, float]:
    return {name: round(value, 2) for name, value in asdict(stats).items()}


def broken_promises(result: Mapping[str, Any]) -> list[str]:
    """What is not as promised, in words; empty when all is well."""
    broken = [
        f"{result[name]} {name.replace('_', ' ')}"
        for name in (
            "failed_transactions",
            "lost_writes",
            "duplicated_writes",
            "phantom_writes",
            "unknown_writes",
            "mismatches",
        )
        if result[name]
    ]
    if result["airflow_run_state"] != "success":
        broken.append(f"the Airflow run ended as {result['airflow_run_state']}")
    if result["serving"] != "target":
        broken.append(f"the {result['serving']} still serves")
    if not result["tables_validated"] or not result["rows_loaded"]:
        broken.append("the journal shows no loaded rows or no validated tables")
    if not result["acked_writes"]:
        broken.append("no write was acknowledged")
    return broken


def summary(result: Mapping[str, Any]) -> Table:
    """The result for people."""
    versions = f"PostgreSQL {result['source_version']} to {result['target_version']}"
    table = Table(title=f"{versions}, engine {result['engine']}", show_header=False)
    loaded = f"{result['rows_loaded']:,} rows, {result['bytes_loaded'] / 1e6:,.0f} MB"
    writes = f"{result['lost_writes']} lost, {result['duplicated_writes']} doubled"
    stall = f"{result['max_stall_ms']} ms (baseline, nothing happening: {result['baseline_max_ms']} ms)"
    for name, value in (
        ("loaded", loaded),
        ("validated", f"{result['tables_validated']} tables, {result['mismatches']} mismatches"),
        ("transactions", f"{result['transactions']:,} of {result['clients']} clients"),
        ("failed", str(result["failed_transactions"])),
        ("acknowledged writes", f"{result['acked_writes']:,}: {writes}"),
        ("longest transaction, whole migration", stall),
        ("longest transaction, cutover", f"{result['cutover_max_ms']} ms"),
        ("clients held", f"{result['paused_ms']} ms"),
        ("cutover steps", ", ".join(f"{s['name']} {s['ms']:.0f}" for s in result["steps"])),
        ("Airflow run", f"{result['airflow_run_state']} in {result['airflow_run_seconds']} s"),
        ("serving now", result["serving"]),
    ):
        table.add_row(name, value)
    return table
