"""An endpoint says where it is, never how it gets in."""

import os

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from crossfade.connect import Endpoint

SECRET = "hunter2'\\ x"


def endpoint(**changes: object) -> Endpoint:
    described = {"name": "shop_source", "host": "db.example", "dbname": "shop", "user": "crossfade", "password": SECRET}
    return Endpoint(**{**described, **changes})  # type: ignore[arg-type]


@given(st.text(min_size=8))
def test_neither_repr_nor_str_nor_address_shows_a_secret(secret: str) -> None:
    shown = endpoint(password=secret + "§", options={"sslmode": "require", "sslpassword": secret + "§"})
    for text in (repr(shown), str(shown), f"{shown}", shown.address, repr([shown]), repr(shown.with_database("other"))):
        assert "§" not in text
    assert shown.address == "db.example:5432/shop"


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_a_conninfo_carries_any_password_unharmed(password: str) -> None:
    assert conninfo_to_dict(endpoint(password=password).conninfo()).get("password", "") == password


def test_an_extra_keyword_wins_over_the_options() -> None:
    found = conninfo_to_dict(endpoint(options={"connect_timeout": "3"}).conninfo(connect_timeout="10"))
    assert found["connect_timeout"] == "10"


def test_client_programs_get_everything_through_their_environment() -> None:
    options = {
        "sslmode": "verify-full",
        "sslrootcert": "/etc/ca.pem",
        "ssl_min_protocol_version": "TLSv1.3",
        "channel_binding": "require",
        "keepalives_idle": "30",
    }
    assert endpoint(options=options, port=5433).environment() == {
        "PGHOST": "db.example",
        "PGPORT": "5433",
        "PGDATABASE": "shop",
        "PGUSER": "crossfade",
        "PGPASSWORD": SECRET,
        "PGCONNECT_TIMEOUT": "10",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/etc/ca.pem",
        "PGSSLMINPROTOCOLVERSION": "TLSv1.3",
        "PGCHANNELBINDING": "require",
    }


def test_an_endpoint_does_not_rename_client_programs() -> None:
    options = {"application_name": "mine", "client_encoding": "latin1"}
    assert not {"PGAPPNAME", "PGCLIENTENCODING"} & endpoint(options=options).environment().keys()


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://crossfade:s%40cret@db.example:5433/shop?sslmode=require",
        "host=db.example port=5433 dbname=shop user=crossfade password='s@cret' sslmode=require",
    ],
)
def test_a_dsn_is_read_in_both_forms(dsn: str) -> None:
    read = Endpoint.from_dsn("shop_source", dsn)
    assert read == Endpoint(
        name="shop_source",
        host="db.example",
        port=5433,
        dbname="shop",
        user="crossfade",
        password="s@cret",
        options={"sslmode": "require"},
    )


def test_a_dsn_without_a_login_takes_it_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PGUSER", "somebody")
    monkeypatch.setenv("PGPASSWORD", "word")
    read = Endpoint.from_dsn("x", "dbname=shop")
    assert (read.host, read.port, read.user, read.password) == ("localhost", 5432, "somebody", "word")


@pytest.mark.parametrize("dsn", ["host", "nonsense=1", "host=a,b port=1,2", "port=many"])
def test_a_malformed_dsn_is_refused(dsn: str) -> None:
    with pytest.raises(psycopg.ProgrammingError):
        Endpoint.from_dsn("x", dsn)


def test_another_database_of_the_same_server_keeps_the_rest() -> None:
    other = endpoint(options={"sslmode": "require"}).with_database("postgres")
    assert (other.dbname, other.password, other.options) == ("postgres", SECRET, {"sslmode": "require"})
