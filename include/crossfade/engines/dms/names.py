"""Names of tables in DMS's table mappings, where some characters are wildcards.

User guide, "Wildcards in table mapping": ``%`` is any number of characters, ``_`` one, ``[ab]`` one of a set.
"""

from __future__ import annotations

_WILDCARDS = "%_["


def pattern(name: str) -> str:
    """A pattern that matches exactly this name: each wildcard as a set of one character."""
    return "".join(f"[{character}]" if character in _WILDCARDS else character for character in name)


def addressable(schema: str, name: str) -> bool:
    """
    Whether a rule may name the table without a pattern: an `explicit` selection, or settings of its own.

    User guide, "Wildcards in table-settings are restricted": a percent sign is refused there, and cannot be escaped.
    """
    return "%" not in schema + name
