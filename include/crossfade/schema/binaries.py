"""PostgreSQL's client programs: found in ``PG_BIN`` or on the PATH, checked for their version, run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from crossfade.connect import Endpoint
from crossfade.errors import PreconditionError, TransientError

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_FIX = (
    "Install the PostgreSQL client of the target's major version or newer on every worker, "
    "and name its bin directory in PG_BIN"
)


class ProgramFailed(TransientError):
    """A client program of PostgreSQL ended with an error. Some pass by themselves, like a lock held too long."""

    def __init__(self, *, command: str, status: int, printed: str, fix: str) -> None:
        self.command, self.status, self.printed = command, status, printed
        super().__init__(f"{command} ended with status {status}. It printed: {printed or '(nothing)'}. {fix}")


def find(name: str) -> Path:
    """The program of that name, in ``PG_BIN`` where that is set, else on the PATH. Raises `PreconditionError`."""
    directory = os.environ.get("PG_BIN", "")
    found = shutil.which(name, path=directory or None)
    if found is None:
        where = f"in PG_BIN={directory}" if directory else "on the PATH (PG_BIN is not set)"
        raise PreconditionError(f"there is no {name} {where}. {_FIX}")
    return Path(found)


def client_version(binary: Path) -> int:
    """The major version that a program says it is. Raises `PreconditionError` where it does not say."""
    try:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False, timeout=30)
    except OSError as error:
        raise PreconditionError(f"{binary} cannot be run: {error}. {_FIX}") from error
    if (match := _VERSION.search(said.stdout)) is None:
        raise PreconditionError(f"{binary} --version printed {(said.stdout + said.stderr).strip()!r}. {_FIX}")
    return int(match[1])


def require(name: str, major: int) -> Path:
    """The program of that name, of this major version or newer. Raises `PreconditionError`."""
    binary = find(name)
    if (version := client_version(binary)) < major:
        raise PreconditionError(f"{binary} is of PostgreSQL {version}, the target is {major}. {_FIX}")
    return binary


def run(binary: Path, arguments: Sequence[str], *, endpoint: Endpoint | None = None, stdin: bytes = b"") -> bytes:
    """
    Run a program to its end and return what it printed; how to reach the server travels in its environment.

    Raises `ProgramFailed`.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    environment |= {"LC_ALL": "C", "PGCLIENTENCODING": "UTF8", "PGAPPNAME": f"crossfade/{binary.name}"}
    if endpoint is not None:
        environment |= endpoint.environment()
    done = subprocess.run([binary, *arguments], input=stdin, env=environment, capture_output=True, check=False)
    if done.returncode != 0:
        raise ProgramFailed(
            command=shlex.join([str(binary), *arguments])[:1000] + (f" on {endpoint.address}" if endpoint else ""),
            status=done.returncode,
            printed=done.stderr.decode(errors="replace").strip()[-2000:],
            fix=_remedy(done.stderr.decode(errors="replace")),
        )
    return done.stdout


def _remedy(printed: str) -> str:
    if "version" in printed:
        return _FIX
    if "permission denied" in printed:
        return "Grant the migration role what docs/privileges/source.sql lists"
    if "lock timeout" in printed or "canceling statement" in printed:
        return "Somebody holds an exclusive lock (DDL?) on a table of the source: wait for it, then try again"
    return "Put right what it names, then try again"
