"""What the checks look at: both databases in read-only sessions, and the routers of the plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any, LiteralString

from psycopg import sql

from crossfade import catalog
from crossfade.assess.dms_scene import dms_facts
from crossfade.assess.platform import Platform, platform
from crossfade.assess.registry import Finding, Severity
from crossfade.aws import Clients, no_clients
from crossfade.capabilities import Capabilities, capabilities
from crossfade.catalog import Table
from crossfade.connect import Connection, Endpoint, scalar
from crossfade.migration import Migration
from crossfade.plan import Plan, Tables
from crossfade.plan_routers import PgBouncerRouter
from crossfade.routers.base import Side
from crossfade.routers.declared import router_of
from crossfade.routers.pgbouncer import PgBouncerFleet
from crossfade.routers.pgbouncer_console import Observation
from crossfade.ssh import Ssh, no_ssh

Resolve = Callable[[str], Endpoint]  #: connection id -> how it is reached
REACHABLE = "connectivity.reachable"

#: The session reads only; checks that must try something open a transaction for it and roll it back.
_SESSION = {"default_transaction_read_only": "on", "lock_timeout": "5s", "statement_timeout": "60s"}


class Database:
    """One side, through a read-only session of the migration role. Facts are read once."""

    def __init__(self, side: Side, endpoint: Endpoint, conn: Connection) -> None:
        self.side = side
        self.endpoint = endpoint
        self.conn = conn
        self._tables: dict[Tables, Sequence[Table]] = {}

    @cached_property
    def can(self) -> Capabilities:
        """What the server can do."""
        return capabilities(self.conn)

    @cached_property
    def platform(self) -> Platform:
        """Who runs the server."""
        return platform(self.conn)

    @cached_property
    def role(self) -> dict[str, Any]:
        """The migration role's own line of pg_roles."""
        return self.rows("SELECT * FROM pg_roles WHERE rolname = current_user")[0]

    def rows(self, query: LiteralString, **params: Any) -> list[dict[str, Any]]:
        """All rows of a query."""
        return self.conn.execute(query, params or None).fetchall()

    def value(self, query: LiteralString | sql.Composable, **params: Any) -> Any:
        """The first column of the first row."""
        return scalar(self.conn, query, params or None)

    def setting(self, name: str) -> str:
        """What a setting is for new sessions of this role here, whatever ours says. In the setting's base unit."""
        return str(self.value("SELECT reset_val FROM pg_settings WHERE name = %(name)s", name=name))

    def tables(self, plan: Plan) -> Sequence[Table]:
        """The tables that the plan selects."""
        if plan.tables not in self._tables:
            self._tables[plan.tables] = catalog.tables(self.conn, plan.tables)
        return self._tables[plan.tables]


@dataclass(frozen=True, kw_only=True, slots=True)
class Routes:
    """How each server reaches the other one."""

    source_from_target: Endpoint
    target_from_source: Endpoint


@dataclass(frozen=True, kw_only=True, slots=True)
class Pooler:
    """One router of the plan and what its reachable instances say."""

    entry: PgBouncerRouter
    fleet: PgBouncerFleet
    instances: Mapping[str, Observation]


class Scene:
    """
    Everything that could be reached, and a finding for everything that could not.

    :param facts: what checks may ask for, by the name of their parameter
    """

    def __init__(self, facts: Mapping[str, Any], unreachable: Sequence[Finding]) -> None:
        self.facts = facts
        self.unreachable = unreachable


def set_scene(
    plan: Plan, resolve: Resolve, stack: ExitStack, clients: Clients = no_clients, ssh: Ssh = no_ssh
) -> Scene:
    """Open read-only sessions and consoles, to be closed with the stack. Raises nothing: failures become findings."""
    opener = _Opener(resolve, stack, ssh)
    facts: dict[str, Any] = {"plan": plan}
    for side, connection_id in ((Side.SOURCE, plan.source), (Side.TARGET, plan.target)):
        if (endpoint := opener.resolve(connection_id)) and (conn := opener.connect(endpoint)):
            facts[side.value] = Database(side, endpoint, conn)
    there = opener.resolve(plan.source_from_target or plan.source)
    back = opener.resolve(plan.target_from_source or plan.target)
    if there and back:
        facts["routes"] = Routes(source_from_target=there, target_from_source=back)
    fleets = [entry for entry in plan.routers if isinstance(entry, PgBouncerRouter)]
    poolers = [pooler for entry in fleets if (pooler := opener.pooler(entry, plan))]
    if not fleets or any(pooler.instances for pooler in poolers):
        facts["poolers"] = poolers
    source, target = opener.resolve(plan.source), opener.resolve(plan.target)
    if source and target:
        sides = {Side.SOURCE: source, Side.TARGET: target}
        others = [entry for entry in plan.routers if not isinstance(entry, PgBouncerRouter)]
        facts["switches"] = [router_of(entry, sides=sides, resolve=resolve, clients=clients) for entry in others]
        facts["migration"] = Migration(plan, resolve, clients, ssh)
    if plan.dms is not None:
        facts |= dms_facts(plan.dms, opener.resolve, clients, opener.fail)
        if source and target:
            facts["sides"] = {"source": source, "target": target}
    return Scene(facts, opener.findings)


class _Opener:
    """Opens connections; what fails becomes one finding for each endpoint."""

    def __init__(self, resolve: Resolve, stack: ExitStack, ssh: Ssh) -> None:
        self._resolve, self._stack, self._ssh = resolve, stack, ssh
        self._known: dict[str, Endpoint | None] = {}
        self.findings: list[Finding] = []

    def resolve(self, connection_id: str) -> Endpoint | None:
        if connection_id not in self._known:
            try:
                self._known[connection_id] = self._resolve(connection_id)
            except Exception as error:  # a caller's function: whatever it raises is worth telling
                self._known[connection_id] = None
                self.fail(connection_id, error, f"Create the connection {connection_id!r}, or correct the plan")
        return self._known[connection_id]

    def connect(self, endpoint: Endpoint) -> Connection | None:
        try:
            conn = endpoint.connect("assess", settings=_SESSION)
        except Exception as error:
            self.fail(
                endpoint.name,
                error,
                f'psql "host={endpoint.host} port={endpoint.port} dbname={endpoint.dbname} user={endpoint.user}"',
            )
            return None
        self._stack.callback(conn.close)
        return conn

    def pooler(self, entry: PgBouncerRouter, plan: Plan) -> Pooler | None:
        consoles = [endpoint for console in entry.admin if (endpoint := self.resolve(console))]
        source, target = self.resolve(entry.source or plan.source), self.resolve(entry.target or plan.target)
        if not consoles or source is None or target is None:
            return None
        sides = {Side.SOURCE: source, Side.TARGET: target}
        fleet = PgBouncerFleet(entry=entry, consoles=consoles, sides=sides, ssh=self._ssh)
        self._stack.callback(fleet.close)
        instances, failed = fleet.observe()
        for name, error in failed.items():
            self.fail(
                name,
                error,
                "Check that PgBouncer runs, and that its admin_users holds the user of "
                f"the connection {name!r}, whose database is pgbouncer",
            )
        return Pooler(entry=entry, fleet=fleet, instances=instances)

    def fail(self, name: str, error: Exception, remedy: str) -> None:
        """Enter a finding about what could not be reached."""
        seen = " ".join(f"{type(error).__name__}: {error}".split())
        self.findings.append(Finding(check=REACHABLE, severity=Severity.BLOCKER, object=name, seen=seen, remedy=remedy))
