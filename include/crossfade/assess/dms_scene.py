"""What the checks for AWS DMS look at: how it reaches either side, and its API once that has answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from crossfade.aws import Clients
from crossfade.connect import Endpoint
from crossfade.engines.dms.endpoints import EndpointSide, endpoint_by_arn
from crossfade.engines.dms.refusals import Client, pages
from crossfade.plan_dms import Dms, NewEndpoint

Resolve = Callable[[str], Endpoint | None]  #: connection id -> how it is reached; None where that failed, and was told
Fail = Callable[[str, Exception, str], None]  #: what could not be reached, why, and what to do

Sides = Mapping[EndpointSide, Endpoint]  #: both connections of the plan

#: What checks for this engine alone give as their engines.
DMS = frozenset({"dms"})


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """How DMS reaches one side. None: AWS does not tell, since it is in a secret."""

    side: EndpointSide
    name: str  #: what people call it: the endpoint's identifier, or the connection of one that is to be made
    key: str  #: of the plan: where to put it right
    role: str | None  #: that DMS logs in as
    host: str | None
    port: int | None
    dbname: str | None
    login: Endpoint | None = None  #: what DMS is told where the endpoint is to be made, and no secret holds it

    @property
    def address(self) -> str:
        """Host, port and database, for messages."""
        return f"{self.host or 'a host in a secret'}:{self.port or '?'}/{self.dbname}"


def dms_facts(dms: Dms, resolve: Resolve, clients: Clients, fail: Fail) -> dict[str, Any]:
    """
    ``aws`` and ``rds`` (the APIs, where that of DMS answers), ``ends`` (how DMS reaches the sides, as far as known).

    Raises nothing: what fails is told to `fail`.
    """
    facts: dict[str, Any] = {}
    try:
        client = clients(dms.aws, "dms")
        pages(
            client,
            "describe_replication_instances",
            "ReplicationInstances",
            action="dms:DescribeReplicationInstances",
            subject="this account and region",
        )
        facts |= {"aws": client, "rds": clients(dms.aws, "rds")}
    except Exception as error:  # a caller's function, and whatever boto3 makes of credentials
        fail(dms.aws, error, f"Give the AWS connection {dms.aws!r} a region, and credentials or a role for AWS DMS")
    found = (_end(dms, "source", resolve, facts.get("aws"), fail), _end(dms, "target", resolve, facts.get("aws"), fail))
    facts["ends"] = {end.side: end for end in found if end}
    return facts


def _end(dms: Dms, side: EndpointSide, resolve: Resolve, client: Client | None, fail: Fail) -> End | None:
    given = dms.source if side == "source" else dms.target
    named = dms.source_role if side == "source" else dms.target_role
    if isinstance(given, NewEndpoint):
        login = resolve(given.connection)
        if login is None:
            return None  # told already
        return _to_be_made(side, login, role=named, by_secret=given.secret is not None)
    if client is None:
        return None  # told already
    try:
        told = endpoint_by_arn(client, given)
    except Exception as error:
        fail(given, error, "Allow dms:DescribeEndpoints to the role of the AWS connection")
        return None
    return None if told is None else _given(side, told, role=named)  # an unknown one: dms_aws.endpoints tells


def _to_be_made(side: EndpointSide, login: Endpoint, *, role: str | None, by_secret: bool) -> End:
    return End(
        side=side,
        name=login.name,
        key=f"dms.{side}.connection",
        role=role or login.user,
        host=login.host,
        port=login.port,
        dbname=login.dbname,
        login=None if by_secret else login,
    )


def _given(side: EndpointSide, told: Mapping[str, Any], *, role: str | None) -> End:
    """AWS tells a login either beside or within the settings."""
    has = {**(told.get("PostgreSQLSettings") or {}), **{key: value for key, value in told.items() if value}}
    port = has.get("Port")
    return End(
        side=side,
        name=told["EndpointIdentifier"],
        key=f"dms.{side}",
        role=role or has.get("Username"),
        host=has.get("ServerName"),
        port=int(port) if port else None,
        dbname=has.get("DatabaseName"),
    )
