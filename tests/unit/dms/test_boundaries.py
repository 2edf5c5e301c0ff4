"""Boundaries cut the rows into parts that are about equal."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.engines.dms.ranges import boundaries


@given(st.integers(2, 300), st.integers(2, 32))
def test_an_even_histogram_gives_even_parts(bounds: int, parts: int) -> None:
    shares = [(str(n), 0.0 if n == 0 else 1 / (bounds - 1)) for n in range(bounds)]
    cuts = [0, *map(int, boundaries(shares, parts)), bounds - 1]
    assert cuts == sorted(set(cuts))
    assert len(cuts) - 1 == min(parts, bounds - 1)
    widths = [high - low for low, high in itertools.pairwise(cuts)]
    assert max(widths) - min(widths) <= 1


@given(st.lists(st.floats(0, 1), max_size=50), st.integers(1, 32))
def test_boundaries_ascend_and_never_make_too_many_parts(given_shares: list[float], parts: int) -> None:
    chosen = boundaries([(str(n), share) for n, share in enumerate(given_shares)], parts)
    assert [int(value) for value in chosen] == sorted({int(value) for value in chosen})
    assert len(chosen) <= parts - 1
    assert str(len(given_shares) - 1) not in chosen


def test_a_value_that_most_rows_have_takes_a_part_of_its_own() -> None:
    shares = [("1", 0.02), ("2", 0.9), ("3", 0.02), ("4", 0.02), ("5", 0.02), ("6", 0.02)]
    assert boundaries(shares, 4) == ["2"]


@pytest.mark.parametrize("value", ["o'hara", 'a"b', "a;b", "naïve", "infinity", "-infinity", "0044-03-15 BC", "a\nb"])
def test_a_value_that_would_need_quotes_is_no_boundary(value: str) -> None:
    assert boundaries([("1", 0.1), (value, 0.5), ("2", 0.1), ("3", 0.3)], 2) == ["2"]


def test_no_statistics_no_boundaries() -> None:
    assert boundaries([], 8) == []
