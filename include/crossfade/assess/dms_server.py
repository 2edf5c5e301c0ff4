"""Settings of the source's server that AWS DMS needs, and of both for its roles.

User guide of AWS DMS, "Using a PostgreSQL database as an AWS DMS source": prerequisites and premigration assessments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from psycopg import sql

from crossfade.assess.dms_scene import DMS, End
from crossfade.assess.platform import Platform, change_of, database_identifier, is_rds_proxy
from crossfade.assess.registry import Problem, Severity, check
from crossfade.assess.scene import Database
from crossfade.connect import scalar
from crossfade.engines.dms.endpoints import EndpointSide
from crossfade.engines.dms.parameters import needed
from crossfade.engines.dms.refusals import Client
from crossfade.errors import CrossfadeError
from crossfade.queries import named_queries

_QUERIES = named_queries(__file__)

_LEAST = 2  #: DMS wants more than one slot and one sender, whatever it uses
_SHORTEST_SENDER_TIMEOUT = 10_000  #: milliseconds
#: Settings with which the server ends a session of DMS that loads, or waits within a transaction.
_LIMITS = (
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "statement_timeout",
    "transaction_timeout",
)

Ends = Mapping[EndpointSide, End]


@check("dms_server.slots_and_senders", severity=Severity.BLOCKER, engines=DMS)
def a_slot_and_a_sender_are_free(source: Database) -> Iterator[Problem]:
    """No replication slot, or no WAL sender, left for DMS on the source."""
    for name, query in (("max_replication_slots", "slots"), ("max_wal_senders", "senders")):
        limit, used = int(source.setting(name)), int(source.value(_QUERIES[query]))
        if limit < _LEAST or used >= limit:
            yield Problem(
                name,
                f"{limit} on {source.endpoint.name}, {used} taken; AWS DMS needs a free one, and a limit above 1",
                change_of(source.platform, source.endpoint, name, max(used + 1, _LEAST), restart=True),
            )


@check("dms_server.sender_timeout", severity=Severity.BLOCKER, engines=DMS)
def its_stream_is_not_cut(source: Database, ends: Ends) -> Iterator[Problem]:
    """A wal_sender_timeout below 10 s on the source: the stream would be cut whenever DMS is busy."""
    milliseconds = _of_role(source, ends, "source", "wal_sender_timeout")
    if 0 < milliseconds < _SHORTEST_SENDER_TIMEOUT:
        yield Problem(
            "wal_sender_timeout",
            f"{milliseconds} ms on {source.endpoint.name}; AWS DMS needs none, or at least 10 s",
            change_of(source.platform, source.endpoint, "wal_sender_timeout", 0, restart=False),
        )


@check("dms_server.session_limits", severity=Severity.WARNING, engines=DMS)
def its_sessions_are_not_ended(source: Database, target: Database, ends: Ends) -> Iterator[Problem]:
    """Time limits that would end DMS's sessions in the middle of the load, or between changes."""
    databases: Mapping[EndpointSide, Database] = {"source": source, "target": target}
    for side, database in databases.items():
        end = ends.get(side)
        role = sql.Identifier(end.role).as_string() if end and end.role else None
        for name in _LIMITS:
            if milliseconds := _of_role(database, ends, side, name):
                yield Problem(
                    name,
                    f"{milliseconds} ms for {role or 'AWS DMS'} on {database.endpoint.name}: its sessions would end",
                    f"ALTER ROLE {role or '…'} SET {name} = 0;",
                )


def _of_role(database: Database, ends: Ends, side: EndpointSide, name: str) -> int:
    """
    Milliseconds that a time limit has for DMS's role there; 0 for none, and where the server has no such setting.

    Taken from what is set for the role and the database, else from what a new session of ours would get.
    """
    if database.value("SELECT count(*) FROM pg_settings WHERE name = %(name)s", name=name) == 0:
        return 0
    end = ends.get(side)
    own = database.value(_QUERIES["setting_of_role"], role=end.role if end else None, prefix=f"{name}=")
    if own is None:
        return int(database.setting(name))
    with database.conn.transaction(force_rollback=True):  # the server knows what '1min' is
        database.conn.execute("SELECT set_config(%s, %s, true)", [name, own])
        return int(scalar(database.conn, "SELECT setting FROM pg_settings WHERE name = %s", [name]))


@check("dms_server.aurora_commits", severity=Severity.BLOCKER, engines=DMS)
def commits_of_aurora_are_durable(source: Database) -> Iterator[Problem]:
    """An Aurora source that confirms commits before they are durable: DMS may capture what is lost again."""
    if source.platform is Platform.AURORA and (value := source.setting("synchronous_commit")) != "on":
        yield Problem(
            "synchronous_commit",
            f"{value} on {source.endpoint.name}; on Aurora it must be on for AWS DMS",
            change_of(source.platform, source.endpoint, "synchronous_commit", "on", restart=False),
        )


@check("dms_server.proxy", severity=Severity.BLOCKER, engines=DMS)
def it_reads_from_no_proxy(ends: Ends) -> Iterator[Problem]:
    """A source endpoint that leads to an RDS Proxy, which takes no replication connection."""
    end = ends.get("source")
    if end and end.host and is_rds_proxy(end.host):
        yield Problem(
            end.name,
            f"it leads to the RDS Proxy {end.host}: AWS DMS captures no changes through one",
            f"{end.key}: …  # in the plan: with the host of the instance or cluster itself",
        )


@check("dms_server.parameter_groups", severity=Severity.WARNING, engines=DMS)
def parameter_groups_are_as_needed(source: Database, target: Database, rds: Client) -> Iterator[Problem]:
    """Parameter groups of RDS and Aurora that would not give what AWS DMS needs, or wait for a reboot."""
    for side, database in (("source", source), ("target", target)):
        identifier = database_identifier(database.endpoint)
        if not database.platform.by_aws or identifier is None:
            continue
        try:
            plan = needed(rds, identifier, role="source" if side == "source" else "target", settings=_running(database))
        except CrossfadeError as error:
            yield Problem(identifier, str(error), f"See to the parameter group of {identifier} by yourself")
            continue
        for change in plan.changes:
            yield Problem(
                plan.group.name,
                f"{identifier}: {change}",
                change_of(
                    database.platform,
                    database.endpoint,
                    change.name,
                    change.wanted,
                    restart=change.reboot,
                    group="…" if plan.group.default else plan.group.name,
                )
                + (f"\n# {plan.group.name} is AWS's own: create a group first" if plan.group.default else ""),
            )
        if plan.group.pending_reboot:
            yield Problem(plan.group.name, f"changes of {identifier} wait for a reboot", _reboot(identifier))


def _running(database: Database) -> dict[str, str]:
    """What the server runs with, by the names that RDS gives to its parameters."""
    names = (
        *("max_replication_slots", "max_wal_senders", "wal_sender_timeout"),
        *("idle_in_transaction_session_timeout", "synchronous_commit"),
    )
    logical = "1" if database.setting("wal_level") == "logical" else "0"
    return {"rds.logical_replication": logical, **{name: database.setting(name) for name in names}}


def _reboot(identifier: str) -> str:
    return f"aws rds reboot-db-instance --db-instance-identifier {identifier}  # of a cluster: every instance"
