"""Names of things in a database as operators are given them: lists of parts, never quoted or joined by dots."""

from __future__ import annotations

from collections.abc import Sequence

from crossfade.errors import PreconditionError


def column(given: Sequence[str]) -> tuple[str, str, str]:
    """Schema, table and column. Raises `PreconditionError` where it is anything else."""
    schema, table, name = _parts(given, "column", ("public", "orders", "note"))
    return schema, table, name


def table(given: Sequence[str]) -> tuple[str, str]:
    """Schema and table. Raises `PreconditionError` where it is anything else."""
    schema, name = _parts(given, "table", ("public", "orders"))
    return schema, name


def _parts(given: Sequence[str], kind: str, example: tuple[str, ...]) -> Sequence[str]:
    right = not isinstance(given, str) and len(given) == len(example)
    if not right or not all(isinstance(part, str) and part for part in given):
        number = {2: "two: schema, table", 3: "three: schema, table, column"}[len(example)]
        raise PreconditionError(
            f"{given!r} is not a {kind}. Give each as a list of {number}, for example {list(example)}. "
            "Nothing was changed"
        )
    return given
