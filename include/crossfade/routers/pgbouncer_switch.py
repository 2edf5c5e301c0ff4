"""What decides, on the pooler's host, where PgBouncer leads: a file that it includes, or the main file it reads."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

from crossfade.errors import PreconditionError
from crossfade.plan_routers import ConffileSides, ConffileSwitch, FileSwitch
from crossfade.routers.base import Side
from crossfade.routers.pgbouncer_console import Console, quoted_value
from crossfade.routers.pgbouncer_ini import Destination, UnreadableIni, rewrite


class SwitchFileUnusable(PreconditionError):
    """The file that the plan names as the switch cannot be read, understood or replaced. It was not changed."""

    def __init__(self, *, file: Path, problem: str) -> None:
        self.file, self.problem = file, problem
        super().__init__(f"switch file {file}: {problem}. It was not changed")


class Switch(Protocol):
    """A way to tell PgBouncer where to lead; what it says takes effect with a RELOAD."""

    def prepare(self, side: Side) -> None:
        """What is done once for all instances. Nothing, where it says this side already."""

    def is_set(self, console: Console, side: Side) -> bool:
        """Whether this instance would lead to that side after a RELOAD or, where that can be told, a restart."""

    def set(self, console: Console, side: Side) -> None:
        """What is done on one instance before its RELOAD."""

    def take_back(self, console: Console) -> None:
        """Undo `set` on an instance that did not follow, so that a later RELOAD by somebody does not move it."""


def read_switch_file(file: Path) -> str:
    """The text of a switch file, byte for byte. Raises `SwitchFileUnusable`."""
    try:
        with file.open(encoding="utf-8", errors="surrogateescape", newline="") as opened:
            return opened.read()
    except OSError as error:
        raise SwitchFileUnusable(file=file, problem=error.strerror or str(error)) from error


def why_not_replaceable(file: Path) -> str | None:
    """Why this process could not replace the file and keep its owner and mode; None where it could."""
    file = file.resolve()
    if not os.access(file, os.R_OK):
        return "it does not exist or cannot be read"
    if not os.access(file.parent, os.W_OK | os.X_OK):
        return f"no file can be created in {file.parent}"
    status = file.stat()
    groups = {os.getegid(), *os.getgroups()}
    if os.geteuid() != 0 and (status.st_uid != os.geteuid() or status.st_gid not in groups):
        return (
            f"it belongs to uid {status.st_uid}, gid {status.st_gid}, which uid {os.geteuid()} cannot give to a new "
            f"file: chown {os.geteuid()} {file}, with a group that both this user and PgBouncer are in"
        )
    return None


def replace_text(file: Path, text: str) -> None:
    """
    Replace a file's content at one instant and durably; owner, group and mode stay. A symbolic link stays a link.

    Raises `SwitchFileUnusable`.
    """
    file = file.resolve()
    if (problem := why_not_replaceable(file)) is not None:
        raise SwitchFileUnusable(file=file, problem=problem)
    status = file.stat()
    fresh = None
    try:
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as opened:
            fresh = opened.name
            opened.write(text.encode("utf-8", "surrogateescape"))
            opened.flush()
            os.fchown(opened.fileno(), status.st_uid, status.st_gid)
            os.fchmod(opened.fileno(), status.st_mode & 0o7777)
            os.fsync(opened.fileno())
        os.replace(fresh, file)
        _sync_directory(file.parent)
    except OSError as error:
        with contextlib.suppress(FileNotFoundError):
            if fresh is not None:
                os.unlink(fresh)
        raise SwitchFileUnusable(file=file, problem=error.strerror or str(error)) from error


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class IncludedFile:
    """The lines of our names in a file with ``[databases]`` that every instance includes."""

    def __init__(self, file: Path, names: Collection[str], sides: Mapping[Side, Destination]) -> None:
        self.file, self.names, self.sides = file, names, sides

    def prepare(self, side: Side) -> None:
        """Rewrite the file, unless it says so already. Raises `SwitchFileUnusable`."""
        text = read_switch_file(self.file)
        try:
            wanted = rewrite(text, self.names, self.sides[side])
        except UnreadableIni as error:
            raise SwitchFileUnusable(file=self.file, problem=str(error)) from error
        if wanted != text:
            replace_text(self.file, wanted)

    def is_set(self, console: Console, side: Side) -> bool:
        """Always, after `prepare`."""
        return True

    def set(self, console: Console, side: Side) -> None:
        """Nothing: the file is for all instances."""

    def take_back(self, console: Console) -> None:
        """Nothing: the file says what is wanted, and the next RELOAD may bring it about."""


class MainFile:
    """One complete main file a side, chosen with ``SET conffile`` on each instance. A restart forgets the choice."""

    def __init__(self, files: ConffileSides) -> None:
        self.files = {Side.SOURCE: files.source, Side.TARGET: files.target}
        self._before: dict[str, str] = {}  #: instance: its conffile before `set`

    def prepare(self, side: Side) -> None:
        """Nothing: the files were placed beforehand."""

    def is_set(self, console: Console, side: Side) -> bool:
        """Whether the instance does not read the other side's file (it may have started with a third one)."""
        other = Side.TARGET if side is Side.SOURCE else Side.SOURCE
        return console.settings()["conffile"] != self.files[other]

    def set(self, console: Console, side: Side) -> None:
        """Choose the side's file."""
        before = console.settings()["conffile"]
        if before != self.files[side]:
            self._before[console.name] = before
            console.command(f"SET conffile = {quoted_value(self.files[side])}")

    def take_back(self, console: Console) -> None:
        """Choose the former file again."""
        if (before := self._before.pop(console.name, None)) is not None:
            console.command(f"SET conffile = {quoted_value(before)}")


def switch_of(
    declared: FileSwitch | ConffileSwitch, names: Collection[str], sides: Mapping[Side, Destination]
) -> Switch:
    """The switch that a plan declares."""
    if isinstance(declared, FileSwitch):
        return IncludedFile(Path(declared.file), names, sides)
    return MainFile(declared.conffile)
