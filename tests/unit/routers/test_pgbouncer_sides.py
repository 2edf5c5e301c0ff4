"""Which side a PgBouncer leads to, told by host name first and by address second."""

import pytest

from crossfade.connect import Endpoint
from crossfade.routers.base import Side
from crossfade.routers.pgbouncer_ini import Destination
from crossfade.routers.pgbouncer_sides import Sides


def sides(source: str = "127.0.0.1", target: str = "localhost", *, port: int = 5432) -> Sides:
    return Sides(
        {
            Side.SOURCE: Endpoint(name="a", host=source, port=5432, dbname="shop", user="x"),
            Side.TARGET: Endpoint(name="b", host=target, port=port, dbname="shop", user="x"),
        },
        ["shop"],
    )


def seen(host: str, port: int = 5432, dbname: str = "shop") -> Destination:
    return Destination(host=host, port=port, dbname=dbname)


def test_the_very_name_goes_before_the_address() -> None:
    assert sides().of(seen("127.0.0.1")) is Side.SOURCE
    assert sides().of(seen("LOCALHOST")) is Side.TARGET


def test_an_address_is_recognised_where_only_one_side_has_it() -> None:
    assert sides(target="localhost", port=5433).of(seen("localhost")) is Side.SOURCE
    assert sides(source="::1", port=5433).of(seen("127.0.0.1", 5433)) is Side.TARGET


@pytest.mark.parametrize(
    "where",
    [seen("127.0.0.1", 5433), seen("127.0.0.1", dbname="other"), seen("elsewhere.invalid"), seen(""), seen("/tmp")],
)
def test_neither(where: Destination) -> None:
    assert sides().of(where) is None


def test_two_sides_that_are_one_cannot_be_told_apart() -> None:
    assert sides(target="127.0.0.1").of(seen("127.0.0.1")) is None
