"""The fence: who is kept off, who is not, and that lifting it restores exactly what was."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from crossfade import control
from crossfade.connect import Connection, Endpoint
from crossfade.cutover import fence
from crossfade.errors import DeadlineExceeded
from crossfade.routers.base import Side
from crossfade_lab import testing


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[testing.ShopPair, Any]]:
    with (
        testing.server(16, settings={"max_prepared_transactions": "5"}) as server,
        testing.shop(server, rows=200) as logins,
    ):
        yield testing.ShopPair(source=server, target=server, logins=logins), server


@pytest.fixture
def source(servers: tuple[testing.ShopPair, Any]) -> Iterator[Connection]:
    with Endpoint.from_dsn("shop_source", servers[0].dsn("source")).session("test") as conn:
        control.install(conn, Side.SOURCE)
        yield conn
        with conn.transaction():
            fence.lift(conn, "shop")


def close(conn: Connection) -> list[str]:
    exempt = fence.exempt_roles(conn)
    fence.close(conn, plan="shop", exempt=exempt)
    return exempt


def rights(server: Any) -> list[Any]:
    """Who may connect, whatever way the catalog writes it."""
    with server.connect("shop") as admin:
        return sorted(
            admin.execute("""
                SELECT grantee::regrole::text, privilege_type, is_grantable
                FROM pg_database, aclexplode(COALESCE(datacl, acldefault('d', datdba)))
                WHERE datname = 'shop' AND grantee <> 'crossfade'::regrole""").fetchall()
        )


def test_applications_are_kept_off_and_lifting_restores_exactly(servers: Any, source: Connection) -> None:
    pair, server = servers
    with server.connect("shop") as admin:
        admin.execute("REVOKE CONNECT ON DATABASE shop FROM PUBLIC")
        admin.execute("GRANT CONNECT ON DATABASE shop TO shop_app WITH GRANT OPTION")
        admin.execute("GRANT CONNECT ON DATABASE shop TO shop_readers")
    before = rights(server)

    close(source)

    for role in ("shop_app", "shop_bi", "shop_owner"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(pair.dsn("source", role))
    psycopg.connect(pair.dsn("source", "crossfade")).close()
    close(source)  # a second fence keeps what the first one found
    with source.transaction():
        fence.lift(source, "shop")
    assert rights(server) == before
    psycopg.connect(pair.dsn("source", "shop_app")).close()
    with server.connect("shop") as admin:
        admin.execute("GRANT CONNECT ON DATABASE shop TO PUBLIC")


def test_sessions_of_applications_are_ended(servers: Any, source: Connection) -> None:
    pair, _ = servers
    clients = [psycopg.connect(pair.dsn("source", "shop_app")) for _ in range(3)]
    exempt = close(source)
    assert fence.sweep(source, exempt=exempt, deadline=time.monotonic() + 60) == 3
    for client in clients:
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")


def test_a_neighbouring_database_stays_open(servers: Any, source: Connection) -> None:
    pair, server = servers
    with server.connect() as admin:
        admin.execute("CREATE DATABASE neighbour")
    close(source)
    psycopg.connect(pair.dsn("source", "shop_app") + " dbname=neighbour").close()


def test_a_prepared_transaction_is_named(servers: Any, source: Connection) -> None:
    _, server = servers
    with server.connect("shop") as admin:
        admin.execute("BEGIN; INSERT INTO customers (email, name) VALUES ('p@x', 'p'); PREPARE TRANSACTION 'later'")
    exempt = close(source)
    with pytest.raises(fence.FenceIncomplete, match="later"):
        fence.sweep(source, exempt=exempt, deadline=time.monotonic() + 5)
    with server.connect("shop") as admin:
        admin.execute("ROLLBACK PREPARED 'later'")


def test_a_superuser_session_that_cannot_be_ended_is_named(servers: Any, source: Connection) -> None:
    _, server = servers
    with server.connect("shop", application_name="a dashboard"):
        exempt = close(source)
        with pytest.raises(fence.FenceIncomplete, match=r"postgres is connected .* a dashboard"):
            fence.sweep(source, exempt=exempt, deadline=time.monotonic() + 5)


def test_a_process_that_shows_only_in_its_locks_is_waited_for(
    servers: Any, source: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login past its role check is not in pg_stat_activity yet; a session that is hidden there stands in for it."""
    pair, _ = servers
    hidden = fence._QUERIES["strangers"] + " AND application_name <> 'half logged in'"
    locked = fence._QUERIES["half_logged_in"].replace(
        "a.pid = l.pid AND", "a.pid = l.pid AND a.application_name <> 'half logged in' AND"
    )
    monkeypatch.setitem(fence._QUERIES, "strangers", hidden)
    monkeypatch.setitem(fence._QUERIES, "half_logged_in", locked)
    client = psycopg.connect(pair.dsn("source", "shop_app") + " application_name='half logged in'")
    client.execute("SELECT * FROM orders LIMIT 1")
    exempt = close(source)
    with pytest.raises(DeadlineExceeded, match=rf"logins under way \[{client.info.backend_pid}\]"):
        fence.sweep(source, exempt=exempt, deadline=time.monotonic() + 0.3)
    leave = threading.Timer(0.2, client.close)
    leave.start()
    fence.sweep(source, exempt=exempt, deadline=time.monotonic() + 60)
    leave.join()


def test_a_role_that_reaches_in_through_an_exempt_one_is_refused(servers: Any, source: Connection) -> None:
    _, server = servers
    with server.connect("shop") as admin:
        admin.execute("GRANT crossfade TO shop_bi")
    try:
        with pytest.raises(fence.FenceIncomplete, match="shop_bi would still be let in"):
            close(source)
        assert not fence.is_fenced(source), "all or nothing"
    finally:
        with server.connect("shop") as admin:
            admin.execute("REVOKE crossfade FROM shop_bi")


def test_a_second_way_to_grant_does_not_turn_the_fence_into_nothing(servers: Any, source: Connection) -> None:
    """Where the migration role has the grant option by another role too, PostgreSQL may revoke in that one's name."""
    pair, server = servers
    with server.connect("shop") as admin:
        admin.execute("CREATE ROLE granter")
        admin.execute("UPDATE pg_authid SET oid = 15999 WHERE rolname = 'granter'")  # found before the owner
        admin.execute("GRANT CONNECT ON DATABASE shop TO granter WITH GRANT OPTION")
        admin.execute("GRANT granter TO crossfade")
    close(source)
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(pair.dsn("source", "shop_app"))
    with source.transaction():
        fence.lift(source, "shop")
    psycopg.connect(pair.dsn("source", "shop_app")).close()
    with server.connect("shop") as admin:
        admin.execute("REVOKE CONNECT ON DATABASE shop FROM granter")
        admin.execute("REVOKE granter FROM crossfade")
        admin.execute("DROP ROLE granter")


def test_another_plan_cannot_open_what_this_one_closed(servers: Any, source: Connection) -> None:
    pair, _ = servers
    close(source)
    with source.transaction():
        fence.lift(source, "another")
    assert fence.is_fenced(source)
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(pair.dsn("source", "shop_app"))
