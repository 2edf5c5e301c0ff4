"""The files of another host, by SFTP.

Replacing at one instant needs OpenSSH's extension posix-rename: SFTP's own rename refuses to replace, and removing
the file first would leave an instant without it. Extensions: OpenSSH's PROTOCOL, section 4.
"""

from __future__ import annotations

import contextlib
import posixpath
import secrets
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import paramiko
from paramiko.message import Message
from paramiko.sftp import CMD_EXTENDED, CMD_INIT, CMD_VERSION, SFTPError

from crossfade.errors import PreconditionError, TransientError
from crossfade.routers.files import SwitchFileUnreachable, SwitchFileUnusable
from crossfade.ssh import Ssh
from crossfade.ssh_client import connect

T = TypeVar("T")

ANSWER_SECONDS = 10.0  #: without a byte of an answer, after which a host counts as lost
RENAME, FSYNC = "posix-rename@openssh.com", "fsync@openssh.com"
_PROTOCOL = 3  #: the version of SFTP that every server speaks
_LINKS = 40  #: symbolic links that are followed, as in Linux's path resolution


class _Lost(Exception):
    """The connection ended, or the host did not answer."""


class _Sftp(paramiko.SFTPClient):
    """An SFTP session that knows which extensions its server has, and can fsync."""

    extensions: frozenset[str]

    def _send_version(self) -> int:
        hello = Message()
        hello.add_int(_PROTOCOL)
        self._send_packet(CMD_INIT, hello)  # type: ignore[attr-defined]  # the stubs leave out what is inherited
        kind, data = self._read_packet()  # type: ignore[attr-defined]
        if kind != CMD_VERSION:
            raise SFTPError("no SFTP server answered")
        answer = Message(data)
        version = answer.get_int()
        names = []
        while answer.get_remainder():
            names.append(answer.get_string().decode("utf-8", "replace"))
            answer.get_string()  # its version, or what it can
        self.extensions = frozenset(names)
        return version

    def _read_response(self, waitfor: int | None = None) -> Any:
        try:
            return super()._read_response(waitfor)  # type: ignore[misc]
        except (TimeoutError, paramiko.SSHException):
            self.sock.close()  # what would follow, such as tidying up, must not wait as long again
            raise

    def fsync(self, file: paramiko.SFTPFile) -> None:
        """Bring a file to the disk, where the server can."""
        if FSYNC in self.extensions:
            self._request(CMD_EXTENDED, FSYNC, file.handle)  # type: ignore[attr-defined]


class SftpFiles:
    """
    The files of a host that an SSH connection leads to; implements `Files`. One caller at a time, others wait.

    A connection that was lost while nothing was asked is made again, once a call. The directory is not synced, which
    SFTP cannot: after a loss of power of that host the former file may be back.

    :param conn_id: the SSH connection, as the plan names it
    :param ssh: SSH connection id -> how the host is reached; asked when the files are
    """

    def __init__(self, conn_id: str, ssh: Ssh) -> None:
        self._conn_id, self._ssh = conn_id, ssh
        self._client: paramiko.SSHClient | None = None
        self._sftp: _Sftp | None = None
        self._lock = threading.Lock()

    @property
    def host(self) -> str:
        """As the plan names it."""
        return f"sftp:{self._conn_id}"

    def open(self) -> None:
        """
        Connect. Raises `HostKeyNotTrusted`, `SshLoginRefused`, `SshUnreachable`, what `ssh` raises; `PreconditionError`
        where the host has no SFTP.
        """
        with self._lock:
            self._session()

    def close(self) -> None:
        """Disconnect."""
        with contextlib.suppress(Exception):  # a dead connection may refuse even that
            if self._client is not None:
                self._client.close()
        self._client = self._sftp = None

    def read(self, file: str) -> str:
        """The text of a file. Raises `SwitchFileUnusable`, `SwitchFileUnreachable`."""

        def read(sftp: _Sftp) -> bytes:
            with sftp.open(file, "rb") as opened:
                return opened.read()

        return self._done(file, read).decode("utf-8", "surrogateescape")

    def why_not_replaceable(self, file: str) -> str | None:
        """
        Why the file could not be replaced, found out by making a file beside it, which is removed again.

        Nothing less tells: SFTP knows neither this user's groups nor its rights. Raises `SwitchFileUnreachable`.
        """
        try:
            self._done(file, lambda sftp: _remove_after(sftp, file))
        except SwitchFileUnusable as error:
            return error.problem
        return None

    def replace(self, file: str, text: str) -> None:
        """Replace a file's content. Raises `SwitchFileUnusable`, `SwitchFileUnreachable`."""
        data = text.encode("utf-8", "surrogateescape")

        def replace(sftp: _Sftp) -> None:
            with _beside(sftp, file) as (path, fresh, opened):
                opened.write(data)
                opened.flush()
                sftp.fsync(opened)
                opened.close()
                sftp.posix_rename(fresh, path)

        unknown = "Whether it was changed is not known: it is read again at the next try"
        self._done(file, replace, changed=unknown)

    def _done(self, file: str, call: Callable[[_Sftp], T], *, changed: str = "It was not changed") -> T:
        """What a call returns; all that goes wrong as our errors. On a session from before it is tried twice."""
        with self._lock:
            fresh = False
            while True:
                try:
                    fresh = not self._alive()
                    sftp = self._session()
                except PreconditionError as error:
                    raise SwitchFileUnusable(file=file, host=self.host, problem=_plain(error)) from error
                except TransientError as error:
                    raise SwitchFileUnreachable(file=file, host=self.host, problem=_plain(error)) from error
                try:
                    return self._answer(file, call, sftp)
                except _Lost as error:
                    self.close()
                    if fresh:
                        raise SwitchFileUnreachable(
                            file=file, host=self.host, problem=f"the connection was lost: {error}", changed=changed
                        ) from None

    def _answer(self, file: str, call: Callable[[_Sftp], T], sftp: _Sftp) -> T:
        try:
            return call(sftp)
        except (EOFError, TimeoutError, ConnectionError, paramiko.SSHException) as error:
            raise _Lost(str(error) or type(error).__name__) from error
        except OSError as error:
            if not self._alive():
                raise _Lost(str(error)) from error
            raise SwitchFileUnusable(file=file, host=self.host, problem=error.strerror or str(error)) from error

    def _alive(self) -> bool:
        transport = self._client and self._client.get_transport()
        return bool(transport and transport.is_active() and self._sftp and not self._sftp.sock.closed)

    def _session(self) -> _Sftp:
        """The open session, or a new one."""
        if self._sftp is not None and self._alive():
            return self._sftp
        self.close()
        endpoint = self._ssh(self._conn_id)
        self._client = connect(endpoint)
        transport = self._client.get_transport()
        try:
            sftp = _Sftp.from_transport(transport) if transport else None
            if sftp is None:
                raise paramiko.SSHException("no channel")
            sftp.sock.settimeout(ANSWER_SECONDS)
        except (OSError, EOFError, paramiko.SSHException, SFTPError) as error:
            lost = transport is None or not transport.is_active()
            self.close()
            problem = f"{endpoint.address} offers no SFTP: {str(error) or type(error).__name__}"
            raise (TransientError if lost else PreconditionError)(problem) from None
        self._sftp = sftp
        return sftp


def _remove_after(sftp: _Sftp, file: str) -> None:
    """Read the file, make one beside it with its owner and mode, and remove that."""
    sftp.open(file, "rb").close()
    with _beside(sftp, file):
        pass


@contextmanager
def _beside(sftp: _Sftp, file: str) -> Iterator[tuple[str, str, paramiko.SFTPFile]]:
    """
    A new, empty file in the directory of `file`, with its owner, group and mode; removed unless it was renamed.

    Yields the file's path behind symbolic links, the new file's, and the new file, open. Raises OSError, in words.
    """
    if RENAME not in sftp.extensions:
        raise OSError(f"its server cannot replace a file at one instant: it lacks the SFTP extension {RENAME}")
    path = _followed(sftp, file)
    before = sftp.stat(path)
    directory = posixpath.dirname(path)
    fresh = posixpath.join(directory, f".{posixpath.basename(path)}.{secrets.token_hex(8)}")
    try:
        opened = sftp.open(fresh, "wx")
    except PermissionError:
        raise PermissionError(f"no file can be created in {directory or 'the home directory'}") from None
    try:
        with opened:
            _make_alike(opened, before, path)
            yield path, fresh, opened
    finally:
        with contextlib.suppress(FileNotFoundError):
            sftp.remove(fresh)


def _make_alike(opened: paramiko.SFTPFile, before: paramiko.SFTPAttributes, path: str) -> None:
    """Owner, group, then mode, which a change of owner may have reduced; all before there is any content."""
    ours: Any = opened.stat()
    if before.st_uid is None or before.st_gid is None or before.st_mode is None:
        raise OSError("its server does not tell owner and mode, which could then not be kept")
    if (ours.st_uid, ours.st_gid) != (before.st_uid, before.st_gid):
        try:
            opened.chown(before.st_uid, before.st_gid)
        except OSError:
            raise PermissionError(
                f"it belongs to uid {before.st_uid}, gid {before.st_gid}, which uid {ours.st_uid} cannot give to a "
                f"new file: chown {ours.st_uid} {path}, with a group that both this user and PgBouncer are in"
            ) from None
    opened.chmod(stat.S_IMODE(before.st_mode))


def _followed(sftp: _Sftp, file: str) -> str:
    """The path behind symbolic links. Raises OSError."""
    for _ in range(_LINKS):
        mode = sftp.lstat(file).st_mode
        if mode is None or not stat.S_ISLNK(mode):
            return file
        file = posixpath.join(posixpath.dirname(file), sftp.readlink(file) or "")
    raise OSError("too many symbolic links")


def _plain(error: Exception) -> str:
    return str(error).rstrip(".")
