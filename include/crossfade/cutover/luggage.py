"""A migration as plain data, secrets and all, for a process without Airflow: never on a command line or a disk."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

from crossfade.aws import CLIENT_CONFIG
from crossfade.connect import Endpoint
from crossfade.http_endpoint import HttpEndpoint
from crossfade.migration import Migration
from crossfade.plan import parse_plan
from crossfade.plan_hooks import HttpHook
from crossfade.plan_routers import FileSwitch, PgBouncerRouter
from crossfade.ssh import SshEndpoint


def pack(m: Migration) -> dict[str, Any]:
    """Everything that is needed to bring the plan's traffic to one side. Holds secrets."""
    found: dict[str, Endpoint] = {}

    def resolve(connection: str) -> Endpoint:
        found[connection] = m.resolve(connection)
        return found[connection]

    watched = Migration(m.plan, resolve, m.clients, m.ssh, m.http)
    for endpoint in ("source", "target", "source_from_target", "target_from_source"):
        getattr(watched, endpoint)
    for connection in m.plan.dms.connections if m.plan.dms else ():
        resolve(connection)
    for router in (*watched.routers(), *watched.readers()):
        router.close()
    switches = [entry.switch for entry in m.plan.routers if isinstance(entry, PgBouncerRouter)]
    ssh = {host for switch in switches if isinstance(switch, FileSwitch) for host in switch.ssh_connections}
    hooks = m.plan.cutover.hooks
    http = {
        hook.http.connection
        for hook in (*hooks.before, *hooks.after, *hooks.undone)
        if isinstance(hook, HttpHook) and hook.http.connection
    }
    aws = {entry.aws for entry in m.plan.routers if not isinstance(entry, PgBouncerRouter)}
    return {
        "name": m.plan.name,
        "plan": json.loads(m.plan.to_json()),
        "ssh": {name: asdict(m.ssh(name)) for name in ssh},
        "http": {name: _plain(m.http(name)) for name in http},
        "endpoints": {name: {**asdict(each), "options": dict(each.options)} for name, each in found.items()},
        "aws": {name: _aws(m, name) for name in aws | ({m.plan.dms.aws} if m.plan.dms else set())},
    }


def unpack(packed: dict[str, Any]) -> Migration:
    """The migration again."""
    endpoints = {name: Endpoint(**fields) for name, fields in packed["endpoints"].items()}

    def clients(connection: str, service: str) -> Any:
        import boto3  # half a second, which only plans with routers in AWS need to spend

        return boto3.client(service, config=CLIENT_CONFIG, **packed["aws"][connection])

    ssh = {name: SshEndpoint(**fields) for name, fields in packed["ssh"].items()}
    http = {name: HttpEndpoint(**fields) for name, fields in packed["http"].items()}
    plan = parse_plan(packed["plan"], name=packed["name"])
    return Migration(plan, endpoints.__getitem__, clients, ssh.__getitem__, http.__getitem__)


def _plain(endpoint: HttpEndpoint) -> dict[str, Any]:
    return {**asdict(replace(endpoint, headers={})), "headers": dict(endpoint.headers)}


def _aws(m: Migration, connection: str) -> dict[str, Any]:
    """What a client of that connection signs with, as of now, and where it asks."""
    client = m.clients(connection, "sts")
    credentials = client._request_signer._credentials.get_frozen_credentials()
    return {
        "aws_access_key_id": credentials.access_key,
        "aws_secret_access_key": credentials.secret_key,
        "aws_session_token": credentials.token,
        "region_name": client.meta.region_name,
        # the endpoint of one service is not another's; where all have one, it was configured
        "endpoint_url": None if "amazonaws.com" in client.meta.endpoint_url else client.meta.endpoint_url,
    }
