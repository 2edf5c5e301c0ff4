"""The application's login: proved on a fenced side, and through a real PgBouncer."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from crossfade.connect import Endpoint
from crossfade.cutover import logins
from crossfade.cutover.logins import (
    FenceMissing,
    LoginRefuted,
    NotThroughRouter,
    prove_login,
    smoke_through_router,
)
from crossfade.cutover.smoke import SmokeFailed
from crossfade.errors import Unreachable
from crossfade_lab import testing
from crossfade_lab.pgbouncer import Destination, PgBouncer, write_databases
from crossfade_lab.postgres import PostgresServer, binaries
from crossfade_lab.processes import LabError

APP = 'naïve"app'
THROUGH_ROUTER = "shop_app"
PASSWORD = "secret"


def make_app(server: PostgresServer, *, fenced: bool) -> None:
    with server.connect() as admin:
        admin.execute("""CREATE ROLE "naïve""app" LOGIN PASSWORD 'secret'""")
        admin.execute("CREATE ROLE shop_app LOGIN PASSWORD 'secret'")
        admin.execute("CREATE ROLE nologin NOLOGIN PASSWORD 'secret'")
        admin.execute("CREATE ROLE expired LOGIN PASSWORD 'secret' VALID UNTIL '2020-01-01'")
        admin.execute("CREATE ROLE full_up LOGIN PASSWORD 'secret' CONNECTION LIMIT 0")
        admin.execute("CREATE DATABASE shop")
        if fenced:
            admin.execute("REVOKE CONNECT ON DATABASE shop FROM PUBLIC")
    with server.connect("shop") as admin:
        admin.execute("CREATE TABLE orders (id int); GRANT ALL ON orders TO PUBLIC")


def endpoint(server: PostgresServer, user: str = "postgres", password: str | None = None) -> Endpoint:
    return Endpoint.from_dsn("shop_new", server.dsn(user=user, password=password, dbname="shop"))


def app(user: str = APP, password: str = PASSWORD) -> Endpoint:
    """What counts of it is the login: it leads to the router."""
    return Endpoint(name="shop_app", host="pooler.invalid", dbname="shop", user=user, password=password)


@pytest.fixture(scope="module", params=[15, 16, 18])
def fenced(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    try:
        binaries(request.param)  # the system's own 15 may be missing
    except LabError as error:
        pytest.skip(str(error))
    with testing.server(request.param) as running:
        make_app(running, fenced=True)
        yield running


def test_a_refusal_for_want_of_connect_proves_the_login(fenced: PostgresServer) -> None:
    prove_login(app(), endpoint(fenced))


@pytest.mark.parametrize(
    ("user", "password", "sqlstate", "remedy"),
    [
        (APP, "wrong", "28P01", "ALTER ROLE … PASSWORD"),
        (APP, "", "28P01", "ALTER ROLE … PASSWORD"),
        ("nobody", "secret", "28P01", "the role does not exist"),
        ("expired", "secret", "28P01", "has expired"),
        ("nologin", "secret", "28000", "ALTER ROLE … LOGIN"),
    ],
)
def test_a_login_that_is_not_accepted_is_refuted_and_its_password_is_not_shown(
    fenced: PostgresServer, user: str, password: str, sqlstate: str, remedy: str
) -> None:
    with pytest.raises(LoginRefuted) as caught:
        prove_login(app(user, password), endpoint(fenced))
    assert caught.value.sqlstate == sqlstate
    assert remedy in str(caught.value)
    assert repr(user) in str(caught.value)
    assert password == "" or password not in str(caught.value).replace("another", "")


def test_a_role_with_no_connection_left_proves_nothing(fenced: PostgresServer) -> None:
    with pytest.raises(Unreachable, match="53300"):
        prove_login(app("full_up"), endpoint(fenced))


def test_a_database_that_is_missing_is_named(fenced: PostgresServer) -> None:
    with pytest.raises(LoginRefuted, match="There is no such database"):
        prove_login(app(), replace(endpoint(fenced), dbname="nowhere"))


def test_a_server_that_does_not_answer_proves_nothing(fenced: PostgresServer) -> None:
    with pytest.raises(Unreachable, match="shop_new"):
        prove_login(app(), replace(endpoint(fenced), port=1))


def test_tls_is_as_the_connection_says(fenced: PostgresServer) -> None:
    prove_login(app(), replace(endpoint(fenced), options={"sslmode": "disable", "connect_timeout": "3"}))
    with pytest.raises(Unreachable, match="SSL"):
        prove_login(app(), replace(endpoint(fenced), options={"sslmode": "require"}))


def test_a_side_that_lets_the_application_in_is_an_alarm(fenced: PostgresServer) -> None:
    with fenced.connect() as admin:
        admin.execute("GRANT CONNECT ON DATABASE shop TO PUBLIC")
        try:
            with pytest.raises(FenceMissing, match="must be closed"):
                prove_login(app(), endpoint(fenced))
        finally:
            admin.execute("REVOKE CONNECT ON DATABASE shop FROM PUBLIC")


@pytest.fixture(scope="module")
def sides() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    with testing.cluster_pair(16, 18) as pair:
        for server in pair:
            make_app(server, fenced=False)
        yield pair


@pytest.fixture
def router(sides: tuple[PostgresServer, PostgresServer]) -> Iterator[PgBouncer]:
    """It leads to the new side."""
    with testing.scratch_directory() as directory:
        databases = directory / "databases.ini"
        lead(databases, sides[1])
        with PgBouncer(directory / "bouncer", databases, {THROUGH_ROUTER: PASSWORD}) as bouncer:
            yield bouncer


def lead(databases: Path, server: PostgresServer) -> None:
    to = Destination(host=server.host, port=server.port, dbname="shop")
    write_databases(databases, {"shop": to})


def console(router: PgBouncer, command: str) -> None:
    with psycopg.connect(router.admin_dsn(), autocommit=True) as conn:
        conn.execute(command.encode())


def through(router: PgBouncer) -> Endpoint:
    return Endpoint.from_dsn("shop_app", router.dsn(THROUGH_ROUTER, "shop"))


def expected(server: PostgresServer) -> str:
    with endpoint(server, "postgres", server.password).session("shop/cutover") as conn:
        return logins.identity(conn)


def soon(seconds: float = 10) -> float:
    return time.monotonic() + seconds


def test_the_application_reaches_the_new_side_through_the_router_and_leaves_nothing(
    sides: tuple[PostgresServer, PostgresServer], router: PgBouncer
) -> None:
    statements = ["insert into orders values (1)", "select 1/count(*) from orders"]
    smoke_through_router(through(router), statements, expect=expected(sides[1]), deadline=soon())
    with sides[1].connect("shop") as admin:
        assert admin.execute("SELECT count(*) FROM orders").fetchone() == (0,)
    with psycopg.connect(router.dsn(THROUGH_ROUTER, "shop"), autocommit=True) as conn:
        assert conn.execute("SHOW statement_timeout").fetchone() == ("0",), "the pooled session is as it was"


def test_a_router_that_leads_to_the_old_side_is_found_out(
    sides: tuple[PostgresServer, PostgresServer], router: PgBouncer
) -> None:
    with pytest.raises(NotThroughRouter, match="does not lead to the new side"):
        smoke_through_router(through(router), ["select 1"], expect=expected(sides[0]), deadline=soon(0.5))


def test_a_router_that_is_late_is_waited_for(sides: tuple[PostgresServer, PostgresServer], router: PgBouncer) -> None:
    lead(router.databases, sides[0])
    console(router, "RELOAD")

    def switch() -> None:
        lead(router.databases, sides[1])
        console(router, "RELOAD")

    timer = threading.Timer(0.7, switch)
    timer.start()
    smoke_through_router(through(router), ["select 1"], expect=expected(sides[1]), deadline=soon())
    assert timer.finished.is_set()


def test_a_router_that_holds_its_clients_is_given_up_at_the_deadline(
    sides: tuple[PostgresServer, PostgresServer], router: PgBouncer
) -> None:
    expect = expected(sides[1])
    console(router, "PAUSE shop")
    start = time.monotonic()
    with pytest.raises(NotThroughRouter):
        smoke_through_router(through(router), ["select 1"], expect=expect, deadline=soon(1))
    assert time.monotonic() - start < 5


def test_a_router_that_is_gone_is_named(sides: tuple[PostgresServer, PostgresServer], router: PgBouncer) -> None:
    expect = expected(sides[1])
    router.stop()
    with pytest.raises(NotThroughRouter, match=r"'shop_app'.*See where the router sends clients"):
        smoke_through_router(through(router), ["select 1"], expect=expect, deadline=soon(0.5))


@pytest.mark.parametrize(
    ("statement", "reason"),
    [("select * from missing", "does not exist"), ("commit", "not allowed"), ("select 1; select 2", "multiple")],
)
def test_a_statement_that_fails_is_named_and_not_tried_again(
    sides: tuple[PostgresServer, PostgresServer], router: PgBouncer, statement: str, reason: str
) -> None:
    start = time.monotonic()
    with pytest.raises(SmokeFailed, match=reason):
        smoke_through_router(through(router), [statement], expect=expected(sides[1]), deadline=soon(30))
    assert time.monotonic() - start < 10


def test_two_databases_of_a_server_and_two_servers_are_told_apart(sides: tuple[PostgresServer, PostgresServer]) -> None:
    with endpoint(sides[1], "postgres", sides[1].password).with_database("postgres").session("x") as conn:
        assert len({logins.identity(conn), expected(sides[0]), expected(sides[1])}) == 3


def test_it_can_be_called_where_an_event_loop_runs_in_another_thread(fenced: PostgresServer) -> None:
    async def within() -> None:
        await asyncio.to_thread(prove_login, app(), endpoint(fenced))

    asyncio.run(within())
