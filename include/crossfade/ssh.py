"""A host that is reached by SSH: where, as whom, and which host key it must show. `ssh_client` connects to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from crossfade.errors import PreconditionError, TransientError

_TRUE = frozenset({"1", "true", "yes", "on"})


class NoSshHere(PreconditionError):
    """The plan names an SSH connection, but nothing here can turn one into a host."""


class SshMisdeclared(PreconditionError):
    """An SSH connection cannot be used as it is declared."""

    def __init__(self, *, name: str, problem: str) -> None:
        self.name, self.problem = name, problem
        super().__init__(f"the SSH connection {name!r} {problem}")


class HostKeyNotTrusted(PreconditionError):
    """A host shows a key that nobody vouches for. No password and no signature was sent to it."""

    def __init__(self, *, name: str, address: str, kind: str, fingerprint: str, problem: str) -> None:
        self.name, self.address = name, address
        self.fingerprint = fingerprint
        super().__init__(
            f"{address} shows the host key {kind} {fingerprint}, {problem}. If the key is the host's "
            f"(ssh-keygen -lf on that host tells), enter it as host_key of the connection {name!r} or in known_hosts"
        )


class SshLoginRefused(PreconditionError):
    """A host was reached, but does not let this user in."""

    def __init__(self, *, name: str, address: str, user: str, reason: str) -> None:
        self.name, self.address = name, address
        super().__init__(
            f"{address} does not let {user!r} in: {reason}. Check user and key or password of the connection {name!r}"
        )


class SshUnreachable(TransientError):
    """A host could not be connected to."""

    def __init__(self, *, name: str, address: str, reason: str) -> None:
        self.name, self.address = name, address
        super().__init__(
            f"cannot connect to {address}: {reason}. Check that the host is up, and host and port of the connection "
            f"{name!r}"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SshEndpoint:
    """
    How one host is reached. Secrets never show in its repr.

    Without a password and a key, the agent and the user's default keys are tried. Raises `SshMisdeclared`.
    """

    name: str  #: what people call it: the connection id
    host: str
    port: int = 22
    user: str
    password: str = field(default="", repr=False)
    private_key: str = field(default="", repr=False)  #: the key's text, in OpenSSH's or PEM format
    key_file: str = ""  #: instead: path of a file that holds it
    passphrase: str = field(default="", repr=False)  #: of the private key
    host_key: str = ""  #: the one key the host may show: ``ssh-ed25519 AAAA…``, as in known_hosts
    known_hosts: str = ""  #: else: path of a file of known hosts. Default: the user's, and the system's
    no_host_key_check: bool = False  #: any key is taken: whoever answers at the address gets the password

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        if self.no_host_key_check and (self.host_key or self.known_hosts):
            raise SshMisdeclared(name=self.name, problem="has a host key, and no_host_key_check: remove one of them")
        if self.private_key and self.key_file:
            raise SshMisdeclared(name=self.name, problem="has both private_key and key_file: remove one of them")

    @classmethod
    def declared(
        cls, name: str, *, host: str, port: int | None, user: str, password: str, options: Mapping[str, Any]
    ) -> SshEndpoint:
        """
        From a connection's parts; the options have the names of Airflow's SSH provider, and ``known_hosts``.

        Other options are passed over. Raises `SshMisdeclared`.
        """
        given = {key: str(value) for key, value in options.items() if value is not None}
        return cls(
            name=name,
            host=host,
            port=port or 22,
            user=user,
            password=password,
            private_key=given.get("private_key", ""),
            key_file=given.get("key_file", ""),
            passphrase=given.get("private_key_passphrase", ""),
            host_key=given.get("host_key", ""),
            known_hosts=given.get("known_hosts", ""),
            no_host_key_check=given.get("no_host_key_check", "").lower() in _TRUE,
        )

    @classmethod
    def from_uri(cls, name: str, uri: str) -> SshEndpoint:
        """
        Read ``sftp://user:password@host:22?key_file=…&host_key=…``, percent-encoded; options as in `OPTIONS`.

        Raises `SshMisdeclared`, which does not quote the URI.
        """
        try:
            parts = urlsplit(uri)
            host, port, user = parts.hostname, parts.port, unquote(parts.username or "")
        except ValueError:
            host, port, user = None, None, ""
        if not host or not user or uri.partition(":")[0] != "sftp":
            raise SshMisdeclared(name=name, problem="is no URI of the form sftp://user@host:22?key_file=…")
        pairs = [pair.partition("=") for pair in parts.query.split("&") if pair]
        options = {unquote(key): unquote(value) for key, _, value in pairs}
        if unknown := sorted(options.keys() - OPTIONS):
            known = ", ".join(sorted(OPTIONS))
            raise SshMisdeclared(name=name, problem=f"has unknown options {', '.join(unknown)}; known are {known}")
        return cls.declared(
            name, host=host, port=port, user=user, password=unquote(parts.password or ""), options=options
        )

    @property
    def address(self) -> str:
        """Host and port, for messages."""
        return f"{self.host}:{self.port}"


#: What a URI may say after its question mark.
OPTIONS = frozenset(
    {"private_key", "key_file", "private_key_passphrase", "host_key", "known_hosts", "no_host_key_check"}
)

Ssh = Callable[[str], SshEndpoint]  #: SSH connection id -> how the host is reached


def no_ssh(conn_id: str) -> SshEndpoint:
    """For migrations without SSH. Raises `NoSshHere`."""
    raise NoSshHere(
        f"the plan names the SSH connection {conn_id!r}, but no SSH connections are configured here: run this as an "
        "Airflow task or with the command crossfade"
    )
