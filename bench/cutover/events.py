"""One event of the benchmark: a cutover by one of the ways, or nothing at all, and what clients saw of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from crossfade_lab.samples import Sample, Stats, stretch

STALLED_MS = 100.0  #: a transaction that takes longer counts as stalled


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One step, in milliseconds; `started_ms` is counted from the beginning of the first."""

    name: str
    started_ms: float
    ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """What was done in one stretch of time, and what its clients saw. Times are milliseconds unless named otherwise."""

    way: str  #: product, runbook, chain, product as an Airflow task, or nothing
    direction: str  #: forward, back; empty where nothing happened
    seconds: float  #: length of the stretch
    held_ms: float | None  #: between holding clients and letting them go, as the way itself measured it
    steps: Sequence[Step]
    before: Stats  #: the same clients, undisturbed, just before
    seen: Stats
    stalled: int  #: transactions that took longer than STALLED_MS
    failed: int  #: transactions of either kind of client
    errors: Sequence[str] = field(default_factory=list)

    @property
    def longest(self) -> float:
        """The longest latency that a client saw."""
        return self.seen.max

    def as_dict(self) -> dict[str, Any]:
        return {key: _rounded(value) for key, value in asdict(self).items()}


def observe(
    samples: Sequence[Sample],
    *,
    way: str,
    direction: str,
    at: tuple[float, float],
    before: tuple[float, float],
    held_ms: float | None,
    steps: Sequence[Step],
    errors: Sequence[str],
    failed: int,
) -> Event:
    """The event in that stretch of epoch seconds, from all samples of its clients."""
    seen = stretch(samples, *at)
    stalled = sum(s.latency > STALLED_MS for s in samples if s.start < at[1] and s.end >= at[0])
    return Event(
        way=way,
        direction=direction,
        seconds=at[1] - at[0],
        held_ms=held_ms,
        steps=steps,
        before=stretch(samples, *before),
        seen=seen,
        stalled=stalled,
        failed=failed,
        errors=errors,
    )


def spread(values: Sequence[float]) -> dict[str, float]:
    """Smallest, median and largest."""
    if not values:
        return {}
    return {"min": round(min(values), 1), "median": round(median(values), 1), "max": round(max(values), 1)}


def steps_of(events: Sequence[Event]) -> Mapping[str, dict[str, float]]:
    """The spread of every step's milliseconds, in their order."""
    names = dict.fromkeys(step.name for event in events for step in event.steps)
    return {name: spread([s.ms for event in events for s in event.steps if s.name == name]) for name in names}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 2)
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return value
