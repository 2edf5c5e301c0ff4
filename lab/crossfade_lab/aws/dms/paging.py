"""Filters, markers and page sizes of the Describe calls."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from crossfade_lab.aws.dms.errors import InvalidParameterValueException

PAGE = 100
SMALLEST_PAGE = 20

Item = TypeVar("Item")


def select(
    items: Iterable[Item],
    filters: Sequence[Mapping[str, Any]],
    offers: Mapping[str, Callable[[Item], Sequence[str]]],
) -> list[Item]:
    """The items that pass every filter; each filter passes an item that offers one of its values.

    :param offers: for each name of a filter that the call knows, the values of an item to compare with
    :raises InvalidParameterValueException: for a name that the call does not know
    """
    chosen = list(items)
    for wanted in filters:
        name, values = wanted.get("Name", ""), set(wanted.get("Values", []))
        if name not in offers:
            raise InvalidParameterValueException(f"Unrecognized filter name: {name}. Valid: {', '.join(offers)}")
        chosen = [item for item in chosen if values & set(offers[name](item))]
    return chosen


def page(
    items: Sequence[Item], *, records: int | None, marker: str | None, largest: int = PAGE
) -> tuple[list[Item], str | None]:
    """One page of the items, and the marker of the next or None; a marker is the position of its first item.

    :raises InvalidParameterValueException: for a page size outside of 20 to `largest`, or a marker not given by us
    """
    size = PAGE if records is None else records
    if not SMALLEST_PAGE <= size <= largest:
        raise InvalidParameterValueException(
            f"Invalid value {size} for MaxRecords: it must be between {SMALLEST_PAGE} and {largest}"
        )
    if marker and not marker.isdecimal():
        raise InvalidParameterValueException(f"Invalid marker: {marker}")
    start = int(marker or 0)
    following = start + size
    return list(items[start:following]), str(following) if following < len(items) else None
