"""Logging in to a host by SSH. Nothing is trusted that was not declared."""

from __future__ import annotations

import base64
import binascii
import io
import logging
from pathlib import Path

import paramiko
from paramiko.hostkeys import HostKeyEntry, InvalidHostKey

from crossfade.errors import PreconditionError, TransientError
from crossfade.ssh import HostKeyNotTrusted, SshEndpoint, SshLoginRefused, SshMisdeclared, SshUnreachable

log = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0  #: each for the connection, the server's banner, the login, the channel
KEEPALIVE = 10  #: seconds between signs of life, without which firewalls forget a connection that waits
_KNOWN_HOSTS = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")
_KEY_KINDS = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)


def connect(endpoint: SshEndpoint) -> paramiko.SSHClient:
    """
    Log in. Raises `SshUnreachable`, `SshLoginRefused`, `HostKeyNotTrusted`, `SshMisdeclared`.

    Every part of it has `CONNECT_SECONDS`.
    """
    key = _key(endpoint)
    client = paramiko.SSHClient()
    try:
        _trust(endpoint, client)
        own = bool(key or endpoint.password)
        client.connect(
            endpoint.host,
            port=endpoint.port,
            username=endpoint.user,
            password=endpoint.password or None,
            pkey=key,
            timeout=CONNECT_SECONDS,
            banner_timeout=CONNECT_SECONDS,
            auth_timeout=CONNECT_SECONDS,
            channel_timeout=CONNECT_SECONDS,
            allow_agent=not own,
            look_for_keys=not own,
        )
    except BaseException as error:
        client.close()
        if (translated := _translated(endpoint, error)) is None:
            raise
        raise translated from None
    if (transport := client.get_transport()) is not None:
        transport.set_keepalive(KEEPALIVE)
    return client


def _translated(endpoint: SshEndpoint, error: BaseException) -> PreconditionError | TransientError | None:
    """One of our errors for one of paramiko's; None for what is neither."""
    where = {"name": endpoint.name, "address": endpoint.address}
    if isinstance(error, paramiko.BadHostKeyException):
        return HostKeyNotTrusted(
            **where,
            kind=error.key.get_name(),
            fingerprint=error.key.fingerprint,
            problem=f"but {error.expected_key.fingerprint} was expected: it has changed",
        )
    if isinstance(error, (paramiko.AuthenticationException, paramiko.ssh_exception.IncompatiblePeer)):
        return SshLoginRefused(**where, user=endpoint.user, reason=str(error))
    if isinstance(error, paramiko.SSHException) and "No authentication methods" in str(error):
        return SshLoginRefused(**where, user=endpoint.user, reason="there is neither a key nor a password to offer")
    if isinstance(error, (OSError, EOFError, UnicodeError, paramiko.SSHException)):
        return SshUnreachable(**where, reason=str(error) or type(error).__name__)
    return None


def _trust(endpoint: SshEndpoint, client: paramiko.SSHClient) -> None:
    """Which host keys count. Raises `SshMisdeclared`."""
    if endpoint.no_host_key_check:
        log.warning("the host key of %s is not checked: its connection says so", endpoint.address)
        client.set_missing_host_key_policy(_TakeAny())
        return
    client.set_missing_host_key_policy(_Refuse(endpoint))
    if endpoint.host_key:
        key = _pinned(endpoint)
        shown_as = endpoint.host if endpoint.port == 22 else f"[{endpoint.host}]:{endpoint.port}"
        client.get_host_keys().add(shown_as, key.get_name(), key)
        return
    for file in [endpoint.known_hosts] if endpoint.known_hosts else _KNOWN_HOSTS:
        path = Path(file).expanduser()
        if not endpoint.known_hosts and not path.exists():
            continue
        try:
            client.load_system_host_keys(str(path))
        except (OSError, InvalidHostKey, UnicodeDecodeError) as error:
            raise SshMisdeclared(name=endpoint.name, problem=f"needs {path}, which cannot be read: {error}") from None


def _pinned(endpoint: SshEndpoint) -> paramiko.PKey:
    """The declared host key; a key without its type is of ssh-rsa, as for the SSH provider."""
    words = endpoint.host_key.split()  # a comment may follow the key
    kind, text = ("ssh-rsa", words[0]) if len(words) == 1 else words[:2]
    try:
        base64.b64decode(text, validate=True)
        entry = HostKeyEntry.from_line(f"host {kind} {text}")
    except (binascii.Error, InvalidHostKey, paramiko.SSHException, ValueError):
        entry = None
    if entry is None or entry.key is None:
        problem = "has a host_key that cannot be read: give type and key as in known_hosts, ssh-ed25519 AAAA…"
        raise SshMisdeclared(name=endpoint.name, problem=problem)
    return entry.key


def _key(endpoint: SshEndpoint) -> paramiko.PKey | None:
    """The private key. Raises `SshMisdeclared`, which does not quote it."""
    text = endpoint.private_key
    if endpoint.key_file:
        try:
            text = Path(endpoint.key_file).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SshMisdeclared(
                name=endpoint.name, problem=f"needs {endpoint.key_file}, which cannot be read: {error}"
            ) from None
    if not text:
        return None
    for kind in _KEY_KINDS:
        try:
            return kind.from_private_key(io.StringIO(text), password=endpoint.passphrase or None)
        except paramiko.PasswordRequiredException:
            raise SshMisdeclared(
                name=endpoint.name, problem="has an encrypted key: give private_key_passphrase, too"
            ) from None
        except (paramiko.SSHException, ValueError):
            continue
    raise SshMisdeclared(
        name=endpoint.name, problem="has a private key (ed25519, ecdsa, rsa) that cannot be read with its passphrase"
    )


class _TakeAny(paramiko.MissingHostKeyPolicy):
    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Nothing is checked."""


class _Refuse(paramiko.MissingHostKeyPolicy):
    def __init__(self, endpoint: SshEndpoint) -> None:
        self.endpoint = endpoint

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        raise HostKeyNotTrusted(
            name=self.endpoint.name,
            address=self.endpoint.address,
            kind=key.get_name(),
            fingerprint=key.fingerprint,
            problem="which nobody vouches for",
        )
