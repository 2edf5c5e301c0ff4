"""Airflow connections as endpoints and AWS clients: looked up when a task runs, every secret masked, nothing kept."""

from __future__ import annotations

import json
from typing import Any

import psycopg
from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException
from airflow.sdk.log import amask_secret, mask_secret

from crossfade.connect import Endpoint
from crossfade.errors import PreconditionError
from crossfade.http_endpoint import HttpEndpoint, HttpMisdeclared
from crossfade.migration import Resolve
from crossfade.ssh import SshEndpoint, SshMisdeclared

#: Extras that libpq knows travel with the endpoint: sslmode, sslrootcert, connect_timeout …
_OPTIONS = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()} - {
    "host",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "replication",
}


class UnusableConnection(PreconditionError):
    """An Airflow connection is missing, or lacks what is needed to connect."""

    def __init__(self, *, conn_id: str, needed_by: str, problem: str) -> None:
        self.conn_id, self.needed_by, self.problem = conn_id, needed_by, problem
        super().__init__(
            f"the connection {conn_id!r}, which {needed_by} names, {problem}. "
            "Put it right under Admin > Connections, as AIRFLOW_CONN_… or in the secrets backend"
        )


def resolver(plan: str) -> Resolve:
    """What turns the connection ids of a plan into endpoints. The endpoints raise `UnusableConnection`."""
    return lambda conn_id: endpoint(conn_id, needed_by=f"the plan {plan!r}")


def endpoint(conn_id: str, *, needed_by: str) -> Endpoint:
    """How the database of an Airflow connection is reached, its secrets masked. Raises `UnusableConnection`."""
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise _missing(conn_id, needed_by) from None
    found = _endpoint(connection, needed_by)
    for secret in _secrets(found):
        mask_secret(secret)
    return found


async def aendpoint(conn_id: str, *, needed_by: str) -> Endpoint:
    """The same inside an event loop, where the synchronous lookup would block every other trigger."""
    try:
        connection = await BaseHook.aget_connection(conn_id)
    except AirflowNotFoundException:
        raise _missing(conn_id, needed_by) from None
    found = _endpoint(connection, needed_by)
    for secret in _secrets(found):
        await amask_secret(secret)
    return found


def aws_client(conn_id: str, service: str, *, needed_by: str = "the plan") -> Any:
    """
    A boto3 client of an Airflow connection of type aws: region, credentials, role, endpoint_url are the connection's.

    It slows down and retries where AWS throttles, unless the connection's config_kwargs say otherwise.
    Raises `UnusableConnection`.
    """
    # imported here: two thirds of a second of CPU, which tasks that ask nothing of AWS need not spend
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
    from botocore.exceptions import BotoCoreError

    from crossfade.aws import CLIENT_CONFIG

    needed_by = f"{needed_by} (for {service})"
    hook = AwsBaseHook(aws_conn_id=conn_id, client_type=service)
    try:
        BaseHook.get_connection(conn_id)  # the hook itself would go on without it, with the worker's own credentials
        return hook.get_client_type(config=CLIENT_CONFIG.merge(hook.config))
    except AirflowNotFoundException:
        raise _missing(conn_id, needed_by) from None
    except (BotoCoreError, ValueError, AirflowException) as error:
        problem = f"gives no AWS client: {error}"
        raise UnusableConnection(conn_id=conn_id, needed_by=needed_by, problem=problem) from None


def ssh_endpoint(conn_id: str, *, needed_by: str = "the plan") -> SshEndpoint:
    """
    How the host of an Airflow connection of type ssh or sftp is reached, its secrets masked.

    Extras as the SSH provider names them: private_key, key_file, private_key_passphrase, host_key,
    no_host_key_check (here false unless it is given); besides, known_hosts. Raises `UnusableConnection`.
    """

    def refuse(problem: str) -> UnusableConnection:
        return UnusableConnection(conn_id=conn_id, needed_by=needed_by, problem=problem)

    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise _missing(conn_id, needed_by) from None
    if connection.conn_type not in ("ssh", "sftp"):
        raise refuse(f"is of type {connection.conn_type!r}: make it one of type ssh")
    if not connection.host or not connection.login:
        raise refuse(f"has no {'login' if connection.host else 'host'}")
    extras = _extras(connection.extra)
    if extras is None:
        raise refuse("has extras that are not a JSON object")
    if extras.get("host_proxy_cmd"):
        raise refuse("asks for a proxy command (extra 'host_proxy_cmd'), which is not supported")
    for secret in (connection.password, extras.get("private_key"), extras.get("private_key_passphrase")):
        if secret:
            mask_secret(secret)
    try:
        return SshEndpoint.declared(
            conn_id,
            host=connection.host,
            port=connection.port,
            user=connection.login,
            password=connection.password or "",
            options=extras,
        )
    except SshMisdeclared as error:
        raise refuse(error.problem) from None


#: Extras of an HTTP connection that are no headers, as the HTTP provider names them.
_NO_HEADERS = frozenset(
    {
        "allow_redirects",
        "auth_kwargs",
        "auth_type",
        "cert",
        "check_response",
        "max_redirects",
        "proxies",
        "proxy",
        "stream",
        "timeout",
        "trust_env",
        "verify",
    }
)


def http_endpoint(conn_id: str, *, needed_by: str = "the plan") -> HttpEndpoint:
    """
    Where an Airflow connection of type http leads, its secrets masked.

    As the HTTP provider reads it: a host with or without a scheme, login and password for basic authentication, and
    extras that are headers; these may also be together in an extra ``headers``. Raises `UnusableConnection`.
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise _missing(conn_id, needed_by) from None
    extras = _extras(connection.extra)
    if extras is None:
        raise UnusableConnection(conn_id=conn_id, needed_by=needed_by, problem="has extras that are not a JSON object")
    together = extras.pop("headers", {})
    verify = extras.get("verify", True)
    told = {**extras, **(together if isinstance(together, dict) else {})}
    headers = {key: str(value) for key, value in told.items() if key not in _NO_HEADERS}
    for secret in (connection.password, *headers.values()):
        if secret:
            mask_secret(secret)
    host = connection.host or ""
    port = f":{connection.port}" if connection.port else ""
    try:
        return HttpEndpoint(
            name=conn_id,
            base_url=(host if "://" in host else f"{connection.schema or 'http'}://{host}") + port,
            user=connection.login or "",
            password=connection.password or "",
            headers=headers,
            verify=verify if isinstance(verify, bool) else str(verify),
        )
    except HttpMisdeclared as error:
        raise UnusableConnection(conn_id=conn_id, needed_by=needed_by, problem=error.problem) from None


def _missing(conn_id: str, needed_by: str) -> UnusableConnection:
    return UnusableConnection(conn_id=conn_id, needed_by=needed_by, problem="does not exist")


def _endpoint(connection: Connection, needed_by: str) -> Endpoint:
    def refuse(problem: str) -> UnusableConnection:
        return UnusableConnection(conn_id=connection.conn_id, needed_by=needed_by, problem=problem)

    for field, called in (("host", "host"), ("schema", "database"), ("login", "login")):
        if not getattr(connection, field):
            raise refuse(f"has no {called}")
    extras = _extras(connection.extra)
    if extras is None:
        raise refuse("has extras that are not a JSON object")
    if extras.get("iam"):
        raise refuse("asks for an IAM token (extra 'iam'), which lives 15 minutes: use a password")
    return Endpoint(
        name=connection.conn_id,
        host=connection.host,
        port=connection.port or 5432,
        dbname=connection.schema,
        user=connection.login,
        password=connection.password or "",
        options={key: _text(value) for key, value in extras.items() if key in _OPTIONS and value is not None},
    )


def _extras(extra: str | None) -> dict[str, Any] | None:
    try:
        parsed = json.loads(extra or "{}")
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _secrets(found: Endpoint) -> list[str]:
    """The password, and every form in which it may show: quoted as in a conninfo, and whole conninfos."""
    secrets = [secret for secret in (found.password, found.options.get("sslpassword")) if secret]
    quoted = [psycopg.conninfo.make_conninfo(password=secret).removeprefix("password=") for secret in secrets]
    return [*secrets, *quoted, *([found.conninfo()] if secrets else [])]
