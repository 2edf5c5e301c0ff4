"""Parameter groups of RDS and Aurora: what must change for a migration by AWS DMS, shown, and applied on request."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from crossfade.engines.dms.refusals import Client, NotFound, asking
from crossfade.errors import PreconditionError

log = logging.getLogger(__name__)

_MOST_A_CALL = 20  #: parameters (API reference of RDS: ModifyDBParameterGroup)


@dataclass(frozen=True, kw_only=True, slots=True)
class ParameterGroup:
    """The parameter group that decides over a database's settings."""

    kind: Literal["instance", "cluster"]  #: cluster: Aurora
    name: str
    database: str  #: identifier of the instance or cluster
    pending_reboot: bool  #: whether changes made before wait for a reboot

    @property
    def default(self) -> bool:
        """Whether it is one of AWS's own, which nobody can change."""
        return self.name.startswith("default.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One parameter that must have another value."""

    name: str
    now: str | None  #: None where it is not known
    wanted: str
    why: str
    reboot: bool  #: whether it takes effect only after one

    def __str__(self) -> str:
        when = "after a reboot" if self.reboot else "at once"
        return f"{self.name}: {self.now or 'default'} -> {self.wanted} ({when}): {self.why}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ParameterPlan:
    """What must change in a parameter group, and what that takes."""

    group: ParameterGroup
    changes: tuple[Change, ...]

    @property
    def reboot(self) -> bool:
        """Whether the database must be rebooted before all of it holds."""
        return self.group.pending_reboot or any(change.reboot for change in self.changes)

    @property
    def text(self) -> str:
        """What changes, and how it is done, for a person to read."""
        group = self.group
        if not self.changes and not self.reboot:
            return f"{group.database}: parameter group {group.name} is as needed"
        lines = [f"{group.database}: parameter group {group.name}", *(f"  {change}" for change in self.changes)]
        if self.changes and group.default:
            lines.append(f"  {group.name} is AWS's own and cannot be changed: {_own_group(group)}")
        if self.reboot:
            lines.append(f"  needs a reboot: {_reboot(group)}")
        return "\n".join(lines)


def _own_group(group: ParameterGroup) -> str:
    cluster = "cluster-" if group.kind == "cluster" else ""
    return (
        f"create one (aws rds create-db-{cluster}parameter-group), give it to the database "
        f"(aws rds modify-db-{group.kind} --db-{cluster}parameter-group-name …) and reboot"
    )


def _reboot(group: ParameterGroup) -> str:
    if group.kind == "cluster":
        return f"every instance of the cluster {group.database}, the writer first (aws rds reboot-db-instance)"
    return f"aws rds reboot-db-instance --db-instance-identifier {group.database}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rule:
    """One parameter, when its value will not do, and what it shall be."""

    name: str
    wanted: str
    why: str
    fits: Callable[[str | None], bool]
    static: bool
    roles: tuple[str, ...] = ("source",)
    kinds: tuple[str, ...] = ("instance", "cluster")


def _at_least(least: int) -> Callable[[str | None], bool]:
    """A value that is not known, or a formula of the instance's size, is left alone."""
    return lambda value: value is None or not value.lstrip("-").isdecimal() or int(value) >= least


def _rules(slots: int) -> tuple[_Rule, ...]:
    """User guide of AWS DMS: PostgreSQL as a source, on RDS and Aurora; PostgreSQL: replication settings."""
    return (
        _Rule(
            name="rds.logical_replication",
            wanted="1",
            why="logical WAL, which the stream is read from; on the target for the way back",
            fits=lambda value: value in ("1", "on"),
            static=True,
            roles=("source", "target"),
        ),
        _Rule(
            name="max_replication_slots",
            wanted=str(slots),
            why="free slots for DMS's tasks and for the way back",
            fits=_at_least(slots),
            static=True,
            roles=("source", "target"),
        ),
        _Rule(
            name="max_wal_senders",
            wanted=str(slots),
            why="a sender for each slot",
            fits=_at_least(slots),
            static=True,
            roles=("source", "target"),
        ),
        _Rule(
            name="wal_sender_timeout",
            wanted="0",
            why="DMS wants none, or at least 10000 ms: else its stream is cut while it is busy",
            fits=lambda value: value in (None, "0") or _at_least(10_000)(value),
            static=False,
        ),
        _Rule(
            name="idle_in_transaction_session_timeout",
            wanted="0",
            why="DMS's sessions wait within transactions",
            fits=lambda value: value in (None, "0"),
            static=False,
            roles=("source", "target"),
        ),
        _Rule(
            name="synchronous_commit",
            wanted="on",
            why="without it Aurora may lose commits that DMS has captured",
            fits=lambda value: value in (None, "on", "1"),
            static=False,
            kinds=("cluster",),
        ),
    )


def group_of(rds: Client, database: str) -> ParameterGroup:
    """
    The parameter group of an RDS instance, or of an Aurora cluster by its own or a member's identifier.

    Raises `PreconditionError` where there is no such database, and as `refusals.asking`.
    """
    try:
        with asking("rds:DescribeDBInstances", f"database {database}"):
            told = rds.describe_db_instances(DBInstanceIdentifier=database)["DBInstances"][0]
    except NotFound:
        return _cluster_group(rds, database)
    if told.get("DBClusterIdentifier"):
        return _cluster_group(rds, told["DBClusterIdentifier"])
    group = told["DBParameterGroups"][0]
    return ParameterGroup(
        kind="instance",
        name=group["DBParameterGroupName"],
        database=database,
        pending_reboot=group.get("ParameterApplyStatus") == "pending-reboot",
    )


def _cluster_group(rds: Client, cluster: str) -> ParameterGroup:
    with asking("rds:DescribeDBClusters", f"database {cluster}"):
        told = rds.describe_db_clusters(DBClusterIdentifier=cluster)["DBClusters"][0]
    waiting = any(
        member.get("DBClusterParameterGroupStatus") == "pending-reboot" for member in told.get("DBClusterMembers", [])
    )
    return ParameterGroup(
        kind="cluster", name=told["DBClusterParameterGroup"], database=cluster, pending_reboot=waiting
    )


def needed(
    rds: Client,
    database: str,
    *,
    role: Literal["source", "target"],
    slots: int = 10,
    settings: Mapping[str, str] | None = None,
) -> ParameterPlan:
    """
    What must change for that database to be the source or the target; changes nothing.

    :param slots: replication slots, and WAL senders, that it must have
    :param settings: of the running server, by name: for parameters that the group leaves to the engine's default
    Raises as `group_of`.
    """
    group = group_of(rds, database)
    known = {**(settings or {}), **_values(rds, group)}
    changes = [
        Change(name=rule.name, now=known.get(rule.name), wanted=rule.wanted, why=rule.why, reboot=rule.static)
        for rule in _rules(slots)
        if role in rule.roles and group.kind in rule.kinds and not rule.fits(known.get(rule.name))
    ]
    return ParameterPlan(group=group, changes=tuple(changes))


def _values(rds: Client, group: ParameterGroup) -> dict[str, str]:
    cluster = group.kind == "cluster"
    action = "rds:DescribeDBClusterParameters" if cluster else "rds:DescribeDBParameters"
    describe = rds.describe_db_cluster_parameters if cluster else rds.describe_db_parameters
    key = "DBClusterParameterGroupName" if cluster else "DBParameterGroupName"
    values: dict[str, str] = {}
    marker: dict[str, str] = {}
    while True:
        with asking(action, f"parameter group {group.name}"):
            answer = describe(**{key: group.name}, **marker)
        for parameter in answer.get("Parameters", []):
            if parameter.get("ParameterValue") is not None:
                values[parameter["ParameterName"]] = parameter["ParameterValue"]
        if not answer.get("Marker"):
            return values
        marker = {"Marker": answer["Marker"]}


def apply(rds: Client, plan: ParameterPlan) -> None:
    """
    Make the changes in the parameter group; it never reboots. Every database that has this group gets them.

    Raises `PreconditionError` for a default group, and as `refusals.asking`.
    """
    group = plan.group
    if plan.changes and group.default:
        raise PreconditionError(
            f"{group.name}, the parameter group of {group.database}, is AWS's own and cannot be changed: "
            f"{_own_group(group)}. Nothing was changed"
        )
    cluster = group.kind == "cluster"
    action = "rds:ModifyDBClusterParameterGroup" if cluster else "rds:ModifyDBParameterGroup"
    modify = rds.modify_db_cluster_parameter_group if cluster else rds.modify_db_parameter_group
    key = "DBClusterParameterGroupName" if cluster else "DBParameterGroupName"
    for first in range(0, len(plan.changes), _MOST_A_CALL):
        parameters: list[dict[str, Any]] = [
            {
                "ParameterName": change.name,
                "ParameterValue": change.wanted,
                "ApplyMethod": "pending-reboot" if change.reboot else "immediate",
            }
            for change in plan.changes[first : first + _MOST_A_CALL]
        ]
        with asking(action, f"parameter group {group.name}"):
            modify(**{key: group.name}, Parameters=parameters)
    for change in plan.changes:
        log.info("parameter group %s: %s", group.name, change)
