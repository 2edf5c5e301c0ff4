"""Sizes and durations as people write them in a plan: ``10GB``, ``1MB``, ``5s``, ``48h``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_SIZE = re.compile(r"^(\d+)\s*(B|kB|MB|GB|TB)$")
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)\s*(ms|s|min|h|d)$")
_SIZE_UNITS = {
    "B": 1,
    "kB": 2**10,
    "MB": 2**20,
    "GB": 2**30,
    "TB": 2**40,
}  # PostgreSQL's units: powers of 1024
_SECONDS = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400}


def parse_size(value: object) -> int:
    """Bytes of ``10GB``. Raises `ValueError` that names the accepted form."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.match(str(value))
    if not match:
        raise ValueError(f"{value!r} is not a size: write a number and B, kB, MB, GB or TB, as in 10GB")
    return int(match[1]) * _SIZE_UNITS[match[2]]


def parse_duration(value: object) -> timedelta:
    """A timedelta of ``5s``. Raises `ValueError` that names the accepted form."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.match(str(value))
    if not match:
        raise ValueError(f"{value!r} is not a duration: write a number and ms, s, min, h or d, as in 5s")
    try:
        return timedelta(seconds=float(match[1]) * _SECONDS[match[2]])
    except OverflowError:
        raise ValueError(f"{value!r} is too long a duration") from None


def format_size(size: float) -> str:
    """``1.5 GB``: for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TB"


def format_duration(value: timedelta) -> str:
    """``5s``: to the microsecond and never as 1e+06s, so that a pinned plan can be read again."""
    return f"{value.total_seconds():f}".rstrip("0").rstrip(".") + "s"


def spoken(span: timedelta) -> str:
    """``47 h 59 min``, ``3 min 20 s``: for people."""
    minutes, seconds = divmod(int(span.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min")] if hours else [(minutes, "min"), (seconds, "s")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"


Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": _SIZE.pattern}, {"type": "integer", "minimum": 0}]}),
]
Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": _DURATION.pattern}),
]
