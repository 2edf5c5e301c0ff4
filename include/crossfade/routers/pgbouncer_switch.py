"""What decides, on the pooler's host, where PgBouncer leads: a file that it includes, or the main file it reads."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import PurePosixPath
from typing import Protocol

from crossfade.errors import CrossfadeError, DeadlineExceeded, TransientError
from crossfade.plan_routers import ConffileSides, ConffileSwitch, FileSwitch
from crossfade.routers.base import Side
from crossfade.routers.files import Files, LocalFiles, SwitchFileUnreachable, SwitchFileUnusable
from crossfade.routers.pgbouncer_console import Console, quoted_value
from crossfade.routers.pgbouncer_ini import UnreadableIni, destinations, rewrite
from crossfade.routers.pgbouncer_sides import Sides
from crossfade.ssh import Ssh

PATIENCE = 2.0  #: seconds that clients of hosts with their new file are held for hosts without


class SwitchFilesLeft(TransientError):
    """The switch file was not rewritten on some hosts; all others have it, and every instance was told to read it."""

    def __init__(self, *, left: Mapping[str, Exception], behind: Mapping[str, str]) -> None:
        self.left, self.behind = dict(left), dict(behind)
        reasons = "; ".join(f"{host}: {' '.join(str(error).split())}" for host, error in left.items())
        where = "; ".join(f"{name} shows {seen}" for name, seen in behind.items()) or "no instance"
        super().__init__(
            f"the switch file was not rewritten on {len(left)} host(s), all others have it: {reasons}. "
            f"Left behind: {where}. Do it again: what is done already is not touched"
        )


class Switch(Protocol):
    """A way to tell PgBouncer where to lead; what it says takes effect with a RELOAD."""

    def open(self) -> None:
        """Connect to where the switch is, so that throwing it need not."""

    def close(self) -> None:
        """Give up what was opened. The switch may be used again."""

    def problems(self) -> list[SwitchFileUnusable]:
        """Why the switch could not be thrown, as far as that can be told from here."""

    def prepare(self, side: Side) -> Mapping[str, Exception]:
        """
        What is done once for all instances. Nothing, where it says this side already.

        Returns the hosts where it could not be done, and why, for `SwitchFilesLeft` once every instance was told.
        """

    def is_set(self, console: Console, side: Side) -> bool:
        """Whether this instance would lead to that side after a RELOAD or, where that can be told, a restart."""

    def set(self, console: Console, side: Side) -> None:
        """What is done on one instance before its RELOAD."""

    def take_back(self, console: Console) -> None:
        """Undo `set` on an instance that did not follow, so that a later RELOAD by somebody does not move it."""

    def after_restart(self, consoles: Sequence[Console], side: Side) -> list[str]:
        """Why instances that are started again would not, or might not, lead to that side; each with what to do."""


#: Two routers may share a file, each with names of its own: host and file -> who rewrites it.
_REWRITING: dict[tuple[str, str], threading.Lock] = {}


class IncludedFile:
    """
    The lines of our names in a file with ``[databases]`` that every instance includes: one file, or one on each host.

    :param hosts: the files of every host that has it
    """

    def __init__(self, file: str, hosts: Sequence[Files], names: Collection[str], sides: Sides) -> None:
        self.file, self.hosts, self.names, self.sides = file, tuple(hosts), names, sides
        self._under_way: dict[str, tuple[Side, Future[None]]] = {}

    def open(self) -> None:
        """Connect to every host. Raises what `Files.open` raises."""
        with ThreadPoolExecutor(len(self.hosts), "switch-file") as pool:
            for opened in [pool.submit(files.open) for files in self.hosts]:
                opened.result()

    def close(self) -> None:
        """Disconnect."""
        for files in self.hosts:
            files.close()

    def problems(self) -> list[SwitchFileUnusable]:
        """
        What is wrong with the file on each host: missing, not ours to replace, not to be understood, without our names.
        """
        with ThreadPoolExecutor(len(self.hosts), "switch-file") as pool:
            found = [
                (files.host, problem)
                for files, problem in zip(self.hosts, pool.map(self._problem, self.hosts), strict=True)
            ]
        return [SwitchFileUnusable(file=self.file, host=host, problem=problem) for host, problem in found if problem]

    def _problem(self, files: Files) -> str:
        """What is wrong on one host; empty where nothing is."""
        try:
            text = files.read(self.file)
            missing = sorted(set(self.names) - destinations(text).keys())
            if missing:
                return f"it has no line for {', '.join(missing)}"
            return files.why_not_replaceable(self.file) or ""
        except (SwitchFileUnusable, SwitchFileUnreachable) as error:
            return error.problem
        except UnreadableIni as error:
            return str(error)

    def prepare(self, side: Side) -> Mapping[str, Exception]:
        """
        Rewrite the file on every host, unless it says so already.

        A host that fails, or takes `PATIENCE` longer than the first that is done, keeps no other waiting: it is
        returned. Where there is but one host, what it raises is raised.
        """
        if len(self.hosts) == 1:
            self._rewrite(self.hosts[0], side)
            return {}
        pool = ThreadPoolExecutor(len(self.hosts), "switch-file")
        futures = {files.host: self._rewriting(files, side, pool) for files in self.hosts}
        pool.shutdown(wait=False)
        _wait_for_most(set(futures.values()))
        return {host: error for host, future in futures.items() if (error := _failure(future)) is not None}

    def _rewriting(self, files: Files, side: Side, pool: ThreadPoolExecutor) -> Future[None]:
        """Rewriting the file on one host, which may be under way from an earlier call."""
        before = self._under_way.get(files.host)
        if before is not None and before[0] is side and not before[1].done():
            return before[1]
        future = pool.submit(self._rewrite, files, side)
        self._under_way[files.host] = (side, future)
        return future

    def _rewrite(self, files: Files, side: Side) -> None:
        with _REWRITING.setdefault((files.host, self.file), threading.Lock()):
            text = files.read(self.file)
            try:
                wanted = rewrite(text, self.names, self.sides.at[side])
            except UnreadableIni as error:
                raise SwitchFileUnusable(file=self.file, host=files.host, problem=str(error)) from error
            if wanted != text:
                files.replace(self.file, wanted)

    def is_set(self, console: Console, side: Side) -> bool:
        """Always, after `prepare`."""
        return True

    def set(self, console: Console, side: Side) -> None:
        """Nothing: the file is for all instances."""

    def take_back(self, console: Console) -> None:
        """Nothing: the file says what is wanted, and the next RELOAD may bring it about."""

    def after_restart(self, consoles: Sequence[Console], side: Side) -> list[str]:
        """Hosts whose file names another side. Raises what `Files.read` raises, `UnreadableIni`."""
        return [problem for files in self.hosts for problem in self._led_elsewhere(files, side)]

    def _led_elsewhere(self, files: Files, side: Side) -> list[str]:
        named = destinations(files.read(self.file))
        where = f"{self.file} on {files.host}" if files.host else self.file
        return [
            f"{where} leads {name} to {named.get(name, 'nothing')}, which is not the {side}: correct it, then RELOAD"
            for name in self.names
            if name not in named or self.sides.of(named[name]) is not side
        ]


def _wait_for_most(futures: set[Future[None]]) -> None:
    """Until all are done, or `PATIENCE` after the first that went well."""
    unfinished = futures
    while unfinished:
        done, unfinished = wait(unfinished, return_when=FIRST_COMPLETED)
        if any(future.exception() is None for future in done):
            wait(unfinished, timeout=PATIENCE)
            return


def _failure(future: Future[None]) -> Exception | None:
    """Why that host does not have the file yet. A bug is raised as it is."""
    if not future.done():
        return DeadlineExceeded("rewriting the file", seconds=PATIENCE, seen="no answer yet; it goes on")
    try:
        future.result()
    except CrossfadeError as error:
        return error
    return None


def chosen(file: str) -> str:
    """
    The same file in a spelling of our own: ``/etc/pgbouncer/./target.ini``.

    An instance that shows it in SHOW CONFIG has it from `MainFile.set` and not from its command line: PgBouncer does
    not tell when it was started or on which file, but ``conffile`` outlives a RELOAD and no restart (seen with 1.18).
    """
    path = PurePosixPath(file)
    return f"{path.parent}/./{path.name}"


def _same_file(one: str, other: str) -> bool:
    return PurePosixPath(one) == PurePosixPath(other)


class MainFile:
    """One complete main file a side, chosen with ``SET conffile`` on each instance. A restart forgets the choice."""

    def __init__(self, files: ConffileSides) -> None:
        self.files = {Side.SOURCE: files.source, Side.TARGET: files.target}
        self._before: dict[str, str] = {}  #: instance: its conffile before `set`

    def open(self) -> None:
        """Nothing: the console is all it needs."""

    def close(self) -> None:
        """Nothing is held."""

    def problems(self) -> list[SwitchFileUnusable]:
        """None that could be seen from here: the files are on the pooler's host."""
        return []

    def prepare(self, side: Side) -> Mapping[str, Exception]:
        """Nothing: the files were placed beforehand."""
        return {}

    def is_set(self, console: Console, side: Side) -> bool:
        """Whether the instance does not read the other side's file (it may have started with a third one)."""
        other = Side.TARGET if side is Side.SOURCE else Side.SOURCE
        return not _same_file(console.settings()["conffile"], self.files[other])

    def set(self, console: Console, side: Side) -> None:
        """Choose the side's file."""
        before = console.settings()["conffile"]
        if not _same_file(before, self.files[side]):
            self._before[console.name] = before
            console.command(f"SET conffile = {quoted_value(chosen(self.files[side]))}")

    def take_back(self, console: Console) -> None:
        """Choose the former file again."""
        if (before := self._before.pop(console.name, None)) is not None:
            console.command(f"SET conffile = {quoted_value(before)}")

    def after_restart(self, consoles: Sequence[Console], side: Side) -> list[str]:
        """Instances that were not started on the file they read: started again, they read their first one."""
        ours = {chosen(file) for file in self.files.values()}
        return [
            f"{console.name} reads {self.files[side]} only because the switch chose it; started again, it reads the "
            f"file of its command line. Let that one lead to the {side}, too: change the service's command line and "
            "restart the instance; or replace the file and, on the console: SET conffile = '<that file>'; RELOAD;"
            for console in consoles
            if console.settings()["conffile"] in ours
        ]


def switch_of(declared: FileSwitch | ConffileSwitch, names: Collection[str], sides: Sides, ssh: Ssh) -> Switch:
    """The switch that a plan declares."""
    if isinstance(declared, FileSwitch):
        return IncludedFile(declared.file, [files_of(via, ssh) for via in declared.via], names, sides)
    return MainFile(declared.conffile)


def files_of(via: str, ssh: Ssh) -> Files:
    """The files that ``local`` or ``sftp:<conn id>`` leads to. Connects to nothing."""
    _, _, conn_id = via.partition(":")
    if not conn_id:
        return LocalFiles()
    # imported here: half a second of CPU for paramiko, which tasks without SSH need not spend
    from crossfade.routers.files_sftp import SftpFiles

    return SftpFiles(conn_id, ssh)
