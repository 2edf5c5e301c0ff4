"""The mode of a table's LOBs, and the memory that they take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.engines.dms.lob_memory import instance_memory, lob_memory
from crossfade.engines.dms.lobs import (
    GROWTH_IN_DMS,
    SMALLEST_LIMIT_KB,
    LobLimit,
    LobTable,
    MeasuredTable,
    Mode,
    OutlierWithoutKey,
    limits,
)
from crossfade.engines.dms.ranges import TableRanges

KB, MB = 1024, 1024**2


def measured(largest: int, *, name: str = "orders", key: bool = True) -> MeasuredTable:
    table = LobTable(schema="public", name=name, primary_key=key, columns={"small": False, "note": False})
    return MeasuredTable(table=table, largest={"small": 0, "note": largest})


def choose(*tables: MeasuredTable, outliers: Mode = "inline", headroom: float = 2.0) -> list[LobLimit]:
    assert outliers != "limited"
    return limits(
        tables, headroom=headroom, largest_limited_bytes=6 * MB, outliers=outliers, inline_limit_bytes=64 * KB
    )


@given(size=st.integers(0, 10 * MB), headroom=st.floats(1, 5))
def test_a_limit_is_never_below_what_was_seen(size: int, headroom: float) -> None:
    (limit,) = choose(measured(size), headroom=headroom)
    if limit.mode == "limited":
        assert limit.limit_kb * KB >= size * GROWTH_IN_DMS * headroom
        assert SMALLEST_LIMIT_KB <= limit.limit_kb <= 6 * 1024
    else:
        assert size * GROWTH_IN_DMS * headroom > 6 * MB - KB


def test_the_largest_value_that_fits_is_limited_and_the_next_is_an_outlier() -> None:
    assert [limit.mode for limit in choose(measured(MB), measured(MB + 1))] == ["limited", "inline"]


def test_outliers_go_as_the_plan_says() -> None:
    (inline,) = choose(measured(5 * MB))
    assert (inline.mode, inline.limit_kb) == ("inline", 64)
    (full,) = choose(measured(5 * MB), outliers="full")
    assert (full.mode, full.limit_kb) == ("full", 0)
    assert (full.largest_column, full.largest_bytes, full.columns) == ("note", 5 * MB, 2)


def test_outliers_without_a_primary_key_are_refused_by_name_and_size() -> None:
    with pytest.raises(OutlierWithoutKey, match=r"public\.events \(note: 5\.0 MB\)") as refused:
        choose(measured(5 * MB), measured(5 * MB, name="events", key=False), measured(9, name="tiny", key=False))
    assert len(refused.value.tables) == 1


def test_a_name_that_no_rule_can_hold_goes_by_the_mode_of_the_task() -> None:
    assert [limit.mode for limit in choose(measured(10, name="100%"), outliers="full")] == ["inline"]
    with pytest.raises(OutlierWithoutKey, match="percent sign"):
        choose(measured(10, name="100%", key=False))


@pytest.mark.parametrize(
    ("name", "gib"),
    [
        ("dms.t3.medium", 4),
        ("dms.c5.large", 4),
        ("dms.c6i.4xlarge", 32),
        ("dms.r6i.large", 16),
        ("dms.r5.xlarge", 32),
        ("dms.r5.24xlarge", 768),
        ("dms.z9.huge", None),
        ("db.r6i.large", None),
    ],
)
def test_memory_of_an_instance_class(name: str, gib: int | None) -> None:
    assert instance_memory(name) == (gib and gib * 1024**3)


def limit(name: str, kb: int, columns: int = 1) -> LobLimit:
    return LobLimit(
        schema="public", name=name, mode="limited", limit_kb=kb, columns=columns, largest_column="c", largest_bytes=1
    )


def test_memory_counts_the_heaviest_loads_that_can_meet() -> None:
    chosen = [limit("a", 10, columns=2), limit("b", 5), limit("c", 1)]
    assert lob_memory(chosen, jobs=1, commit_rate=100).bytes == 2 * 10 * KB * 100
    assert lob_memory(chosen, jobs=2, commit_rate=100).bytes == 25 * KB * 100
    assert lob_memory(chosen, jobs=9, commit_rate=100).bytes == 26 * KB * 100


def test_each_range_of_a_table_is_a_load() -> None:
    split = TableRanges(schema="public", name="b", column="id", boundaries=("1", "2", "3"))
    memory = lob_memory([limit("a", 10), limit("b", 5)], jobs=3, commit_rate=100, ranges=[split])
    assert memory.bytes == (10 + 5 + 5) * KB * 100


def test_too_little_memory_is_told_with_a_commit_rate_that_fits() -> None:
    chosen = [limit("a", 1024)]
    memory = lob_memory(chosen, jobs=1, commit_rate=10_000, instance_class="dms.r6i.large")
    assert not memory.fits
    assert "CommitRate to 8192" in memory.sentence
    smaller = lob_memory(chosen, jobs=1, commit_rate=8192, instance_class="dms.r6i.large")
    assert smaller.fits
    assert smaller.sentence.endswith("dms.r6i.large has 16.0 GB: enough")
    assert lob_memory(chosen, jobs=1, commit_rate=10_000).fits
