"""Parts of a table cover every page once, and their COPY statements quote whatever a name holds."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.catalog import Table
from crossfade.engines.logical.copy import Part, parts

PAGE = 8192


@given(
    pages=st.integers(min_value=0, max_value=300),
    toast=st.integers(min_value=0, max_value=2**36),
    largest=st.integers(min_value=1, max_value=2**40),
)
def test_every_page_is_in_exactly_one_part_and_the_last_is_open(
    make_table: Callable[..., Table], pages: int, toast: int, largest: int
) -> None:
    found = list(parts(make_table(bytes=pages * PAGE + toast, pages=pages), largest))
    assert found[0].first_page == 0
    assert found[-1].end_page is None
    assert [part.end_page for part in found[:-1]] == [part.first_page for part in found[1:]]
    assert all(part.end_page > part.first_page for part in found if part.end_page is not None)


@given(
    pages=st.integers(min_value=1, max_value=300),
    largest=st.integers(min_value=PAGE, max_value=2**30),
)
def test_parts_are_as_large_as_asked_for_to_within_a_page(
    make_table: Callable[..., Table], pages: int, largest: int
) -> None:
    table = make_table(bytes=pages * PAGE, pages=pages)
    found = list(parts(table, largest))
    assert all(part.bytes <= largest + PAGE for part in found)
    assert sum(part.bytes for part in found) == table.bytes


def test_a_table_that_is_not_larger_is_copied_whole(make_table: Callable[..., Table]) -> None:
    table = make_table(bytes=10 * PAGE, pages=10)
    assert list(parts(table, 10 * PAGE)) == [Part(table=table, first_page=0, end_page=None)]
    assert len(list(parts(table, 10 * PAGE - 1))) == 2


def test_an_empty_table_is_one_part(make_table: Callable[..., Table]) -> None:
    (part,) = parts(make_table(bytes=0, pages=0), PAGE)
    assert part.bytes == 0
    assert part.copy_out() == 'COPY "public"."orders" ("id") TO STDOUT (FORMAT binary)'


@pytest.mark.parametrize(
    ("name", "quoted"),
    [("Order Items", '"Order Items"'), ("select", '"select"'), ('naïve"quote', '"naïve""quote"'), ("a.b", '"a.b"')],
)
def test_strange_names_are_quoted_everywhere(make_table: Callable[..., Table], name: str, quoted: str) -> None:
    table = make_table(name, schema=name, columns=(name, "id"), pages=30, bytes=30 * PAGE)
    whole = Part(table=table, first_page=0, end_page=None)
    assert whole.copy_out() == f'COPY {quoted}.{quoted} ({quoted}, "id") TO STDOUT (FORMAT binary)'
    assert whole.copy_in() == f'COPY {quoted}.{quoted} ({quoted}, "id") FROM STDIN (FORMAT binary)'
    middle = Part(table=table, first_page=10, end_page=20)
    expected = (
        "COPY (SELECT §, \"id\" FROM ONLY §.§ WHERE ctid >= '(10,0)'::tid AND ctid < '(20,0)'::tid)"
        " TO STDOUT (FORMAT binary)"
    )
    assert middle.copy_out() == expected.replace("§", quoted)
    assert middle.copy_in() == whole.copy_in()


def test_the_last_part_takes_the_rows_that_came_after_it_was_planned(make_table: Callable[..., Table]) -> None:
    *_, last = parts(make_table(bytes=30 * PAGE, pages=30), 10 * PAGE)
    assert "WHERE ctid >= '(20,0)'::tid) TO STDOUT" in last.copy_out()


def test_generated_columns_do_not_travel(make_table: Callable[..., Table]) -> None:
    part = Part(table=make_table(columns=("id", "total"), generated=("total",)), first_page=0, end_page=None)
    assert "total" not in part.copy_out() + part.copy_in()


def test_one_column_without_a_portable_binary_form_makes_the_table_travel_as_text(
    make_table: Callable[..., Table],
) -> None:
    part = Part(table=make_table(columns=("id", "kind"), text_only=("kind",)), first_page=0, end_page=None)
    assert part.copy_out().endswith("TO STDOUT (FORMAT text, ENCODING 'UTF8')")
    assert part.copy_in().endswith("FROM STDIN (FORMAT text, ENCODING 'UTF8')")


def test_a_generated_column_does_not_decide_the_format(make_table: Callable[..., Table]) -> None:
    table = make_table(columns=("id", "kind"), text_only=("kind",), generated=("kind",))
    assert "FORMAT binary" in Part(table=table, first_page=0, end_page=None).copy_out()
