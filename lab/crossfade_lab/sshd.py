"""A throw-away SSH server on a free port, with a host key and a login of its own: for files that are switched by SFTP.

It runs as the servers' user, which is the only one that can log in; as root, where root owns what is to be written.
"""

import atexit
import contextlib
import getpass
import os
import pwd
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from crossfade_lab import processes
from crossfade_lab.processes import LabError


class Sshd:
    """One OpenSSH server that offers SFTP and nothing else. As a context manager it starts on entry, ends on exit.

    :param directory: where its own files live; created when missing
    :param as_root: log in as root; only where the caller is root
    :param sftp: whether it offers that
    :param start: directory in which relative paths begin; without it the login's home
    """

    host = "127.0.0.1"

    def __init__(self, directory: Path, *, as_root: bool = False, sftp: bool = True, start: Path | None = None) -> None:
        self.directory = directory
        self.as_root = as_root
        self.begin = start
        self.sftp = sftp
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._tether: processes.Tether | None = None

    @property
    def user(self) -> str:
        """Who can log in."""
        return "root" if self.as_root else processes.service_user() or getpass.getuser()

    @property
    def uid(self) -> int:
        return pwd.getpwnam(self.user).pw_uid

    @property
    def key_file(self) -> Path:
        """The private key that it lets in; its owner is the caller."""
        return self.directory / "login"

    @property
    def host_key(self) -> str:
        """Type and key of the host, as in known_hosts."""
        return " ".join((self.directory / "host.pub").read_text().split()[:2])

    @property
    def log(self) -> Path:
        return self.directory / "sshd.log"

    def known_hosts(self) -> Path:
        """A file of known hosts that holds this one."""
        path = self.directory / "known_hosts"
        path.write_text(f"[{self.host}]:{self.port} {self.host_key}\n")
        return path

    def uri(self, options: str = "") -> str:
        """How it is reached: `sftp://…`, with its login's key and its host's, and more options."""
        host_key = self.host_key.replace(" ", "%20")
        more = f"&{options}" if options else ""
        return f"sftp://{self.user}@{self.host}:{self.port}?key_file={self.key_file}&host_key={host_key}{more}"

    def start(self) -> None:
        """Start it; returns when it accepts clients."""
        if self._process is not None:
            return
        if not self.directory.exists():
            self._create()
        atexit.register(self.stop)
        for _ in range(5):
            self.port = self.port or processes.free_port()
            if self._try_start():
                return
            self.port = 0  # somebody was quicker on that port
        raise LabError(f"sshd found no free port in 5 tries. Log:\n{processes.tail(self.log)}")

    def stop(self) -> None:
        """End it and every session."""
        self.end_sessions()
        if self._tether is not None:
            self._tether.cut()
            self._tether = None
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None
        atexit.unregister(self.stop)

    def sessions(self) -> list[int]:
        """Process ids of the sessions, whoever they run as."""
        if self._process is None:
            return []
        found = list(processes.children(self._process.pid))
        return found + [grandchild for child in found for grandchild in processes.children(child)]

    def end_sessions(self) -> None:
        """Break every connection, as a firewall does; new ones are accepted."""
        for pid in self.sessions():
            processes.send(pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _create(self) -> None:
        processes.private_directory(self.directory)
        self.directory.chmod(0o755)
        for name in ("host", "login"):
            make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(self.directory / name)]
            subprocess.run(make, check=True, capture_output=True)
        shutil.copy(self.directory / "login.pub", self.directory / "authorized_keys")
        for name in ("host", "authorized_keys"):
            if not self.as_root:
                processes.give_to_service_user(self.directory / name)

    def _try_start(self) -> bool:
        """Start on the port chosen: False when it is taken, an error for every other failure."""
        program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if program is None:
            raise LabError("The SSH server is not installed. Run: apt-get install openssh-server")
        command = [program, "-D", "-e", "-f", str(self._configured())]
        start_of_log = self.log.stat().st_size if self.log.exists() else 0
        process = self._process = self._spawned(command)
        ended = processes.wait_until(lambda: process.poll() is not None or self._accepts(), seconds=10)
        if ended and process.poll() is None:
            self._tether = processes.Tether(signal.SIGKILL, [-process.pid])
            return True
        said = self.log.read_text(errors="replace")[start_of_log:]
        if "Address already in use" in said:
            return False
        process.kill()
        raise LabError(f"sshd in {self.directory} did not start. Log:\n{said[-2000:]}")

    def _configured(self) -> Path:
        settings = {
            "ListenAddress": self.host,
            "Port": str(self.port),
            "HostKey": str(self.directory / "host"),
            "AuthorizedKeysFile": str(self.directory / "authorized_keys"),
            "AuthenticationMethods": "publickey",
            "PermitRootLogin": "prohibit-password",
            "StrictModes": "no",  # the directories above are the system's temporary ones
            "UsePAM": "no",
            "PidFile": "none",
        }
        if self.sftp:
            settings["Subsystem"] = "sftp internal-sftp" + (f" -d {self.begin}" if self.begin else "")
        path = self.directory / "sshd_config"
        path.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        return path

    def _spawned(self, command: list[str]) -> "subprocess.Popen[bytes]":
        if not self.as_root:
            return processes.spawn(command, cwd=self.directory, log=self.log)
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd confines itself before a login
        with self.log.open("ab") as output:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    def _accepts(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), timeout=0.2):
            return True
        return False
