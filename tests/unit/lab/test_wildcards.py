"""Patterns of table mappings, by the examples of the user guide and by the names that are hard to mean."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.engines.dms.names import pattern
from crossfade_lab.aws.wildcards import matches


@pytest.mark.parametrize(
    ("wildcards", "fitting", "others"),
    [
        ("%", ["", "a", "two\nlines"], []),
        ("order%", ["order", "order_items"], ["Order", "reorder"]),
        ("a_c", ["abc", "a_c"], ["ac", "abbc"]),
        ("a[_]c", ["a_c"], ["abc"]),
        ("[%]", ["%"], ["a", "[%]"]),
        ("[[]x]", ["[x]"], ["x"]),
        ("t[ab]", ["ta", "tb"], ["tc", "tab", "t[ab]"]),
        ("t[a-d]", ["ta", "tc", "td"], ["te", "t-"]),
        ("t[a-]", ["ta", "t-"], ["tb"]),
        ("t[^a]", ["t^", "ta"], ["tb"]),
        ("t[d-a]", ["td", "ta"], ["tb", "t-"]),
        ("t[\\]", ["t\\"], ["t"]),
        ("t[", ["t["], ["t"]),
        ("t[]", ["t[]"], ["t"]),
        ("a.c", ["a.c"], ["abc"]),
    ],
)
def test_what_a_pattern_fits(wildcards: str, fitting: list[str], others: list[str]) -> None:
    assert [name for name in fitting if not matches(wildcards, name)] == []
    assert [name for name in others if matches(wildcards, name)] == []


@given(st.text(alphabet='aZ_%[]-^\\é "', min_size=1, max_size=8), st.text(alphabet='aZ_%[]-^\\é "', max_size=8))
def test_the_product_s_patterns_fit_their_own_name_and_no_other(name: str, other: str) -> None:
    assert matches(pattern(name), name)
    assert matches(pattern(name), other) == (name == other)


@given(st.text(alphabet="ab_%", max_size=6), st.text(alphabet="ab_%", max_size=6))
def test_without_brackets_it_is_like(wildcards: str, name: str) -> None:
    expression = "".join({"%": ".*", "_": "."}.get(sign, sign) for sign in wildcards)
    assert matches(wildcards, name) == bool(re.fullmatch(expression, name))
