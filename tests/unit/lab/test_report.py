"""The demo fails when anything is not as promised."""

from typing import Any

import pytest
from rich.console import Console

from crossfade_lab.journal_facts import CutoverStep, JournalFacts
from crossfade_lab.report import Evidence, broken_promises, figures, summary
from crossfade_lab.samples import Sample
from crossfade_lab.verdict import Verdict

STEPS = (
    CutoverStep("pause", 10, 50.0, "done"),
    CutoverStep("decide", 5, 50.05, "done"),
    CutoverStep("open", 4, 50.07, "done"),
)


def evidence(**changes: Any) -> Evidence:
    journal = JournalFacts(rows_loaded=10, bytes_loaded=100, tables_validated=2, mismatches=0, steps=STEPS)
    seen: dict[str, Any] = {
        "engine": "dms",
        "clients": 1,
        "baseline": (0.0, 10.0),
        "migration": (10.0, 90.0),
        "whole": (0.0, 100.0),
        "samples": [Sample(n / 10, 90.0 if n == 500 else 2.0, 0.0, True) for n in range(1000)],
        "verdict": Verdict(attempted=1000, acked_writes=1000),
        "journal": journal,
        "run_state": "success",
        "run_seconds": 80.0,
        "source_version": "16",
        "target_version": "18",
        "serving": "target",
    }
    return Evidence(**(seen | changes))


def test_a_migration_as_promised_breaks_nothing_and_can_be_shown() -> None:
    result = figures(evidence())
    assert broken_promises(result) == []
    assert result["engine"] == "dms"
    assert result["paused_ms"] == pytest.approx(74, abs=0.1)
    assert (result["max_stall_ms"], result["cutover_max_ms"], result["baseline_max_ms"]) == (90.0, 90.0, 2.0)
    Console(quiet=True).print(summary(result))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"verdict": Verdict(acked_writes=1, lost_writes=1)}, "1 lost writes"),
        ({"verdict": Verdict(acked_writes=1, duplicated_writes=2)}, "2 duplicated writes"),
        ({"samples": [Sample(1.0, 2.0, 0.0, False)]}, "1 failed transactions"),
        ({"run_state": "failed"}, "ended as failed"),
        ({"serving": "source"}, "source still serves"),
    ],
)
def test_what_is_not_as_promised_is_named(changes: dict[str, Any], words: str) -> None:
    assert words in "; ".join(broken_promises(figures(evidence(**changes))))


def test_a_run_without_a_journal_is_not_taken_for_a_success() -> None:
    empty = JournalFacts(rows_loaded=0, bytes_loaded=0, tables_validated=0, mismatches=0, steps=())
    result = figures(evidence(journal=empty))
    assert result["paused_ms"] is None
    assert "no loaded rows" in "; ".join(broken_promises(result))
