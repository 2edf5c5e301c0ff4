"""Differences read well; sequences are behind only in their own direction."""

from __future__ import annotations

import pytest

from crossfade.schema.compare import Difference, SequenceState, _behind


def test_a_difference_says_what_each_side_has() -> None:
    told = str(Difference(kind="column", identity="public.t.a", on_source="integer", on_target="bigint"))
    assert told == "column public.t.a: the source has 'integer', the target 'bigint'"


def test_a_difference_says_which_side_lacks_it() -> None:
    assert "missing on the target" in str(Difference(kind="index", identity="i", on_source="x", on_target=None))
    assert "only on the target" in str(Difference(kind="index", identity="i", on_source=None, on_target="x"))


def test_long_definitions_are_shown_as_a_diff() -> None:
    told = str(Difference(kind="function", identity="f()", on_source="a\nb\nc", on_target="a\nB\nc"))
    assert told.splitlines()[0] == "function f():"
    assert "-b" in told.splitlines()
    assert "+B" in told.splitlines()


@pytest.mark.parametrize(
    ("source", "target", "behind"),
    [
        ((10, True, 1), (10, True, 1), False),
        ((10, True, 1), (9, True, 1), True),
        ((10, True, 1), (11, False, 1), False),  # 11 was not handed out yet, and is next on both
        ((10, False, 1), (9, True, 1), False),
        ((10, True, 1), (10, False, 1), True),
        ((-10, True, -2), (-8, True, -2), True),
        ((-10, True, -2), (-1000, True, -2), False),
    ],
)
def test_a_sequence_is_behind_when_it_would_repeat_a_number(source, target, behind) -> None:
    here, there = (
        SequenceState(last_value=last, is_called=called, increment=increment)
        for last, called, increment in (source, target)
    )
    assert _behind(there, here) is behind


def test_a_missing_sequence_is_behind() -> None:
    assert _behind(None, SequenceState(last_value=1, is_called=False, increment=1))
