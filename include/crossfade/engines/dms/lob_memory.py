"""How much memory of the replication instance the LOBs take while tables are loaded."""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass

from crossfade.engines.dms.lobs import LobLimit
from crossfade.engines.dms.ranges import TableRanges
from crossfade.quantities import format_size

_GIB = 2**30
_CLASS = re.compile(r"^dms\.([a-z])\d+[a-z]*\.(\d*x?)(micro|small|medium|large)$")
#: GiB a virtual CPU, by family, and GiB of the burstable sizes (user guide: choosing a replication instance).
_PER_CPU = {"c": 2, "m": 4, "r": 8}
_BURSTABLE = {"micro": 1, "small": 2, "medium": 4, "large": 8}
#: Of the instance; the rest is for cached changes, sorting and DMS itself.
_SHARE_FOR_LOBS = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class LobMemory:
    """What the LOBs need at most, against what there is."""

    bytes: int
    instance_bytes: int | None  #: None where the class is not known
    sentence: str

    @property
    def fits(self) -> bool:
        """Whether half of the instance's memory is enough; also where its class is not known."""
        return self.instance_bytes is None or self.bytes <= self.instance_bytes * _SHARE_FOR_LOBS


def instance_memory(instance_class: str) -> int | None:
    """Bytes of a class such as ``dms.r6i.large``, about; None where it is not known."""
    match = _CLASS.match(instance_class)
    if not match:
        return None
    family, times, size = match.groups()
    if family == "t" and not times:
        return _BURSTABLE[size] * _GIB
    if family not in _PER_CPU or size != "large":
        return None
    cpus = {"": 2, "x": 4}.get(times) or 4 * int(times.removesuffix("x"))
    return cpus * _PER_CPU[family] * _GIB


def commit_rate(
    limits: Sequence[LobLimit],
    *,
    jobs: int,
    most: int,
    ranges: Sequence[TableRanges] = (),
    instance_class: str | None = None,
) -> int:
    """Rows a batch with which the LOBs fit into the instance: `most` where they do, or its class is not known."""
    needed = lob_memory(limits, jobs=jobs, commit_rate=most, ranges=ranges, instance_class=instance_class)
    if needed.fits or needed.instance_bytes is None:
        return most
    return max(int(most * needed.instance_bytes * _SHARE_FOR_LOBS / needed.bytes), 1)


def lob_memory(
    limits: Sequence[LobLimit],
    *,
    jobs: int,
    commit_rate: int,
    ranges: Sequence[TableRanges] = (),
    instance_class: str | None = None,
) -> LobMemory:
    """
    Estimate the memory: LOB columns x limit x rows a batch, of the `jobs` heaviest loads that can meet.

    User guide, "Setting LOB support": DMS allocates limit x commit rate x LOB columns, and swaps where it cannot. Each
    range of a table is a load of its own.
    """
    loads = {(split.schema, split.name): len(split.boundaries) + 1 for split in ranges}
    each = (
        limit.columns * limit.limit_kb * 1024 * commit_rate
        for limit in limits
        for _ in range(min(loads.get((limit.schema, limit.name), 1), jobs))
    )
    needed = sum(heapq.nlargest(jobs, each))
    there = instance_memory(instance_class) if instance_class else None
    said = (
        f"LOBs take up to {format_size(needed)} of memory while loading: {jobs} at a time, {commit_rate} rows a batch"
    )
    if there is None:
        said += "; what the replication instance has is not known"
    elif needed <= there * _SHARE_FOR_LOBS:
        said += f". {instance_class} has {format_size(there)}: enough"
    else:
        rate = max(int(commit_rate * there * _SHARE_FOR_LOBS / needed), 1)
        said += (
            f". {instance_class} has {format_size(there)}, half of which is for LOBs: set "
            f"FullLoadSettings.CommitRate to {rate}, load fewer tables at a time, or take a larger instance"
        )
    return LobMemory(bytes=needed, instance_bytes=there, sentence=said)
