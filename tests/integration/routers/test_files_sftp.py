"""Files on another host: a real sshd on loopback, whose files are replaced at one instant, or not at all."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest

from crossfade import ssh_client
from crossfade.routers import files_sftp
from crossfade.routers.files import Files, SwitchFileUnreachable, SwitchFileUnusable
from crossfade.routers.files_sftp import SftpFiles
from crossfade.ssh import HostKeyNotTrusted, SshEndpoint, SshLoginRefused, SshMisdeclared, SshUnreachable
from crossfade.ssh_client import connect
from crossfade_lab import processes
from crossfade_lab.sshd import Sshd
from crossfade_lab.testing import scratch_directory

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
BEFORE, AFTER = "[databases]\nshop = host=old\n", "[databases]\nshop = host=new\n"


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    with scratch_directory() as directory, Sshd(directory / "sshd") as running:
        yield running


@pytest.fixture
def place(sshd: Sshd) -> Iterator[Path]:
    """A directory of the user that logs in, with `databases.ini`."""
    with scratch_directory() as directory:
        own = processes.private_directory(directory / "etc")
        own.chmod(0o755)
        (own / "databases.ini").write_text(BEFORE)
        processes.give_to_service_user(own / "databases.ini")
        yield own


@pytest.fixture
def file(place: Path) -> Path:
    return place / "databases.ini"


def endpoint(sshd: Sshd) -> SshEndpoint:
    return SshEndpoint.from_uri("pool_1", sshd.uri())


@contextmanager
def files(reached: SshEndpoint) -> Iterator[SftpFiles]:
    """The files of a host."""
    found = SftpFiles("pool_1", lambda conn_id: replace(reached, name=conn_id))
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def there(sshd: Sshd) -> Iterator[SftpFiles]:
    with files(endpoint(sshd)) as found:
        yield found


def test_it_fulfils_the_contract(there: SftpFiles) -> None:
    found: Files = there
    assert found.host == "sftp:pool_1"


def test_a_file_is_replaced_and_keeps_owner_and_mode_and_nothing_is_left_beside_it(
    there: SftpFiles, file: Path
) -> None:
    file.chmod(0o604)
    before = file.stat()
    assert there.read(str(file)) == BEFORE
    assert there.why_not_replaceable(str(file)) is None
    assert file.read_text() == BEFORE
    there.replace(str(file), AFTER)
    after = file.stat()
    assert file.read_text() == AFTER
    assert after.st_ino != before.st_ino
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert [each.name for each in file.parent.iterdir()] == ["databases.ini"]


@root_only
def test_root_gives_the_new_file_to_the_owner_of_the_old_one(file: Path) -> None:
    os.chown(file, 65534, 12345)
    file.chmod(0o640)
    with (
        scratch_directory() as directory,
        Sshd(directory / "sshd", as_root=True) as sshd,
        files(endpoint(sshd)) as there,
    ):
        assert there.why_not_replaceable(str(file)) is None
        there.replace(str(file), AFTER)
    status = file.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (65534, 12345, 0o640)
    assert file.read_text() == AFTER


@root_only
def test_a_file_that_cannot_keep_its_owner_is_not_replaced(there: SftpFiles, sshd: Sshd, file: Path) -> None:
    os.chown(file, 0, 0)
    file.chmod(0o644)
    problem = f"it belongs to uid 0, gid 0, which uid {sshd.uid} cannot give to a new file: chown {sshd.uid} {file}"
    assert problem in str(there.why_not_replaceable(str(file)))
    with pytest.raises(SwitchFileUnusable, match=r"cannot give to a new file.* It was not changed"):
        there.replace(str(file), AFTER)
    assert file.read_text() == BEFORE
    assert [each.name for each in file.parent.iterdir()] == ["databases.ini"]


def test_a_symbolic_link_stays_a_link(there: SftpFiles, place: Path, file: Path) -> None:
    (place / "current").symlink_to("databases.ini")
    (place / "link.ini").symlink_to(place / "current")
    there.replace(str(place / "link.ini"), AFTER)
    assert (place / "link.ini").is_symlink()
    assert (place / "current").is_symlink()
    assert file.read_text() == AFTER
    assert not file.is_symlink()


def test_links_in_a_circle_are_refused(there: SftpFiles, place: Path) -> None:
    (place / "a").symlink_to("b")
    (place / "b").symlink_to("a")
    with pytest.raises(SwitchFileUnusable):
        there.replace(str(place / "a"), AFTER)


def test_what_is_not_utf_8_comes_and_goes_unchanged(there: SftpFiles, file: Path) -> None:
    file.write_bytes(b"; caf\xe9\r\n[databases]\n")
    text = there.read(str(file))
    there.replace(str(file), text + "; more")
    assert file.read_bytes() == b"; caf\xe9\r\n[databases]\n; more"


def test_a_reader_sees_the_old_or_the_new_file_and_never_none_or_half(there: SftpFiles, file: Path) -> None:
    texts = {letter * 60_000 for letter in "ab"}
    there.replace(str(file), "a" * 60_000)
    seen: set[str] = set()
    stop = threading.Event()

    def read() -> None:
        try:
            while not stop.is_set():
                seen.add(file.read_text())
        except OSError as error:
            seen.add(str(error))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(8):
        for text in sorted(texts):
            there.replace(str(file), text)
    stop.set()
    reader.join()
    assert {text[:80] for text in seen} == {text[:80] for text in texts}
    assert seen == texts


@pytest.mark.parametrize(
    ("path", "problem"),
    [("/nonexistent/databases.ini", "No such file"), ("missing.ini", "No such file"), ("", "")],
)
def test_a_wrong_path_is_said(there: SftpFiles, place: Path, path: str, problem: str) -> None:
    wrong = str(place / path)
    for act in (lambda: there.read(wrong), lambda: there.replace(wrong, AFTER)):
        with pytest.raises(SwitchFileUnusable, match=f"{wrong} on sftp:pool_1: .*{problem}.* It was not changed"):
            act()
    assert problem in str(there.why_not_replaceable(wrong))
    assert [each.name for each in place.iterdir()] == ["databases.ini"]


def test_a_directory_that_may_not_be_written_is_said(there: SftpFiles, place: Path, file: Path) -> None:
    place.chmod(0o555)
    assert there.why_not_replaceable(str(file)) == f"no file can be created in {place}"
    with pytest.raises(SwitchFileUnusable, match=f"no file can be created in {place}. It was not changed"):
        there.replace(str(file), AFTER)
    assert file.read_text() == BEFORE


# --- whom we talk to


def other_key(directory: Path, passphrase: str = "") -> Path:
    path = directory / "other"
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path)]
    subprocess.run(make, check=True, capture_output=True)
    return path


def public(path: Path) -> str:
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


def test_a_host_with_another_key_than_declared_is_not_spoken_to(sshd: Sshd, file: Path, tmp_path: Path) -> None:
    changed = replace(endpoint(sshd), host_key=public(other_key(tmp_path)))
    with pytest.raises(HostKeyNotTrusted, match=r"SHA256:.*but SHA256:.* was expected: it has changed"):
        connect(changed)
    with files(changed) as there:
        with pytest.raises(SwitchFileUnusable, match=r"it has changed.* It was not changed"):
            there.replace(str(file), AFTER)
        assert "it has changed" in str(there.why_not_replaceable(str(file)))
    assert file.read_text() == BEFORE


def test_a_host_that_nobody_knows_is_not_spoken_to(sshd: Sshd, tmp_path: Path) -> None:
    nobody = tmp_path / "known_hosts"
    nobody.touch()
    with pytest.raises(HostKeyNotTrusted, match=r"which nobody vouches for.*host_key of the connection 'pool_1'"):
        connect(replace(endpoint(sshd), host_key="", known_hosts=str(nobody)))


@pytest.mark.parametrize("unchecked", [False, True])
def test_a_host_is_known_by_a_file_or_taken_unseen_where_that_is_declared(sshd: Sshd, unchecked: bool) -> None:
    known = "" if unchecked else str(sshd.known_hosts())
    reached = replace(endpoint(sshd), host_key="", known_hosts=known, no_host_key_check=unchecked)
    connect(reached).close()


def test_a_login_that_is_refused_is_said_with_the_user(sshd: Sshd, tmp_path: Path) -> None:
    with pytest.raises(SshLoginRefused, match=rf"does not let '{sshd.user}' in.*connection 'pool_1'"):
        connect(replace(endpoint(sshd), key_file=str(other_key(tmp_path))))


def test_a_key_is_given_as_text_and_opened_with_its_passphrase(sshd: Sshd, tmp_path: Path) -> None:
    text = sshd.key_file.read_text()
    connect(replace(endpoint(sshd), key_file="", private_key=text)).close()
    locked = other_key(tmp_path, passphrase="s3cret")
    with pytest.raises(SshMisdeclared, match="encrypted key: give private_key_passphrase"):
        connect(replace(endpoint(sshd), key_file=str(locked)))
    with pytest.raises(SshMisdeclared, match="cannot be read with its passphrase"):
        connect(replace(endpoint(sshd), key_file=str(locked), passphrase="wrong"))
    with pytest.raises(SshLoginRefused):  # it could be opened
        connect(replace(endpoint(sshd), key_file=str(locked), passphrase="s3cret"))


# --- what goes wrong on the way


def test_a_port_where_nobody_listens(file: Path) -> None:
    nobody = SshEndpoint(
        name="pool_1", host="127.0.0.1", port=processes.free_port(), user="u", password="p", no_host_key_check=True
    )
    with files(nobody) as there:
        with pytest.raises(SshUnreachable, match=r"cannot connect to 127.0.0.1:\d+"):
            there.open()
        with pytest.raises(SwitchFileUnreachable, match=r"on sftp:pool_1: cannot connect .* It was not changed"):
            there.replace(str(file), AFTER)


def test_a_host_that_accepts_and_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_client, "CONNECT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        silent = SshEndpoint(name="p", host="127.0.0.1", port=port, user="u", password="p", no_host_key_check=True)
        start = time.monotonic()
        with pytest.raises(SshUnreachable):
            connect(silent)
        assert time.monotonic() - start < 8


def test_a_connection_that_broke_while_nothing_was_asked_is_made_again(
    there: SftpFiles, sshd: Sshd, file: Path
) -> None:
    there.open()
    sshd.end_sessions()
    there.replace(str(file), AFTER)
    assert there.read(str(file)) == AFTER


def test_a_session_that_hangs_is_replaced_by_a_new_one(
    there: SftpFiles, sshd: Sshd, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files_sftp, "ANSWER_SECONDS", 0.5)
    there.open()
    hanging = sshd.sessions()
    assert hanging
    for pid in hanging:
        os.kill(pid, signal.SIGSTOP)
    start = time.monotonic()
    there.replace(str(file), AFTER)
    assert time.monotonic() - start < 8
    assert file.read_text() == AFTER


def test_a_host_that_went_down_is_named_and_reached_again_when_it_is_back(place: Path, file: Path) -> None:
    with scratch_directory() as directory, Sshd(directory / "sshd") as own, files(endpoint(own)) as there:
        there.open()
        own.stop()
        with pytest.raises(SwitchFileUnreachable, match=r"on sftp:pool_1: .*It was not changed"):
            there.replace(str(file), AFTER)
        assert file.read_text() == BEFORE
        own.start()
        there.replace(str(file), AFTER)
    assert file.read_text() == AFTER


def test_a_host_without_sftp_is_said(file: Path) -> None:
    with (
        scratch_directory() as directory,
        Sshd(directory / "sshd", sftp=False) as own,
        files(endpoint(own)) as there,
        pytest.raises(SwitchFileUnusable, match=r"127.0.0.1:\d+ offers no SFTP.* It was not changed"),
    ):
        there.replace(str(file), AFTER)


class Server(paramiko.ServerInterface):
    """Lets everybody in."""

    def check_auth_password(self, username: str, password: str) -> int:
        return paramiko.AUTH_SUCCESSFUL  # type: ignore[attr-defined,no-any-return]

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED  # type: ignore[attr-defined,no-any-return]


class Simple(paramiko.SFTPServerInterface):
    """An SFTP server of the protocol's own operations, without OpenSSH's extensions."""

    def lstat(self, path: str) -> paramiko.SFTPAttributes:
        return paramiko.SFTPAttributes.from_stat(os.lstat(path))

    stat = lstat

    def open(self, path: str, flags: int, attr: paramiko.SFTPAttributes) -> paramiko.SFTPHandle:
        handle = paramiko.SFTPHandle(flags)
        handle.readfile = handle.writefile = os.fdopen(os.open(path, flags, 0o600), "rb")  # type: ignore[attr-defined]
        return handle


@contextmanager
def without_extensions() -> Iterator[int]:
    """The port of such a server, for one connection."""
    key = paramiko.ECDSAKey.generate()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            transport = paramiko.Transport(listening.accept()[0])
            transport.add_server_key(key)
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Simple)
            transport.start_server(server=Server())

        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]


def test_a_server_that_cannot_replace_at_one_instant_is_refused_and_nothing_is_changed(place: Path, file: Path) -> None:
    with without_extensions() as port:
        reached = SshEndpoint(
            name="pool_1", host="127.0.0.1", port=port, user="u", password="p", no_host_key_check=True
        )
        with files(reached) as there:
            assert there.read(str(file)) == BEFORE
            assert "lacks the SFTP extension posix-rename@openssh.com" in str(there.why_not_replaceable(str(file)))
            with pytest.raises(SwitchFileUnusable, match=r"cannot replace a file at one instant.* It was not changed"):
                there.replace(str(file), AFTER)
    assert file.read_text() == BEFORE
    assert [each.name for each in place.iterdir()] == ["databases.ini"]
