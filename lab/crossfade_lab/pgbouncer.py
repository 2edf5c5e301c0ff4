"""A throw-away PgBouncer in transaction mode, with an admin console and files that can be switched from outside.

Where it sends clients is in a `databases.ini` that several instances may share (`%include`), or in one complete
main file a side (`write_conffiles`), for `SET conffile=…; RELOAD`.
"""

import atexit
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg.conninfo import make_conninfo

from crossfade_lab import processes
from crossfade_lab.processes import LabError

ADMIN = "pooler_admin"

SETTINGS: Mapping[str, str] = {
    "listen_addr": "127.0.0.1",
    "unix_socket_dir": "",
    "pool_mode": "transaction",
    "auth_type": "scram-sha-256",
    "server_login_retry": "1",
    "query_wait_timeout": "120",
    "max_client_conn": "500",
    "default_pool_size": "10",
    "ignore_startup_parameters": "extra_float_digits,options",
    "log_connections": "0",
    "log_disconnections": "0",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination:
    """Where a database of PgBouncer leads."""

    host: str
    port: int
    dbname: str


def databases_section(databases: Mapping[str, Destination]) -> str:
    """The `[databases]` section of a PgBouncer file."""
    lines = [f"{name} = host={to.host} port={to.port} dbname={to.dbname}" for name, to in databases.items()]
    return "\n".join(["[databases]", *lines, ""])


def write_databases(path: Path, databases: Mapping[str, Destination]) -> None:
    """Replace a `databases.ini` atomically; it holds no secrets, and PgBouncer's user must be able to read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_text(databases_section(databases))
    fresh.chmod(0o644)
    fresh.replace(path)


class PgBouncer:
    """One PgBouncer instance. As a context manager it starts on entry and is stopped on exit.

    :param directory: where its own files live; created when missing
    :param databases: the `databases.ini` that it includes; see `write_databases`
    :param users: passwords of the logins it lets through, by role
    :param settings: overrides of `SETTINGS`
    :param detached: leave it running when this process ends
    """

    host = "127.0.0.1"

    def __init__(
        self,
        directory: Path,
        databases: Path,
        users: Mapping[str, str],
        *,
        settings: Mapping[str, str] | None = None,
        detached: bool = False,
    ) -> None:
        self.directory = directory
        self.databases = databases
        self.users = dict(users)
        self.verifiers: dict[str, str] = {}  #: of users whose password its file does not hold; see `keep_verifiers`
        self.settings = {**SETTINGS, **(settings or {})}
        self.detached = detached
        self.admin_password = secrets.token_urlsafe(18)
        self.port = 0
        self.conffile = directory / "pgbouncer.ini"  #: the file it starts with
        self._process: subprocess.Popen[bytes] | None = None
        self._tether: processes.Tether | None = None

    @classmethod
    def open(cls, directory: Path, *, detached: bool = True) -> Self:
        """Take over the instance whose directory this is, whether it runs or not."""
        try:
            known = json.loads((directory / "pgbouncer.json").read_text())
        except FileNotFoundError:
            raise LabError(f"{directory} holds no PgBouncer. Start one with: crossfade-lab up") from None
        bouncer = cls(
            directory, Path(known["databases"]), known["users"], settings=known["settings"], detached=detached
        )
        bouncer.port, bouncer.admin_password = known["port"], known["admin_password"]
        bouncer.conffile = Path(known["conffile"])
        bouncer.verifiers = known["verifiers"]
        return bouncer

    @property
    def log(self) -> Path:
        return self.directory / "pgbouncer.log"

    @property
    def pid(self) -> int | None:
        """Its process id, or None when it is not running."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            pid = int((self.directory / "pgbouncer.pid").read_text())
            if processes.is_alive(pid) and str(self.directory) in processes.command_line(pid):
                return pid
        return None

    @property
    def running(self) -> bool:
        return self.pid is not None

    def dsn(self, user: str, dbname: str) -> str:
        """A connection string for an application."""
        return self._dsn(user, self.users[user], dbname)

    def admin_dsn(self) -> str:
        """A connection string for the admin console (simple protocol, autocommit)."""
        return self._dsn(ADMIN, self.admin_password, "pgbouncer")

    def start(self) -> None:
        """Start it; returns when it accepts clients."""
        if self.running:
            return
        processes.private_directory(self.directory)
        if not self.detached:
            atexit.register(self.stop)
        for _ in range(5):
            self.port = self.port or processes.free_port()
            self._write_files()
            if self._try_start():
                self._describe()
                return
            self.port = 0  # somebody was quicker on that port
        raise LabError(f"PgBouncer found no free port in 5 tries. Log:\n{processes.tail(self.log)}")

    def stop(self) -> None:
        """Stop at once; clients are disconnected."""
        self._end(signal.SIGTERM)
        if not self.detached:
            atexit.unregister(self.stop)

    def kill(self) -> None:
        """Crash."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop and start again on the same port."""
        self.stop()
        self.start()

    def keep_verifiers(self, verifiers: Mapping[str, str]) -> None:
        """Let its file hold SCRAM secrets, the same as the servers', in place of passwords.

        As where an `auth_query` finds them. PgBouncer then logs in to a server with what the client proved, and need
        not derive the key of a password anew for every connection: some milliseconds, one connection after the other.
        """
        self.verifiers = dict(verifiers)
        self._write_files()
        self._describe()
        with psycopg.connect(self.admin_dsn(), autocommit=True) as console:
            console.execute("RELOAD")

    def write_conffiles(self, sides: Mapping[str, Mapping[str, Destination]]) -> dict[str, Path]:
        """Write one complete main file a side (`source.ini`, `target.ini`) for `SET conffile`; returns their paths.

        Call it when started, so that the port is known; to restart on one of them, set `conffile`.
        """
        files = {}
        for side, databases in sides.items():
            files[side] = self.directory / f"{side}.ini"
            self._write(files[side], databases_section(databases) + "\n" + self._main_section())
        return files

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _dsn(self, user: str, password: str, dbname: str) -> str:
        return make_conninfo(host=self.host, port=self.port, user=user, password=password, dbname=dbname)

    def _main_section(self) -> str:
        settings = {
            **self.settings,
            "listen_port": str(self.port),
            "auth_file": str(self.directory / "userlist.txt"),
            "admin_users": ADMIN,
            "pidfile": str(self.directory / "pgbouncer.pid"),
        }
        return "\n".join(["[pgbouncer]", *(f"{name} = {value}" for name, value in settings.items()), ""])

    def _write_files(self) -> None:
        logins = {**self.users, **self.verifiers, ADMIN: self.admin_password}
        self._write(self.directory / "userlist.txt", "".join(f'"{user}" "{word}"\n' for user, word in logins.items()))
        self._write(self.directory / "pgbouncer.ini", f"%include {self.databases}\n\n" + self._main_section())

    def _write(self, path: Path, text: str) -> None:
        path.write_text(text)
        path.chmod(0o600)
        processes.give_to_service_user(path)

    def _try_start(self) -> bool:
        """Start on the port chosen: False when it is taken, an error for every other failure."""
        program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if program is None:
            raise LabError("PgBouncer is not installed. Run: apt-get install pgbouncer")
        if self.pid is None:
            (self.directory / "pgbouncer.pid").unlink(missing_ok=True)
        start_of_log = self.log.stat().st_size if self.log.exists() else 0
        process = self._process = processes.spawn([program, self.conffile], cwd=self.directory, log=self.log)
        ended = processes.wait_until(lambda: process.poll() is not None or self._accepts(), seconds=10)
        if ended and process.poll() is None and self.pid == process.pid:
            if not self.detached:
                self._tether = processes.Tether(signal.SIGTERM, [process.pid])
            return True
        said = self.log.read_text(errors="replace")[start_of_log:]
        if "Address already in use" in said:
            return False
        process.kill()
        raise LabError(f"PgBouncer in {self.directory} did not start. Log:\n{said[-2000:]}")

    def _accepts(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), timeout=0.2):
            return self.pid is not None
        return False

    def _end(self, number: signal.Signals) -> None:
        if self._tether is not None:
            self._tether.cut()
            self._tether = None
        if (pid := self.pid) is None:
            return
        for attempt in (number, signal.SIGKILL):
            processes.send(pid, attempt)
            if self._process is not None and self._process.pid == pid:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(5)
            if processes.wait_until(lambda: not processes.is_alive(pid), seconds=5):
                return
        raise LabError(f"PgBouncer (process {pid}) survived SIGKILL")

    def _describe(self) -> None:
        known = {
            "port": self.port,
            "admin_password": self.admin_password,
            "databases": str(self.databases),
            "users": self.users,
            "verifiers": self.verifiers,
            "settings": self.settings,
            "conffile": str(self.conffile),
        }
        description = self.directory / "pgbouncer.json"
        with os.fdopen(os.open(description, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(known, file)
