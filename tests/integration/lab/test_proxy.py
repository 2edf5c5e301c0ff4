"""The proxy passes traffic on, and its line can be cut, left hanging, restored and delayed."""

import os
import signal
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from crossfade_lab import processes, testing
from crossfade_lab.postgres import PostgresServer
from crossfade_lab.processes import LabError
from crossfade_lab.proxy import Existing, New, Proxy


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with testing.server(18) as running:
        yield running


@pytest.fixture
def proxy(server: PostgresServer) -> Iterator[Proxy]:
    with Proxy(server.host, server.port) as running:
        yield running


def through(proxy: Proxy, server: PostgresServer, **options: object) -> psycopg.Connection:
    """A session on the server by way of the proxy."""
    return psycopg.connect(server.dsn(), host=proxy.host, port=proxy.port, autocommit=True, **options)  # type: ignore[arg-type]


def one(connection: psycopg.Connection, query: str = "SELECT 1") -> object:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_everything_passes_both_ways(proxy: Proxy, server: PostgresServer) -> None:
    with through(proxy, server) as first, through(proxy, server) as second:
        assert one(first) == one(second) == 1
        assert one(first, "SELECT repeat('x', 20000000)") == "x" * 20_000_000
        assert first.execute("SELECT length(%s)", ["y" * 20_000_000]).fetchone() == (20_000_000,)
        assert (proxy.traffic().connections, proxy.traffic().accepted) == (2, 2)
    assert processes.wait_until(lambda: proxy.traffic().connections == 0, seconds=10)


def test_the_end_of_a_session_is_passed_on(proxy: Proxy, server: PostgresServer) -> None:
    with through(proxy, server) as doomed, server.connect() as admin:
        admin.execute("SELECT pg_terminate_backend(%s)", [doomed.info.backend_pid])
        with pytest.raises(psycopg.errors.AdminShutdown):
            one(doomed)
        survivor = through(proxy, server)
        pid = survivor.info.backend_pid
        survivor.close()
        gone = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)"
        assert processes.wait_until(lambda: admin.execute(gone, [pid]).fetchone() == (True,), seconds=10)


def test_a_cut_resets_sessions_and_refuses_new_ones_until_it_is_restored(proxy: Proxy, server: PostgresServer) -> None:
    before = proxy.port
    with through(proxy, server) as open_session:
        proxy.cut()
        with pytest.raises(psycopg.OperationalError):
            one(open_session)
        with pytest.raises(psycopg.OperationalError, match="refused"):
            through(proxy, server)
        assert proxy.traffic().connections == 0
    proxy.cut()  # twice is once
    proxy.restore()
    proxy.restore()
    assert proxy.port == before
    with through(proxy, server) as again:
        assert one(again) == 1


def test_a_session_in_a_black_hole_learns_nothing_and_goes_on_when_it_is_restored(
    proxy: Proxy, server: PostgresServer
) -> None:
    with through(proxy, server) as hanging, server.connect() as admin, ThreadPoolExecutor(1) as pool:
        hanging.execute("CREATE TABLE seen (n int)")
        proxy.cut(existing=Existing.BLACKHOLE, new=New.BLACKHOLE)
        inserted = pool.submit(hanging.execute, "INSERT INTO seen VALUES (1)")
        with pytest.raises(psycopg.OperationalError, match="timeout"):
            through(proxy, server, connect_timeout=2)
        assert not inserted.done()
        assert admin.execute("SELECT count(*) FROM seen").fetchone() == (0,)
        proxy.restore()
        assert inserted.result(10).rowcount == 1
        assert admin.execute("SELECT count(*) FROM seen").fetchone() == (1,)


def test_a_connection_made_in_a_black_hole_is_served_when_it_is_restored(proxy: Proxy, server: PostgresServer) -> None:
    proxy.cut(existing=Existing.RESET, new=New.BLACKHOLE)
    with socket.create_connection((proxy.host, proxy.port), timeout=10) as waiting:
        waiting.sendall(bytes([0, 0, 0, 8, 4, 210, 22, 47]))  # PostgreSQL's SSLRequest; answered with one letter
        waiting.settimeout(0.3)
        with pytest.raises(TimeoutError):
            waiting.recv(1)
        proxy.restore()
        waiting.settimeout(10)
        assert waiting.recv(1) == b"N"


def test_an_end_is_not_seen_through_a_black_hole(proxy: Proxy, server: PostgresServer) -> None:
    with server.connect() as admin:
        leaving = through(proxy, server)
        there = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
        pid = leaving.info.backend_pid
        proxy.cut(existing=Existing.BLACKHOLE)
        leaving.close()
        assert not processes.wait_until(lambda: admin.execute(there, [pid]).fetchone() == (0,), seconds=0.5)
        proxy.restore()
        assert processes.wait_until(lambda: admin.execute(there, [pid]).fetchone() == (0,), seconds=10)


def test_a_delay_is_added_to_each_way(proxy: Proxy, server: PostgresServer) -> None:
    with through(proxy, server) as session:
        proxy.delay(0.25)
        start = time.monotonic()
        assert one(session) == 1
        assert time.monotonic() - start >= 0.5
        proxy.delay(0)
        assert one(session) == 1


def test_a_server_that_is_not_there_refuses_and_is_reached_once_it_is() -> None:
    port = processes.free_port()
    with Proxy("127.0.0.1", port) as proxy:
        with pytest.raises(ConnectionError), socket.create_connection((proxy.host, proxy.port), timeout=10) as client:
            assert client.recv(1) != b"", "an end, where a reset was due"
        with socket.create_server(("127.0.0.1", port)) as listener:
            with socket.create_connection((proxy.host, proxy.port), timeout=10):
                listener.settimeout(10)
                listener.accept()[0].close()


@pytest.mark.parametrize("by_client", [True, False], ids=["of the client", "of the server"])
def test_a_reset_of_one_end_is_a_reset_of_the_other(by_client: bool) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        Proxy("127.0.0.1", listener.getsockname()[1]) as proxy,
        socket.create_connection((proxy.host, proxy.port), timeout=10) as client,
    ):
        listener.settimeout(10)
        server, _ = listener.accept()
        server.settimeout(10)
        client.sendall(b"hello")
        assert server.recv(5) == b"hello"
        breaks, sees = (client, server) if by_client else (server, client)
        breaks.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        breaks.close()
        with pytest.raises(ConnectionResetError):
            sees.recv(1)
        server.close()


def test_a_proxy_that_died_says_so(server: PostgresServer) -> None:
    with Proxy(server.host, server.port) as proxy:
        assert proxy._process is not None
        os.kill(proxy._process.pid, signal.SIGKILL)
        with pytest.raises(LabError, match="ended with -9"):
            proxy.cut()
    with pytest.raises(LabError, match="start it first"):
        proxy.cut()
