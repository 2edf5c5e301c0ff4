"""The benchmark fails where the product's clients were let down, and reports what others did to theirs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from bench.cutover import report
from bench.cutover.events import Event, Step, observe
from bench.cutover.load import _samples
from bench.cutover.report import CHAIN, NOTHING, PRODUCT, RUNBOOK, TASK, Counted
from rich.console import Console

from crossfade_lab.samples import Sample
from crossfade_lab.verdict import Verdict

OPTIONS = {"tps": 10.0, "clients": 1}
VERSIONS = {"source": "16", "target": "18"}


def event(way: str, longest: float, *, failed: int = 0, errors: Sequence[str] = ()) -> Event:
    """Ten transactions a second of 2 ms for 20 s; one in the second half takes longer."""
    samples = [Sample(n / 10, longest if n == 150 else 2.0, 0.0, True) for n in range(200)]
    return observe(
        samples,
        way=way,
        direction="forward",
        at=(10.0, 20.0),
        before=(0.0, 10.0),
        held_ms=longest - 1,
        steps=[Step(name="pause", started_ms=0, ms=3), Step(name="open", started_ms=3, ms=longest - 4)],
        errors=errors,
        failed=failed,
    )


def found(events: Sequence[Event], counted: dict[str, Counted] | None = None, tps: float = 10.0) -> dict[str, Any]:
    return report.result(events, counted or {}, options={**OPTIONS, "tps": tps}, versions=VERSIONS)


def counted(told: int = 5, seen: int = 5, **verdict: int) -> Counted:
    return Counted(verdict=Verdict(**verdict), pgbench_told=told, pgbench_found=seen)


def test_an_event_tells_its_longest_latency_and_how_many_were_stalled() -> None:
    seen = event(PRODUCT, 140.0)
    assert (seen.longest, seen.stalled, seen.before.max) == (140.0, 1, 2.0)
    assert event(PRODUCT, 90.0).stalled == 0


def test_ways_are_compared_by_the_median_of_their_longest_stalls() -> None:
    events = [event(PRODUCT, ms) for ms in (100.0, 120.0, 900.0)] + [event(RUNBOOK, 1200.0), event(NOTHING, 40.0)]
    events += [event(TASK, 150.0), event(CHAIN, 9000.0)]
    result = found(events)
    assert result["ratios"] == {
        "chain_to_product_in_airflow": 60.0,
        "chain_to_product": 75.0,
        "runbook_to_product": 10.0,
        "product_to_baseline": 3.0,
    }
    assert result["ways"][PRODUCT]["longest_ms"] == {"min": 100.0, "median": 120.0, "max": 900.0}
    assert list(result["ways"][PRODUCT]["steps_ms"]) == ["pause", "open"]
    assert len(report.ratio_lines(result)) == 4
    Console(quiet=True).print(report.table(result), report.step_table(result))


def test_a_way_that_was_left_out_has_no_ratio() -> None:
    assert found([event(PRODUCT, 100.0)])["ratios"] == {}


@pytest.mark.parametrize(
    ("way", "problem"),
    [(PRODUCT, "3 failed"), (TASK, "3 failed"), (RUNBOOK, ""), (CHAIN, "")],
)
def test_failed_transactions_are_a_failure_of_the_product_and_a_result_of_others(way: str, problem: str) -> None:
    result = found([event(way, 100.0, failed=3, errors=["UniqueViolation 23505 invoices_pkey"])])
    assert problem in "; ".join(report.wrong(result, {}))
    assert bool(report.wrong(result, {})) == bool(problem)
    assert any("invoices_pkey" in line for line in report.remarks(result)) == (not problem)


@pytest.mark.parametrize(
    ("writes", "words"),
    [
        (counted(lost_writes=1), "1 lost, 0 doubled"),
        (counted(duplicated_writes=2), "0 lost, 2 doubled"),
        (counted(told=5, seen=4), "1 lost, 0 doubled"),
        (counted(told=5, seen=6), "0 lost, 1 doubled"),
    ],
)
def test_a_lost_or_doubled_write_of_either_kind_of_client_is_named(writes: Counted, words: str) -> None:
    both = {PRODUCT: writes, RUNBOOK: writes}
    result = found([event(PRODUCT, 100.0), event(RUNBOOK, 100.0)], both)
    (problem,) = report.wrong(result, both)
    assert words in problem
    assert any(words in line for line in report.remarks(result)), "of the runbook it is said, too"
    assert report.wrong(result, {PRODUCT: counted()}) == []


def test_the_last_write_of_a_client_that_gave_up_is_neither_lost_nor_doubled() -> None:
    one_more = Counted(verdict=Verdict(), pgbench_told=5, pgbench_found=6, pgbench_unknown=1)
    assert one_more.ok and one_more.as_dict()["doubled"] == 0


def test_a_rate_that_was_not_reached_is_said() -> None:
    assert report.remarks(found([event(PRODUCT, 100.0)])) == []
    (remark,) = report.remarks(found([event(PRODUCT, 100.0)], tps=20.0))
    assert "figures are of 10" in remark


def test_a_log_of_pgbench_is_read_from_the_moment_a_transaction_was_sent(tmp_path: Path) -> None:
    log = tmp_path / "log.1"
    log.write_text("0 1 5000 0 1700000000 250000 2000\n3 7 failed 0 1700000001 0 100\n")
    first, second = _samples(log)
    assert (first.latency, first.lateness, first.ok) == (3.0, 2.0, True)
    assert first.end == pytest.approx(1700000000.25)
    assert not second.ok
