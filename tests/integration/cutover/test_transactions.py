"""Long transactions before a cutover: waited for, ended, or a reason to refuse."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from crossfade.connect import Connection, Endpoint
from crossfade.cutover import transactions
from crossfade.cutover.transactions import LongTransactions, clear_long_transactions, long_transactions
from crossfade_lab import testing
from crossfade_lab.postgres import PostgresServer
from crossfade_lab.processes import wait_until

LONG = timedelta(milliseconds=150)
PATIENCE = timedelta(seconds=20)
MIGRATION = "crossfade"

Client = Callable[..., psycopg.Connection[Any]]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with testing.server(16) as running:
        with running.connect() as admin:
            admin.execute(f"CREATE ROLE {MIGRATION} LOGIN REPLICATION PASSWORD 'secret' IN ROLE pg_monitor")
            admin.execute("""CREATE ROLE "naïve""app" LOGIN PASSWORD 'secret'""")
            admin.execute("CREATE ROLE pooler LOGIN PASSWORD 'secret'")
            admin.execute("CREATE DATABASE neighbour")
        yield running


@pytest.fixture
def old(server: PostgresServer) -> Iterator[Connection]:
    """The migration's session on the old side, which may end the sessions of others."""
    with server.connect() as admin:
        admin.execute(f"GRANT pg_signal_backend TO {MIGRATION}")
    dsn = server.dsn(user=MIGRATION, password="secret")
    with Endpoint.from_dsn("old", dsn).session("shop/cutover") as conn:
        yield conn


@pytest.fixture
def client(server: PostgresServer, old: Connection) -> Iterator[Client]:
    """Makes sessions in a transaction that has been open for long."""
    with ExitStack() as stack:

        def begin(user: str = 'naïve"app', *, name: str = "app", dbname: str = "postgres") -> psycopg.Connection[Any]:
            dsn = server.dsn(user=user, password=None if user == "postgres" else "secret", dbname=dbname)
            conn = psycopg.connect(dsn, application_name=name)
            stack.callback(conn.close)
            conn.execute("SELECT 'held open'")
            pid = conn.info.backend_pid
            age = "SELECT clock_timestamp() - xact_start > %s AS long FROM pg_stat_activity WHERE pid = %s"
            assert wait_until(lambda: old.execute(age, [LONG, pid]).fetchone()["long"], seconds=10)  # type: ignore[index]
            return conn

        yield begin


def clear(old: Connection, policy: Any, *, timeout: timedelta = PATIENCE) -> list[str]:
    return clear_long_transactions(old, policy, older_than=LONG, timeout=timeout, exempt=["pooler"])


def alive(conn: psycopg.Connection[Any]) -> bool:
    try:
        conn.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


@pytest.mark.parametrize("policy", ["wait", "terminate", "abort"])
def test_with_nobody_there_nothing_is_done(old: Connection, policy: str) -> None:
    assert clear(old, policy) == []


def test_wait_returns_when_the_transaction_has_ended_and_says_whose_it_was(old: Connection, client: Client) -> None:
    app = client()
    timer = threading.Timer(0.5, app.rollback)
    timer.start()
    (said,) = clear(old, "wait")
    timer.join()
    assert said.startswith("waited for")
    assert f"pid {app.info.backend_pid}" in said
    assert 'naïve"app' in said
    assert "held open" in said
    assert alive(app)


def test_wait_gives_up_at_its_deadline_and_names_who_is_left(old: Connection, client: Client) -> None:
    app = client()
    with pytest.raises(LongTransactions, match=rf"after 0.3 s of waiting: pid {app.info.backend_pid} .*terminate"):
        clear(old, "wait", timeout=timedelta(seconds=0.3))
    assert alive(app)


def test_terminate_ends_the_transaction_and_leaves_a_session_that_is_idle(old: Connection, client: Client) -> None:
    app, idle = client(), client()
    idle.rollback()
    (said,) = clear(old, "terminate")
    assert said.startswith("ended the session of")
    assert f"pid {app.info.backend_pid}" in said
    assert not alive(app)
    assert alive(idle)


def test_terminate_waits_for_a_superuser_and_never_ends_it(old: Connection, client: Client) -> None:
    boss = client("postgres")
    with pytest.raises(LongTransactions, match=r"pid \d+ \(postgres, app\).*\(a superuser\)"):
        clear(old, "terminate", timeout=timedelta(seconds=0.3))
    assert alive(boss)


def test_a_role_that_may_not_end_sessions_is_told_what_it_lacks(
    server: PostgresServer, old: Connection, client: Client
) -> None:
    app = client()
    with server.connect() as admin:
        admin.execute(f"REVOKE pg_signal_backend FROM {MIGRATION}")
    with pytest.raises(LongTransactions, match="GRANT pg_signal_backend to crossfade"):
        clear(old, "terminate")
    assert alive(app)


def test_abort_refuses_at_once(old: Connection, client: Client) -> None:
    app = client()
    with pytest.raises(LongTransactions, match="1 long transaction") as caught:
        clear(old, "abort")
    assert caught.value.pids == (app.info.backend_pid,)


def test_ours_exempt_roles_and_other_databases_are_nobodys_business(old: Connection, client: Client) -> None:
    spared = [client(MIGRATION, name="crossfade/shop/wave_1"), client("pooler"), client(dbname="neighbour")]
    assert clear(old, "terminate") == []
    assert all(alive(conn) for conn in spared)


def test_the_age_is_the_transactions_not_the_sessions(old: Connection, client: Client) -> None:
    app = client()
    app.rollback()
    app.execute("SELECT 1")
    assert long_transactions(old, older_than=timedelta(minutes=1)) == []


def test_a_session_that_has_gone_on_to_another_transaction_is_not_ended(old: Connection, client: Client) -> None:
    """Between the look and the end of it."""
    app = client()
    (found,) = long_transactions(old, older_than=LONG)
    app.rollback()
    app.execute("SELECT 1")
    transactions._dealt_with(old, "terminate", found)
    assert alive(app)
