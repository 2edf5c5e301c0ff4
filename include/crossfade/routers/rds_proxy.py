"""An RDS Proxy as a router: what is registered in its target group is what its clients reach."""

from __future__ import annotations

import logging
from typing import Any

from crossfade.aws import AwsNotFound, AwsService, Clients
from crossfade.plan_routers import ProxiedDatabase, RdsProxyRouter
from crossfade.routers.base import Side
from crossfade.routers.switching import LeadsElsewhere, NotPausing, wait_for

log = logging.getLogger(__name__)

_ADVICE = {
    "AUTH_FAILURE": "the proxy's secrets must hold users and passwords that the database accepts",
    "UNREACHABLE": "the proxy's security groups and subnets must let it reach the database",
}


class RdsProxy(NotPausing):
    """
    One `rds_proxy` router of a plan; implements `Router` and `Foreseeing`.

    A target group holds one database at a time (docs.aws.amazon.com: RDS Proxy, quotas and limitations), hence the old
    one is deregistered before the new one is registered; the proxy meanwhile answers clients with an error.

    :param entry: the router as the plan declares it
    """

    def __init__(self, *, entry: RdsProxyRouter, clients: Clients) -> None:
        super().__init__(AwsService(clients, entry.aws, "rds", thing=f"the RDS Proxy {entry.proxy!r}"))
        self.entry = entry
        self._group = {"DBProxyName": entry.proxy, "TargetGroupName": entry.target_group}

    @property
    def label(self) -> str:
        return f"RDS Proxy {self.entry.proxy}"

    def at(self, side: Side) -> ProxiedDatabase:
        """The database of that side."""
        return self.entry.source if side is Side.SOURCE else self.entry.target

    def serving(self) -> Side:
        """The side whose instance or cluster is registered, alone. Raises `LeadsElsewhere`."""
        registered = self._registered()
        for side in Side:
            if registered == [self.at(side)]:
                return side
        raise LeadsElsewhere(
            self.label,
            seen=", ".join(str(one) for one in registered) or "no registered target",
            source=str(self.at(Side.SOURCE)),
            target=str(self.at(Side.TARGET)),
        )

    def repoint(self, side: Side) -> None:
        """
        Register that side's database, alone, and wait until the proxy finds it AVAILABLE; takes up where it was left.

        Raises `DeadlineExceeded` with the proxy's reason, `AwsNotFound` where the plan names no such database.
        """
        new, registered = self.at(side), self._registered()
        if foreign := [one for one in registered if one not in (self.at(Side.SOURCE), self.at(Side.TARGET))]:
            raise LeadsElsewhere(
                self.label,
                seen=", ".join(str(one) for one in foreign),
                source=str(self.at(Side.SOURCE)),
                target=str(self.at(Side.TARGET)),
            )
        for old in registered:
            if old != new:
                self._deregister(old)
        if new not in registered:
            self.aws.call("register_db_proxy_targets", **self._group, **_named(new))
        wait_for(
            f"{self.label}: {new} as its only target",
            lambda: self._ready(new),
            seconds=self.entry.timeout.total_seconds(),
        )
        log.info("%s leads to the %s (%s)", self.label, side, new)

    def obstacles(self) -> list[str]:
        """Databases of the plan that AWS does not know, and what the proxy finds wrong with the one it serves."""
        found = []
        for side in Side:
            database = self.at(side)
            try:
                self._exists(database)
            except AwsNotFound:
                found.append(f"{self.label}: the {side}, {database}, does not exist: correct the plan")
        serving = self.at(self.serving())
        healthy, seen = self._health(serving)
        if not healthy:
            found.append(f"{self.label} does not find {serving} available: {seen}. Put that right first")
        return found

    def effect(self) -> str:
        """What clients see."""
        return (
            f"{self.label} cannot hold clients: their sessions end, and it refuses new ones until it finds the target "
            f"available (some seconds, at most {self.entry.timeout.total_seconds():g} s)"
        )

    def _exists(self, database: ProxiedDatabase) -> None:
        if database.cluster:
            self.aws.call("describe_db_clusters", DBClusterIdentifier=database.cluster)
        else:
            self.aws.call("describe_db_instances", DBInstanceIdentifier=database.instance)

    def _targets(self) -> list[dict[str, Any]]:
        targets: list[dict[str, Any]] = []
        marker: dict[str, str] = {}
        while True:
            page = self.aws.call("describe_db_proxy_targets", **self._group, **marker)
            targets += page["Targets"]
            if not page.get("Marker"):
                return targets
            marker = {"Marker": page["Marker"]}

    def _registered(self) -> list[ProxiedDatabase]:
        """What was registered: a cluster is shown with its instances, which are not counted."""
        return [
            ProxiedDatabase(cluster=target["RdsResourceId"])
            if target["Type"] == "TRACKED_CLUSTER"
            else ProxiedDatabase(instance=target["RdsResourceId"])
            for target in self._targets()
            if target["Type"] == "TRACKED_CLUSTER" or not target.get("TrackedClusterId")
        ]

    def _ready(self, new: ProxiedDatabase) -> tuple[bool, str]:
        """Whether it alone is registered and can be written to, and what the proxy shows."""
        healthy, seen = self._health(new)
        others = [str(one) for one in self._registered() if one != new]
        return healthy and not others, f"{seen}; also registered: {', '.join(others)}" if others else seen

    def _deregister(self, database: ProxiedDatabase) -> None:
        try:
            self.aws.call("deregister_db_proxy_targets", **self._group, **_named(database))
        except AwsNotFound as error:
            if "TargetNotFound" not in str(error):  # else it is gone already
                raise

    def _health(self, database: ProxiedDatabase) -> tuple[bool, str]:
        """Whether it can be written to through the proxy, and what the proxy says of it."""
        judged = [
            target for target in self._targets() if _takes_writes(target, database) and target.get("TargetHealth")
        ]
        healths = [target["TargetHealth"] for target in judged]
        if any(health.get("State") == "AVAILABLE" for health in healths):
            return True, "AVAILABLE"
        return False, "; ".join(_in_words(health) for health in healths) or "the proxy has not looked at it yet"


def _named(database: ProxiedDatabase) -> dict[str, list[str]]:
    if database.cluster:
        return {"DBClusterIdentifiers": [database.cluster]}
    return {"DBInstanceIdentifiers": [str(database.instance)]}


def _takes_writes(target: dict[str, Any], database: ProxiedDatabase) -> bool:
    """Of a cluster its writer counts: readers answer before there is one."""
    if target.get("Role") == "READ_ONLY":
        return False
    if database.cluster:
        return database.cluster in (target.get("TrackedClusterId"), target["RdsResourceId"])
    return bool(target["RdsResourceId"] == database.instance)


def _in_words(health: dict[str, str]) -> str:
    reason = health.get("Reason", "")
    words = " ".join(filter(None, (health.get("State"), reason, health.get("Description"))))
    return f"{words} ({_ADVICE[reason]})" if reason in _ADVICE else words
