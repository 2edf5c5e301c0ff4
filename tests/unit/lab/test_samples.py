"""Figures over a stretch of time show a stall, whoever it hit."""

from pathlib import Path

import pytest

from crossfade_lab.samples import Sample, SampleWriter, read, stretch


def steady(begin: float, seconds: float, *, every: float = 0.01, ms: float = 2.0) -> list[Sample]:
    return [Sample(begin + n * every, ms, 0.0, True) for n in range(round(seconds / every))]


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    given = Sample(1_700_000_000.25, 2.5, 0.5, True), Sample(1_700_000_001.5, 80.0, 0.0, False)
    for client, sample in enumerate(reversed(given)):
        writer = SampleWriter(tmp_path, "r", client)
        writer.add(sample)
        writer.close()
    (tmp_path / "r-000.samples").open("ab").write(b"cut short")
    assert read(tmp_path) == list(given)


def test_a_stall_is_the_longest_transaction_and_the_longest_gap() -> None:
    stalled = [*steady(0, 1), Sample(1.0, 500.0, 0.0, True), *steady(1.5, 1)]
    stats = stretch(stalled, 0, 2.5)
    assert stats.max == 500.0
    assert stats.longest_gap == pytest.approx(508, abs=1)
    assert (stats.p50, stats.failed, stats.transactions) == (2.0, 0, 201)


def test_a_transaction_counts_in_every_stretch_it_was_under_way_in() -> None:
    long = [Sample(0.9, 400.0, 0.0, True)]
    assert stretch(long, 0, 1).max == 400.0
    assert stretch(long, 1, 2).max == 400.0
    assert stretch(long, 2, 3).max == 0.0


def test_percentiles_are_of_successes_and_failures_are_counted() -> None:
    some = [Sample(n / 100, float(n + 1), 0.0, True) for n in range(100)] + [Sample(0.5, 9.0, 0.0, False)]
    stats = stretch(some, 0, 2)
    assert (stats.p50, stats.p99, stats.failed) == (50.0, 99.0, 1)


def test_a_stretch_without_a_success_is_one_gap() -> None:
    assert stretch([], 5, 8).longest_gap == 3000
