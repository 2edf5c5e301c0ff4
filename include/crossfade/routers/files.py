"""The files of a pooler's host, read and replaced as a whole: here, or elsewhere by SFTP (`files_sftp`)."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Protocol

from crossfade.errors import PreconditionError, TransientError


def _on(file: str, host: str) -> str:
    return f"{file} on {host}" if host else file


class SwitchFileUnusable(PreconditionError):
    """The file that the plan names as the switch cannot be read, understood or replaced. It was not changed."""

    def __init__(self, *, file: str, problem: str, host: str = "") -> None:
        self.file, self.problem, self.host = file, problem, host
        super().__init__(f"switch file {_on(file, host)}: {problem}. It was not changed")


class SwitchFileUnreachable(TransientError):
    """The host of the switch file could not be talked to."""

    def __init__(self, *, file: str, problem: str, host: str, changed: str = "It was not changed") -> None:
        self.file, self.problem, self.host = file, problem, host
        super().__init__(f"switch file {_on(file, host)}: {problem}. {changed}")


class Files(Protocol):
    """
    The files of one host. Texts are byte for byte: what is not UTF-8 comes and goes as surrogates.

    What is asked about a file raises `SwitchFileUnusable` where a person must put something right first and, of another
    host, `SwitchFileUnreachable`.
    """

    @property
    def host(self) -> str:
        """Where the files are, for messages; empty: here."""

    def open(self) -> None:
        """Connect, so that what follows need not; nothing else requires it. Of another host: raises errors of `ssh`."""

    def close(self) -> None:
        """Give up what was opened. The files may be used again."""

    def read(self, file: str) -> str:
        """The text of a file."""

    def why_not_replaceable(self, file: str) -> str | None:
        """Why the file could not be replaced with its owner and mode kept; None where it could."""

    def replace(self, file: str, text: str) -> None:
        """
        Replace a file's content at one instant and durably; owner, group and mode stay, a symbolic link stays a link.
        """


class LocalFiles:
    """The files that this process sees; implements `Files`."""

    host = ""

    def open(self) -> None:
        """Nothing to connect to."""

    def close(self) -> None:
        """Nothing is held."""

    def read(self, file: str) -> str:
        """The text of a file. Raises `SwitchFileUnusable`."""
        try:
            with open(file, encoding="utf-8", errors="surrogateescape", newline="") as opened:
                return opened.read()
        except OSError as error:
            raise SwitchFileUnusable(file=file, problem=error.strerror or str(error)) from error

    def why_not_replaceable(self, file: str) -> str | None:
        """Why this process could not replace the file and keep its owner and mode; None where it could."""
        path = Path(file).resolve()
        if not os.access(path, os.R_OK):
            return "it does not exist or cannot be read"
        if not os.access(path.parent, os.W_OK | os.X_OK):
            return f"no file can be created in {path.parent}"
        status = path.stat()
        groups = {os.getegid(), *os.getgroups()}
        if os.geteuid() != 0 and (status.st_uid != os.geteuid() or status.st_gid not in groups):
            return (
                f"it belongs to uid {status.st_uid}, gid {status.st_gid}, which uid {os.geteuid()} cannot give to a "
                f"new file: chown {os.geteuid()} {path}, with a group that both this user and PgBouncer are in"
            )
        return None

    def replace(self, file: str, text: str) -> None:
        """Replace a file's content. Raises `SwitchFileUnusable`."""
        path = Path(file).resolve()
        if (problem := self.why_not_replaceable(file)) is not None:
            raise SwitchFileUnusable(file=str(path), problem=problem)
        status = path.stat()
        fresh = None
        try:
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as opened:
                fresh = opened.name
                opened.write(text.encode("utf-8", "surrogateescape"))
                opened.flush()
                os.fchown(opened.fileno(), status.st_uid, status.st_gid)
                os.fchmod(opened.fileno(), status.st_mode & 0o7777)
                os.fsync(opened.fileno())
            os.replace(fresh, path)
            _sync_directory(path.parent)
        except OSError as error:
            with contextlib.suppress(FileNotFoundError):
                if fresh is not None:
                    os.unlink(fresh)
            raise SwitchFileUnusable(file=str(path), problem=error.strerror or str(error)) from error


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
