"""When a plan allows its cutover: days, nights, time zones, and the two days a year on which a clock is changed."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.cutover.window import Windows, blocker, format_windows, parse_windows

PARIS = "Europe/Paris"


def local(text: str, zone: str = PARIS, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)


def windows(*texts: str) -> Windows:
    return parse_windows(list(texts))


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("Mon-Thu 08:00-16:00 Europe/Paris", ["2026-06-01T08:00", "2026-06-04T15:59"], ["2026-06-01T07:59"]),
        ("Mon-Thu 08:00-16:00 Europe/Paris", ["2026-12-07T08:00"], ["2026-06-01T16:00", "2026-06-05T12:00"]),
        ("Mon,Wed 08:00-9:00 Europe/Paris", ["2026-06-03T08:30"], ["2026-06-02T08:30"]),
        ("mon, wed-fri 08:00 - 9:00  Europe/Paris", ["2026-06-05T08:30"], ["2026-06-02T08:30"]),
        ("Fri-Mon 08:00-09:00 Europe/Paris", ["2026-06-07T08:30", "2026-06-08T08:30"], ["2026-06-09T08:30"]),
        ("Sat 00:00-24:00 Europe/Paris", ["2026-06-06T00:00", "2026-06-06T23:59"], ["2026-06-07T00:00"]),
        ("Sat 22:00-04:00 Europe/Paris", ["2026-06-06T22:00", "2026-06-07T03:59"], ["2026-06-06T03:00"]),
        ("Sun 22:00-00:00 Europe/Paris", ["2026-06-07T23:59"], ["2026-06-08T00:00"]),
    ],
)
def test_it_is_open_by_the_clock_of_its_zone(text: str, inside: list[str], outside: list[str]) -> None:
    assert all(windows(text).open_now(local(at)) for at in inside)
    assert not any(windows(text).open_now(local(at)) for at in outside)


def test_a_night_belongs_to_the_day_on_which_it_begins() -> None:
    night = windows("Fri 22:00-04:00 UTC")
    assert night.open_now(datetime(2026, 6, 6, 3, tzinfo=UTC))  # Saturday
    assert night.next_opening(datetime(2026, 6, 6, 4, tzinfo=UTC)) == datetime(2026, 6, 12, 22, tzinfo=UTC)


def test_the_next_opening_of_an_open_window_is_now() -> None:
    at = local("2026-06-01T09:00")
    assert windows("Mon 08:00-16:00 Europe/Paris").next_opening(at) == at


def test_of_several_windows_the_next_opens_and_those_that_touch_close_together() -> None:
    two = windows("Mon 08:00-16:00 Europe/Paris", "Mon 22:00-24:00 Europe/Paris", "Tue 00:00-02:00 Europe/Paris")
    assert two.closes(local("2026-06-01T09:00")) == local("2026-06-01T16:00")
    assert two.next_opening(local("2026-06-01T17:00")) == local("2026-06-01T22:00")
    assert two.closes(local("2026-06-01T17:00")) == local("2026-06-02T02:00")


def test_a_window_that_is_always_open_never_closes() -> None:
    assert windows("Mon-Sun 00:00-24:00 Europe/Paris").closes(local("2026-06-01T09:00")) is None


@pytest.mark.parametrize(
    ("text", "opens", "closes"),
    [  # on 2026-03-29 Paris goes from 02:00 to 03:00: 01:00 UTC
        ("Sun 02:30-05:00 Europe/Paris", "2026-03-29T01:00", "2026-03-29T03:00"),
        ("Sun 01:00-02:30 Europe/Paris", "2026-03-29T00:00", "2026-03-29T01:00"),
        ("Sat 22:00-04:00 Europe/Paris", "2026-03-28T21:00", "2026-03-29T02:00"),
        ("Sun 00:00-24:00 Europe/Paris", "2026-03-28T23:00", "2026-03-29T22:00"),
        # wholly in the hour that is skipped: not that Sunday
        ("Sun 02:10-02:50 Europe/Paris", "2026-04-05T00:10", "2026-04-05T00:50"),
    ],
)
def test_in_spring_a_skipped_hour_is_left_out(text: str, opens: str, closes: str) -> None:
    saturday = datetime(2026, 3, 28, 12, tzinfo=UTC)
    assert windows(text).next_opening(saturday) == datetime.fromisoformat(opens).replace(tzinfo=UTC)
    assert windows(text).closes(saturday) == datetime.fromisoformat(closes).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "opens", "closes"),
    [  # on 2026-10-25 Paris goes from 03:00 to 02:00: 01:00 UTC
        ("Sun 02:15-02:45 Europe/Paris", "2026-10-25T00:15", "2026-10-25T00:45"),
        ("Sun 02:30-05:00 Europe/Paris", "2026-10-25T00:30", "2026-10-25T04:00"),
        ("Sun 00:00-24:00 Europe/Paris", "2026-10-24T22:00", "2026-10-25T23:00"),
    ],
)
def test_in_autumn_an_hour_that_comes_twice_counts_at_its_first_coming(text: str, opens: str, closes: str) -> None:
    saturday = datetime(2026, 10, 24, 12, tzinfo=UTC)
    assert windows(text).next_opening(saturday) == datetime.fromisoformat(opens).replace(tzinfo=UTC)
    assert windows(text).closes(saturday) == datetime.fromisoformat(closes).replace(tzinfo=UTC)


def test_midnight_may_be_the_hour_that_is_skipped() -> None:
    """Beirut goes from 00:00 to 01:00."""
    day = windows("Sun 00:00-24:00 Asia/Beirut")
    assert day.next_opening(datetime(2026, 3, 28, 12, tzinfo=UTC)) == datetime(2026, 3, 28, 22, tzinfo=UTC)
    assert day.closes(datetime(2026, 3, 28, 12, tzinfo=UTC)) == datetime(2026, 3, 29, 21, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("08:00-16:00", r"is not a window: .* as in Mon-Thu 08:00-16:00 Europe/Paris"),
        ("Mon 08:00-16:00", "is not a window"),
        ("Mon 8-16 UTC", "is not a window"),
        (5, "is not a window"),
        ("Mon-Thu-Fri 08:00-16:00 UTC", "no range of days"),
        ("Monday 08:00-16:00 UTC", "'Monday' is no day of the week"),
        ("Mon,,Tue 08:00-16:00 UTC", "is no day of the week"),
        ("Mon 08:60-16:00 UTC", "08:60 is no time of the day"),
        ("Mon 08:00-24:01 UTC", "24:01 is no time of the day"),
        ("Mon 08:00-08:00 UTC", "a whole day is 00:00-24:00"),
        ("Mon 24:00-08:00 UTC", "a night 22:00-04:00"),
        ("Mon 08:00-16:00 Europe/Pariss", r"no time zone: did you mean Europe/Paris\?"),
        ("Mon 08:00-16:00 Europe", "no time zone"),
        ("Mon 08:00-16:00 ../etc", "no time zone"),
        ("Mon 08:00-16:00 CEST5000", "no time zone"),
        ([], "the list is empty"),
        (["Mon 08:00-16:00 UTC", "x"], "'x' is not a window"),
    ],
)
def test_what_is_no_window_is_refused_with_an_example(value: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_windows(value)


def test_the_blocker_names_the_window_and_its_next_opening() -> None:
    plan: Any = SimpleNamespace(cutover=SimpleNamespace(window=windows("Mon-Thu 08:00-16:00 Europe/Paris")))
    assert blocker(plan, local("2026-06-01T09:00")) is None
    said = blocker(plan, local("2026-06-05T09:00"))
    assert said is not None
    assert "only within Mon-Thu 08:00-16:00 Europe/Paris" in said
    assert "Mon 2026-06-08 08:00 Europe/Paris" in said
    anytime: Any = SimpleNamespace(cutover=SimpleNamespace(window=None))
    assert blocker(anytime, local("2026-06-05T09:00")) is None


ZONES = st.sampled_from(["UTC", PARIS, "America/New_York", "Asia/Beirut", "Australia/Lord_Howe", "Asia/Kolkata"])
INSTANTS = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


@st.composite
def texts(draw: st.DrawFn) -> str:
    days = draw(st.lists(st.sampled_from("Mon Tue Wed Thu Fri Sat Sun".split()), min_size=1, max_size=7))
    begins = draw(st.integers(0, 1439))
    ends = draw(st.integers(0, 1440).filter(lambda minutes: minutes != begins))
    clock = [f"{minutes // 60:02}:{minutes % 60:02}" for minutes in (begins, ends)]
    return f"{','.join(days)} {clock[0]}-{clock[1]} {draw(ZONES)}"


MANY = st.lists(texts(), min_size=1, max_size=3).map(parse_windows)


@given(MANY)
def test_a_window_that_was_written_is_read_as_the_same(found: Windows) -> None:
    assert parse_windows(format_windows(found)) == found


@given(MANY, INSTANTS)
def test_it_is_open_from_the_next_opening_until_it_closes_and_at_neither_side_of_that(
    found: Windows, at: datetime
) -> None:
    opens, closes = found.next_opening(at), found.closes(at)
    assert opens >= at
    assert found.open_now(opens)
    assert found.open_now(at) == (opens == at)
    if opens > at:
        assert not found.open_now(opens - timedelta(microseconds=1))
        assert not found.open_now(at + (opens - at) / 2)
    if closes is not None:
        assert closes > opens
        assert found.open_now(closes - timedelta(microseconds=1))
        assert found.open_now(opens + (closes - opens) / 2)
        assert not found.open_now(closes)


@given(texts(), INSTANTS)
def test_away_from_changes_of_the_clock_it_is_what_the_clock_on_the_wall_says(text: str, at: datetime) -> None:
    (window,) = parse_windows(text).windows
    zone = ZoneInfo(window.zone)
    wall = at.astimezone(zone)
    around = (wall.replace(tzinfo=None) + days * timedelta(days=1) for days in (-2, 2))
    if len({moment.replace(tzinfo=zone).utcoffset() for moment in around}) > 1:
        return
    minute = wall.hour * 60 + wall.minute
    yesterday = (wall.weekday() - 1) % 7
    if window.begins < window.ends:
        expected = wall.weekday() in window.days and window.begins <= minute < window.ends
    else:
        expected = (wall.weekday() in window.days and minute >= window.begins) or (
            yesterday in window.days and minute < window.ends
        )
    assert parse_windows(text).open_now(at) == expected
