"""An SSH connection is read as declared; what contradicts itself is refused, and secrets never show."""

import pytest

from crossfade.cli import ssh_from_environment
from crossfade.errors import PreconditionError
from crossfade.ssh import NoSshHere, SshEndpoint, SshMisdeclared, no_ssh
from crossfade.ssh_client import connect

URI = "sftp://deploy:s3c%40ret@pool-1.example:2222"


def test_a_uri_says_it_all() -> None:
    found = SshEndpoint.from_uri(
        "pool_1", f"{URI}?key_file=%2Fkeys%2Fid&host_key=ssh-ed25519%20AAAA+b/c=&private_key_passphrase=p%26q"
    )
    assert (found.name, found.address, found.user, found.password) == (
        "pool_1",
        "pool-1.example:2222",
        "deploy",
        "s3c@ret",
    )
    assert (found.key_file, found.host_key, found.passphrase) == ("/keys/id", "ssh-ed25519 AAAA+b/c=", "p&q")
    assert found.no_host_key_check is False


def test_the_port_is_22_unless_it_is_given() -> None:
    assert SshEndpoint.from_uri("pool_1", "sftp://deploy@pool-1.example").address == "pool-1.example:22"


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("pool-1.example", "is no URI of the form sftp://user@host"),
        ("https://deploy@pool-1.example", "is no URI of the form"),
        ("sftp://pool-1.example", "is no URI of the form"),
        ("sftp://deploy@:22", "is no URI of the form"),
        ("sftp://deploy@pool-1.example:ssh", "is no URI of the form"),
        (f"{URI}?keyfile=x", "has unknown options keyfile; known are host_key, key_file"),
        (f"{URI}?no_host_key_check=true&host_key=AAAA", "has a host key, and no_host_key_check"),
        (f"{URI}?key_file=a&private_key=b", "has both private_key and key_file"),
    ],
)
def test_a_bad_uri_is_refused_without_its_secrets(uri: str, problem: str) -> None:
    with pytest.raises(SshMisdeclared, match=problem) as caught:
        SshEndpoint.from_uri("pool_1", uri)
    assert isinstance(caught.value, PreconditionError)
    assert "s3c" not in str(caught.value)
    assert "'pool_1'" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "unchecked"), [(True, True), ("true", True), ("1", True), (False, False), ("no", False), (None, False)]
)
def test_a_host_key_goes_unchecked_only_where_that_is_said(given: object, unchecked: bool) -> None:
    found = SshEndpoint.declared(
        "pool_1", host="h", port=None, user="u", password="", options={"no_host_key_check": given, "timeout": 5}
    )
    assert found.no_host_key_check is unchecked


def test_secrets_do_not_show_in_its_representation() -> None:
    found = SshEndpoint(name="n", host="h", user="u", password="s3cret", private_key="s3cret", passphrase="s3cret")
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"private_key": "-----BEGIN s3cret-----"}, "private key .* that cannot be read"),
        ({"key_file": "/nonexistent/key"}, "needs /nonexistent/key, which cannot be read"),
        ({"host_key": "ssh-ed25519 s3cret!"}, "host_key that cannot be read"),
        ({"host_key": "AAAA"}, "host_key that cannot be read"),
        ({"known_hosts": "/nonexistent/hosts"}, "needs /nonexistent/hosts, which cannot be read"),
    ],
)
def test_what_cannot_be_read_is_said_before_anything_is_connected(options: dict[str, str], problem: str) -> None:
    endpoint = SshEndpoint.declared("pool_1", host="nowhere.invalid", port=1, user="u", password="p", options=options)
    with pytest.raises(SshMisdeclared, match=problem) as caught:
        connect(endpoint)
    assert "s3cret" not in str(caught.value)


def test_without_ssh_connections_it_is_said_which_was_wanted() -> None:
    with pytest.raises(NoSshHere, match="the SSH connection 'pool_1'"):
        no_ssh("pool_1")


def test_the_command_reads_it_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PreconditionError, match=r"set CROSSFADE_SSH_POOL_1 to sftp://user@host"):
        ssh_from_environment("pool_1")
    monkeypatch.setenv("CROSSFADE_SSH_POOL_1", URI)
    assert ssh_from_environment("pool_1").address == "pool-1.example:2222"
