"""From a router's section of a plan to the router itself. Connects to nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from crossfade.aws import Clients
from crossfade.connect import Endpoint
from crossfade.plan_routers import PgBouncerRouter, RdsProxyRouter, Route53Router
from crossfade.plan_routers import Router as Entry
from crossfade.routers.base import Router, Side
from crossfade.routers.pgbouncer import PgBouncerFleet
from crossfade.routers.rds_proxy import RdsProxy
from crossfade.routers.route53 import Route53Record
from crossfade.routers.secret import ConnectionSecret
from crossfade.ssh import Ssh, no_ssh


def router_of(
    entry: Entry,
    *,
    sides: Mapping[Side, Endpoint],
    resolve: Callable[[str], Endpoint],
    clients: Clients,
    ssh: Ssh = no_ssh,
) -> Router:
    """
    The router that an entry of the plan declares, not yet opened.

    :param sides: where each database is
    :param resolve: connection id -> console; raises what it raises
    :param clients: AWS connection id, service -> boto3 client; asked only when the router is used
    :param ssh: SSH connection id -> how a pooler's host is reached; asked only when its files are
    """
    if isinstance(entry, PgBouncerRouter):
        consoles = [resolve(console) for console in entry.admin]
        return PgBouncerFleet(entry=entry, consoles=consoles, sides=sides, ssh=ssh)
    if isinstance(entry, RdsProxyRouter):
        return RdsProxy(entry=entry, clients=clients)
    if isinstance(entry, Route53Router):
        return Route53Record(entry=entry, sides=sides, clients=clients)
    return ConnectionSecret(entry=entry, sides=sides, clients=clients)
