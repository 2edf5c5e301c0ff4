"""
When a plan allows its cutover: ``Mon-Thu 08:00-16:00 Europe/Paris``.

A window is told by the clock on the wall of its zone. Its edges are the first instants at which that clock, on that
day, shows the time or a later one: where an hour is skipped in spring the edge is the skip itself, where one comes
twice in autumn it is its first coming.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo, available_timezones

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

if TYPE_CHECKING:
    from crossfade.plan import Plan

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_EXAMPLE = "Mon-Thu 08:00-16:00 Europe/Paris"
_WINDOW = re.compile(r"^([A-Za-z][A-Za-z,\s-]*?)\s+(\d{1,2}:\d{2})\s*-\s*(\d{1,2}:\d{2})\s+(\S+)$")
_SCHEMA = re.compile(r"^[A-Za-z][A-Za-z, -]*\s+\d{1,2}:\d{2}\s*-\s*\d{1,2}:\d{2}\s+\S+$")
_DAY = timedelta(days=1)
_MINUTES = 24 * 60

#: Longer than any window may stay shut: one a week, and a week in which the clock skips it.
_HORIZON = 22  # days


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Some hours on some days of the week."""

    days: frozenset[int]  #: on which it begins; 0 is Monday
    begins: int  #: minutes of the day
    ends: int  #: minutes of the day, up to 24 * 60; not after `begins`: on the next day
    zone: str  #: IANA's name

    def __str__(self) -> str:
        return f"{_days_as_text(self.days)} {_clock(self.begins)}-{_clock(self.ends)} {self.zone}"

    def on(self, day: date) -> tuple[datetime, datetime] | None:
        """When it opens and closes, in UTC, where it begins on that day; None where it does not open then."""
        if day.weekday() not in self.days:
            return None
        zone = ZoneInfo(self.zone)
        opens = _instant(zone, day, self.begins)
        closes = _instant(zone, day if self.ends > self.begins else day + _DAY, self.ends)
        return (opens, closes) if opens < closes else None

    def around(self, at: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Its openings that may contain the instant, and those after it, in order, as far as `_HORIZON`."""
        today = at.astimezone(ZoneInfo(self.zone)).date()
        for days in range(-2, _HORIZON):
            if (found := self.on(today + days * _DAY)) is not None and found[1] > at:
                yield found


@dataclass(frozen=True, slots=True)
class Windows:
    """One window or several: open where any of them is. Instants are aware datetimes; answers are in UTC."""

    windows: tuple[Window, ...]

    def __str__(self) -> str:
        return ", ".join(str(window) for window in self.windows)

    def open_now(self, at: datetime) -> bool:
        """Whether the instant is in a window. One closes at the very instant that ends it."""
        return self._opening(at)[0] <= at

    def next_opening(self, at: datetime) -> datetime:
        """When a window opens next; the instant itself where one is open."""
        return max(self._opening(at)[0], at.astimezone(UTC))

    def closes(self, at: datetime) -> datetime | None:
        """When the windows close that are open then, or open next; None where they stay open for weeks."""
        closes = self._opening(at)[1]
        return None if closes - at > (_HORIZON - 3) * _DAY else closes

    def _opening(self, at: datetime) -> tuple[datetime, datetime]:
        """The first time without a gap in which windows are open, of those that are not over at the instant."""
        openings = sorted(opening for window in self.windows for opening in window.around(at))
        opens, closes = openings[0]
        for following in openings[1:]:
            if following[0] > closes:
                break
            closes = max(closes, following[1])
        return opens, closes


def blocker(plan: Plan, now: datetime) -> str | None:
    """Why the plan's window does not allow a cutover at that instant; None where it does, or there is no window."""
    windows = plan.cutover.window
    if windows is None or windows.open_now(now):
        return None
    return (
        f"the plan allows a cutover only within {windows}: it opens next at "
        f"{in_zones(windows, windows.next_opening(now))}. Wait, or change cutover.window and clear prepare"
    )


def in_zones(windows: Windows, at: datetime) -> str:
    """An instant as the clocks of the windows' zones show it."""
    zones = dict.fromkeys(window.zone for window in windows.windows)
    return ", ".join(f"{at.astimezone(ZoneInfo(zone)):%a %Y-%m-%d %H:%M} {zone}" for zone in zones)


def parse_windows(value: object) -> Windows:
    """The windows of one text or of a list of them. Raises `ValueError` that says what is wrong, with an example."""
    if isinstance(value, Windows):
        return value
    texts = value if isinstance(value, list | tuple) else [value]
    if not texts:
        raise ValueError(f"the list is empty, no cutover could ever begin: remove the key, or write {_EXAMPLE!r}")
    return Windows(tuple(_parse(text) for text in texts))


def format_windows(windows: Windows) -> list[str]:
    """As they are written in a plan, so that a pinned one can be read again."""
    return [str(window) for window in windows.windows]


def _parse(text: object) -> Window:
    match = _WINDOW.match(text.strip()) if isinstance(text, str) else None
    if not match:
        raise ValueError(f"{text!r} is not a window: write days, hours and a time zone, as in {_EXAMPLE}")
    begins, ends = _minutes(match[2]), _minutes(match[3])
    if begins == ends or begins == _MINUTES:
        raise ValueError(f"{match[2]}-{match[3]} is no time: a whole day is 00:00-24:00, a night 22:00-04:00")
    return Window(days=_parse_days(match[1]), begins=begins, ends=ends, zone=_parse_zone(match[4]))


def _minutes(text: str) -> int:
    hours, minutes = (int(part) for part in text.split(":"))
    if minutes > 59 or hours * 60 + minutes > _MINUTES:
        raise ValueError(f"{text} is no time of the day: write 00:00 to 24:00")
    return hours * 60 + minutes


def _parse_days(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, *last = (_parse_day(name) for name in part.split("-"))
        if len(last) > 1:
            raise ValueError(f"{part.strip()!r} is no range of days: write two of them, as in Mon-Thu")
        end = last[0] if last else first
        found.update((first + step) % 7 for step in range((end - first) % 7 + 1))
    return frozenset(found)


def _parse_day(text: str) -> int:
    name = text.strip().capitalize()
    if name not in _DAYS:
        raise ValueError(f"{text.strip()!r} is no day of the week: write {', '.join(_DAYS)}, as in {_EXAMPLE}")
    return _DAYS.index(name)


def _parse_zone(text: str) -> str:
    try:
        return ZoneInfo(text).key
    except (KeyError, ValueError, OSError):  # unknown; no name at all; the name of a directory of zones
        close = difflib.get_close_matches(text, sorted(available_timezones()), 1)
        hint = f"did you mean {close[0]}?" if close else f"write one of IANA's names, as in {_EXAMPLE}, or UTC"
        raise ValueError(f"{text!r} is no time zone: {hint}") from None


def _days_as_text(days: frozenset[int]) -> str:
    """Ranges where three or more follow one another, so that most windows are written as a person would."""
    runs: list[list[int]] = []
    for day in sorted(days):
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return ",".join(
        f"{_DAYS[run[0]]}-{_DAYS[run[-1]]}" if len(run) > 2 else ",".join(_DAYS[day] for day in run) for run in runs
    )


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _instant(zone: ZoneInfo, day: date, minutes: int) -> datetime:
    """The first instant, in UTC, at which the clock of the zone shows that time of that day, or a later one."""
    wall = datetime.combine(day, time()) + timedelta(minutes=minutes)
    found = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if found.astimezone(zone).replace(tzinfo=None) == wall:
        return found
    # the clock skips this time: the skip is between what the offsets after and before it make of the time
    before, after = wall.replace(tzinfo=zone, fold=1).astimezone(UTC), found
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) // 2
        if middle.astimezone(zone).replace(tzinfo=None) >= wall:
            after = middle
        else:
            before = middle
    return after.replace(microsecond=0)


def _schema() -> dict[str, Any]:
    one = {"type": "string", "pattern": _SCHEMA.pattern}
    return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}


#: A plan's key: one text, or a list of them.
WindowsField = Annotated[
    Windows, PlainValidator(parse_windows), PlainSerializer(format_windows), WithJsonSchema(_schema())
]
