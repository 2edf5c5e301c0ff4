"""Waves hold every table exactly once, and about as many bytes each."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.catalog import Table
from crossfade.engines.logical.waves import group, object_name, stream_name

SIZES = st.lists(st.integers(min_value=0, max_value=2**44), max_size=60)


@given(sizes=SIZES, waves=st.integers(min_value=1, max_value=32))
def test_every_table_travels_in_exactly_one_wave(
    make_table: Callable[..., Table], sizes: list[int], waves: int
) -> None:
    tables = [make_table(f"t{n}", bytes=size) for n, size in enumerate(sizes)]
    grouped = group(tables, waves)
    assert sorted(table.name for wave in grouped for table in wave) == sorted(table.name for table in tables)
    assert len(grouped) <= waves
    assert all(grouped)


@given(sizes=SIZES, waves=st.integers(min_value=1, max_value=32))
def test_no_wave_is_heavier_than_another_by_more_than_the_largest_table(
    make_table: Callable[..., Table], sizes: list[int], waves: int
) -> None:
    tables = [make_table(f"t{n}", bytes=size) for n, size in enumerate(sizes)]
    weights = [sum(table.bytes for table in wave) for wave in group(tables, waves)]
    weights += [0] * (waves - len(weights))
    assert max(weights) - min(weights) <= max(sizes, default=0)


@given(st.data())
def test_waves_do_not_depend_on_the_order_in_which_tables_are_found(
    make_table: Callable[..., Table], data: st.DataObject
) -> None:
    tables = [make_table(f"t{n}", bytes=n % 3 * 1000) for n in range(12)]
    assert group(data.draw(st.permutations(tables)), 4) == group(tables, 4)


def test_a_single_wave_holds_all(make_table: Callable[..., Table]) -> None:
    tables = [make_table("small", bytes=1), make_table("large", bytes=9)]
    assert [[table.name for table in wave] for wave in group(tables, 1)] == [["large", "small"]]


@pytest.mark.parametrize("wave", [0, 31])
def test_names_of_the_longest_plan_fit_a_slot(wave: int) -> None:
    name = object_name("p" * 31, wave)
    assert len(name) <= 63
    assert name != object_name("p" * 31, wave + 1)
    assert stream_name("shop", wave) == f"shop_{wave}"
