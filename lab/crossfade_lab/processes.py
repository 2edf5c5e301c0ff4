"""Server processes of the lab: under which user they run, how they start, and how they surely end.

PostgreSQL and PgBouncer refuse to run as root. Where the caller is root they run as the system user
`crossfade-lab`, created on first use; otherwise as the caller.
"""

import contextlib
import os
import pwd
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

SERVICE_USER = "crossfade-lab"


class LabError(Exception):
    """Something the lab needs is missing or did not happen; the message says what was seen and what to do."""


def service_user() -> str | None:
    """The user that servers run as, or None for the caller's own."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(SERVICE_USER)
    except KeyError:
        create = ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/bin/sh", SERVICE_USER]
        made = subprocess.run(create, capture_output=True, text=True, check=False)
        if made.returncode not in (0, 9):  # 9: somebody else created it meanwhile
            raise LabError(
                f"PostgreSQL refuses to run as root and user {SERVICE_USER} could not be created: "
                f"{made.stderr.strip()}. Run the lab as an ordinary user, or create that user."
            ) from None
    return SERVICE_USER


def give_to_service_user(path: Path) -> None:
    """Make the service user the owner of a file or directory (nothing to do where it is the caller)."""
    if (user := service_user()) is not None:
        entry = pwd.getpwnam(user)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def private_directory(path: Path) -> Path:
    """Create a directory that belongs to the service user, and check that this user can reach it."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    give_to_service_user(path)
    if (user := service_user()) is not None:
        require_reachable(path, user)
    return path


def require_reachable(path: Path, user: str) -> None:
    """Refuse a path below a directory that the service user may not enter."""
    for parent in path.resolve().parents:
        if not parent.stat().st_mode & 0o001:
            raise LabError(
                f"{path} cannot be reached by user {user}: {parent} is closed to others. "
                f"Choose a directory elsewhere, or run: chmod o+x {parent}"
            )


def run(command: Sequence[str | Path], *, cwd: Path) -> str:
    """Run a short command as the service user and return its output; a failure shows what it printed."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        user=service_user(),
        group=service_user(),
        extra_groups=_no_groups(),
    )
    if done.returncode != 0:
        raise LabError(f"{Path(command[0]).name} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def spawn(command: Sequence[str | Path], *, cwd: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own, as the service user, its output appended to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=service_user(),
            group=service_user(),
            extra_groups=_no_groups(),
        )


def _no_groups() -> list[str] | None:
    """Drop root's supplementary groups along with root; only root may do that."""
    return None if service_user() is None else []


def clean_environment() -> Mapping[str, str]:
    """The caller's environment without libpq's variables, which would redirect clients and servers."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG") or name == "PG_BIN"}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


class Tether:
    """Ends processes when this one is gone, however it died: a shell that waits for the end of a pipe we hold.

    :param number: the signal they get
    :param ids: their process ids; a negative one means a process group
    """

    def __init__(self, number: signal.Signals, ids: Sequence[int]) -> None:
        script = 'cat >/dev/null; for id in "$@"; do kill -s "$0" -- "$id"; done'
        self._shell = subprocess.Popen(
            ["sh", "-c", script, number.name.removeprefix("SIG"), *map(str, ids)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def cut(self) -> None:
        """Let them go: they are about to end, or have ended."""
        self._shell.kill()
        self._shell.communicate()


def free_port() -> int:
    """A TCP port of 127.0.0.1 nobody listens on now; whoever uses it must be ready to lose the race.

    It lies below the ports that the kernel gives to outgoing connections (ip_local_port_range): a server may take half
    a minute until it listens, and meanwhile hundreds of clients connect to others.
    """
    first_outgoing = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = range(10_000, first_outgoing)
    tried = random.SystemRandom().sample(ports, min(len(ports), 100))  # not a fork's copy of its parent's sequence
    for port in [*tried, 0]:
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise LabError("No TCP port of 127.0.0.1 is free")


def is_alive(pid: int) -> bool:
    """Whether a process exists and still runs (a zombie waiting for its parent does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def command_line(pid: int) -> str:
    """The arguments of a process, separated by blanks; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def children(pid: int) -> Iterator[int]:
    """The direct children of a process."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[1]) == pid:
            yield int(entry.name)


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal; a process that is already gone is fine."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def wait_until(condition: Callable[[], bool], *, seconds: float, every: float = 0.02) -> bool:
    """Whether a condition came true within the time given."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, for error messages."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "(no log)"


def descended_from(sessions: Collection[int], *, variable: str, value: str) -> list[int]:
    """Processes that belong to one of these sessions, or were started with an environment variable of this value.

    Both are needed: setproctitle overwrites what can be seen of an environment, and a daemon leaves its session.
    """
    wanted = f"{variable}={value}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            session = int((entry / "stat").read_text().rpartition(")")[2].split()[3])
            ours = session in sessions or wanted in (entry / "environ").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if ours and is_alive(int(entry.name)):
            found.append(int(entry.name))
    return found


def end_all(pids: Callable[[], list[int]], *, seconds: float) -> None:
    """Ask processes to end, then kill those that did not; `pids` is asked again, as dying processes may leave more."""
    for pid in pids():
        send(pid, signal.SIGTERM)
    if not wait_until(lambda: not pids(), seconds=seconds, every=0.1):
        for pid in pids():
            send(pid, signal.SIGKILL)
        wait_until(lambda: not pids(), seconds=10, every=0.1)
