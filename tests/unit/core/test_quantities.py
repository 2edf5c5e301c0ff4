"""Sizes and durations as people write them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.quantities import format_duration, format_size, parse_duration, parse_size, spoken


@pytest.mark.parametrize(
    ("text", "size"),
    [("0B", 0), ("1kB", 1024), ("10 MB", 10 * 2**20), ("10GB", 10 * 2**30), ("2TB", 2**41), (4096, 4096)],
)
def test_sizes_are_powers_of_1024_as_in_postgresql(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["10", "10KB", "10 gb", "-1MB", "1.5GB", "GB", "", None, True, -5, 1.5, "10GB or so"])
def test_what_is_no_size_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match=r"is not a size: .* as in 10GB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("5s", 5), ("1.5 s", 1.5), ("10min", 600), ("24h", 86400), ("7d", 604800), ("0s", 0)],
)
def test_durations_have_units_from_milliseconds_to_days(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["5", 5, "5 seconds", "-5s", "s", "", None, True, "1h30min", "5m"])
def test_what_is_no_duration_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match=r"is not a duration: .* as in 5s"):
        parse_duration(text)


def test_a_duration_beyond_what_can_be_counted_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        parse_duration("999999999999d")


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=3650)))
def test_a_duration_that_was_written_is_read_as_the_same(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59, "59 s"), (200, "3 min 20 s"), (3600, "1 h"), (172_799, "47 h 59 min"), (172_800, "48 h")],
)
def test_a_span_is_said_as_people_say_it(seconds: float, said: str) -> None:
    assert spoken(timedelta(seconds=seconds)) == said


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 kB"), (1536, "1.5 kB"), (5 * 2**30, "5.0 GB"), (2**52, "4096.0 TB")],
)
def test_a_size_is_shown_in_the_unit_that_fits(size: int, shown: str) -> None:
    assert format_size(size) == shown
