"""Servers start, stop, crash and come back."""

import os
import socket
import subprocess
import sys

import psycopg
import pytest

from crossfade_lab import processes, testing
from crossfade_lab.postgres import PostgresServer, binaries
from crossfade_lab.processes import LabError


@pytest.mark.parametrize("major", [16, 18])
def test_a_crashed_server_comes_back_with_what_was_committed(major: int) -> None:
    with testing.server(major) as server:
        with server.connect() as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        pid, port = server.pid, server.port
        server.kill()
        assert not server.running
        with pytest.raises(psycopg.OperationalError):
            server.connect()
        server.start()
        assert (server.pid, server.port) != (pid, port)
        assert server.connect().execute("SELECT answer FROM kept").fetchone() == (42,)


def test_another_process_can_take_a_server_over_and_stop_it() -> None:
    with testing.server(18) as server:
        other = PostgresServer.open(server.directory)
        assert other.connect().execute("SELECT 1").fetchone() == (1,)
        other.stop()
        assert not server.running


def test_a_server_stops_at_the_end_even_after_a_failure() -> None:
    with pytest.raises(RuntimeError), testing.server(18) as server:
        pid = server.pid
        raise RuntimeError
    assert pid is not None
    assert not processes.is_alive(pid)


def test_a_port_lost_to_somebody_else_is_replaced_by_another() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, testing.scratch_directory() as directory:
        server = PostgresServer(directory / "pg", 18, settings=testing.FAST)
        server.port = taken.getsockname()[1]
        with server:
            assert server.port != taken.getsockname()[1]


def test_passwords_are_required_and_the_description_is_private() -> None:
    with testing.server(18) as server:
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.dsn(password="wrong"))
        assert (server.directory / "server.json").stat().st_mode & 0o077 == 0


def test_an_unknown_version_is_refused_with_what_to_do() -> None:
    with pytest.raises(LabError, match="Use 16 or 18"):
        binaries(7)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs servers as another user")
def test_a_directory_the_servers_user_cannot_reach_is_refused() -> None:
    with testing.scratch_directory() as directory:
        directory.chmod(0o700)
        with pytest.raises(LabError, match="chmod o"):
            PostgresServer(directory / "pg", 18).start()


def test_servers_end_with_a_process_that_is_killed() -> None:
    """pytest killed from outside runs no cleanup; its servers must not stay."""
    program = (
        "import os, signal; from crossfade_lab import testing\n"
        "with testing.server(18) as server:\n"
        "    print(server.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert processes.wait_until(lambda: not processes.is_alive(int(done.stdout)), seconds=60)
