"""How long the workload's transactions took: raw samples in compact files, and figures over any stretch of time."""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

#: start (epoch seconds), latency (ms, as the client saw it), lateness (ms after the moment it was due), success
_RECORD = struct.Struct("<dff?")


@dataclass(frozen=True, slots=True)
class Sample:
    """One transaction as its client saw it."""

    start: float  #: epoch seconds when it was sent
    latency: float  #: milliseconds from sending to the answer
    lateness: float  #: milliseconds that the client was behind its schedule when it sent
    ok: bool

    @property
    def end(self) -> float:
        return self.start + self.latency / 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Stats:
    """What clients saw between two moments. Times are milliseconds."""

    transactions: int
    failed: int
    per_second: float  #: successful transactions a second
    p50: float
    p99: float
    max: float  #: the longest transaction that was under way in the stretch
    longest_gap: float  #: the longest time without a success of any client, the stretch's edges included
    max_lateness: float  #: how far clients fell behind their schedule (backlog after a stall)


class SampleWriter:
    """The samples of one client, flushed about once a second."""

    def __init__(self, directory: Path, run: str, client: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._file = (directory / f"{run}-{client:03}.samples").open("ab", buffering=0)
        self._pending = bytearray()
        self._flushed = 0.0

    def add(self, sample: Sample) -> None:
        self._pending += _RECORD.pack(sample.start, sample.latency, sample.lateness, sample.ok)
        if sample.end - self._flushed > 1:
            self.flush()
            self._flushed = sample.end

    def flush(self) -> None:
        self._file.write(self._pending)
        self._pending.clear()

    def close(self) -> None:
        self.flush()
        self._file.close()


def read(directory: Path) -> list[Sample]:
    """All samples of all clients in a directory, by start."""
    found = [sample for file in sorted(directory.glob("*.samples")) for sample in read_file(file)]
    return sorted(found, key=lambda sample: sample.start)


def read_file(file: Path) -> list[Sample]:
    """The samples of one client, in its order."""
    raw = file.read_bytes()
    whole = len(raw) - len(raw) % _RECORD.size
    return [Sample(*fields) for fields in _RECORD.iter_unpack(raw[:whole])]


def stretch(samples: Iterable[Sample], start: float, end: float) -> Stats:
    """Figures over [start, end): every transaction that was under way in it, for however short a part."""
    within = [sample for sample in samples if sample.start < end and sample.end >= start]
    latencies = sorted(sample.latency for sample in within if sample.ok)
    successes = sorted(sample.end for sample in within if sample.ok and sample.end < end)
    edges = [start, *successes, end]
    return Stats(
        transactions=len(within),
        failed=sum(not sample.ok for sample in within),
        per_second=len(successes) / (end - start) if end > start else 0.0,
        p50=_percentile(latencies, 0.50),
        p99=_percentile(latencies, 0.99),
        max=max((sample.latency for sample in within), default=0.0),
        longest_gap=max(after - before for before, after in pairwise(edges)) * 1000,
        max_lateness=max((sample.lateness for sample in within), default=0.0),
    )


def _percentile(ordered: Sequence[float], part: float) -> float:
    """The smallest value that at least this part of all values do not exceed."""
    if not ordered:
        return 0.0
    return ordered[max(0, -int(-len(ordered) * part // 1) - 1)]
