"""PgBouncer's [databases] as text: what is read is what PgBouncer reads, and a rewrite touches only our own lines."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crossfade.routers.pgbouncer_ini import Destination, UnreadableIni, destinations, parameters, quote, rewrite

TARGET = Destination(host="new.example", port=5433, dbname="shop")

FILE = """\
; our databases
%include /etc/pgbouncer/users.ini
[databases]
shop = host=old.example port=5432 dbname=shop pool_size=20 user=app
# shop = host=commented.example
shop_ro=host='old.example'  port = 5432
other = host=old.example dbname=shop connect_query='select ''1'''

[pgbouncer]
shop = 1
"""


def test_only_host_port_and_dbname_of_our_names_change() -> None:
    assert rewrite(FILE, ["shop", "shop_ro"], TARGET) == FILE.replace(
        "shop = host=old.example port=5432 dbname=shop pool", "shop = host=new.example port=5433 dbname=shop pool"
    ).replace("shop_ro=host='old.example'  port = 5432\n", "shop_ro=host=new.example  port = 5433 dbname=shop\n")


def test_a_rewrite_to_where_it_leads_already_changes_nothing() -> None:
    once = rewrite(FILE, ["shop"], TARGET)
    assert rewrite(once, ["shop"], TARGET) == once


def test_a_line_without_parameters_gets_all_three() -> None:
    assert rewrite("[databases]\nshop =", ["shop"], TARGET) == (
        "[databases]\nshop =host=new.example port=5433 dbname=shop"
    )


def test_a_text_without_a_section_is_read_as_one_included_inside_it() -> None:
    assert destinations("shop = host=a") == {"shop": Destination(host="a", port=5432, dbname="shop")}


def test_line_ends_of_windows_stay() -> None:
    assert rewrite("[databases]\r\nshop = host=a\r\n", ["shop"], TARGET) == (
        "[databases]\r\nshop = host=new.example port=5433 dbname=shop\r\n"
    )


def test_the_last_line_and_the_last_parameter_count_and_all_are_rewritten() -> None:
    text = "[databases]\nshop = host=a port=1\nshop = host=b port=2 port=3\n"
    assert destinations(text)["shop"] == Destination(host="b", port=3, dbname="shop")
    assert rewrite(text, ["shop"], TARGET).count("5433") == 3


def test_parameters_are_shown_unquoted() -> None:
    assert parameters(FILE, "other")["connect_query"] == "select '1'"


@pytest.mark.parametrize("name", ["sho", "shop_", "SHOP"])
def test_a_missing_name_is_refused(name: str) -> None:
    with pytest.raises(UnreadableIni, match=name):
        rewrite(FILE, ["shop", name], TARGET)


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("shop = host=a dbname=shop # comment", "line 3"),
        ("shop = host=a dbname=''", "line 3"),
        ("shop = host=a dbname='shop", "line 3"),
        ("shop = host=a dbname='shop'pool_size=3", "line 3"),
        ("shop = host=a port=x", "line 3"),
        ('"shop" = host=a', "line 3"),
        ("shop host=a", "line 3"),
        ("[databases", "line 3"),
    ],
)
def test_what_pgbouncer_would_stop_at_is_refused_with_its_line(line: str, seen: str) -> None:
    with pytest.raises(UnreadableIni, match=seen):
        destinations(f"[databases]\n\n{line}\n")


@pytest.mark.parametrize("value", ["", "two\nlines", "a\0b"])
def test_a_value_that_no_file_can_hold_is_refused(value: str) -> None:
    with pytest.raises(UnreadableIni):
        quote(value)


values = st.text(st.characters(codec="utf-8", exclude_characters="\n\0"), min_size=1)
names = st.text("abcXYZ019_.-", min_size=1, max_size=6)
lines = st.one_of(
    st.sampled_from(["", "; comment = host=x", "# other", "   "]),
    st.builds(
        lambda name, host, extra: f"{name} = host={quote(host)} {extra}",
        names,
        values,
        st.sampled_from(["", "pool_size=3", "port=6000 user=me", "dbname='a b' password='it''s'"]),
    ),
)


@given(host=values, dbname=values, port=st.integers(1, 65535))
def test_any_name_survives_writing_and_reading(host: str, dbname: str, port: int) -> None:
    to = Destination(host=host, port=port, dbname=dbname)
    assert destinations(rewrite("[databases]\nshop = pool_size=3\n", ["shop"], to))["shop"] == to


@given(body=st.lists(lines, max_size=8), ours=st.sets(names, min_size=1, max_size=3), to=values)
def test_other_lines_stay_to_the_byte(body: list[str], ours: set[str], to: str) -> None:
    text = "\n".join(["[databases]", *(f"{name} = host=old" for name in sorted(ours)), *body])
    after = rewrite(text, ours, Destination(host=to, port=1, dbname="x"))
    assume("\r" not in text + to)
    old, new = text.split("\n"), after.split("\n")
    assert len(old) == len(new)
    for before, now in zip(old, new, strict=True):
        if before.split(" = ")[0] not in ours:
            assert now == before
    assert {name: where for name, where in destinations(after).items() if name not in ours} == {
        name: where for name, where in destinations(text).items() if name not in ours
    }
    assert all(destinations(after)[name] == Destination(host=to, port=1, dbname="x") for name in ours)


@given(st.text(alphabet="[]databseshop=' \n;#%include.\t1\r", max_size=60))
def test_no_text_breaks_the_reader_otherwise_than_by_refusing(text: str) -> None:
    try:
        destinations(text)
    except UnreadableIni:
        pass
