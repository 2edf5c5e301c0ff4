"""What the bodies of all gates have in common, as lines of Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def in_the_way(found: Sequence[str], what: str) -> list[str]:
    """What would be refused right now, and why. :param what: is asked about: cutover, rollback or cleanup"""
    if not found:
        return ["Nothing stands in the way right now.", ""]
    return [f"**These stand in the way right now; the {what} would refuse:**", *(f"- {each}" for each in found), ""]


def edited(declared: Sequence[str], advice: str = "") -> list[str]:
    """How the YAML differs from the plan that is pinned. :param advice: a sentence on what to do about it"""
    if not declared:
        return []
    head = "**The YAML was edited since; what is approved is the pinned plan.**"
    return ["", f"{head} {advice}".rstrip(), *(f"- `{edit}`" for edit in declared)]
