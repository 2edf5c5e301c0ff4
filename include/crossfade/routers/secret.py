"""A connection secret in Secrets Manager as a router: applications read from it where their database is."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from crossfade.aws import AwsRefused, AwsService, Clients
from crossfade.connect import Endpoint
from crossfade.errors import PreconditionError, TransientError
from crossfade.plan_routers import SecretDatabase, SecretRouter
from crossfade.routers.base import Side
from crossfade.routers.switching import LeadsElsewhere, NotPausing

log = logging.getLogger(__name__)

CURRENT = "AWSCURRENT"
PREPARED = "crossfade"  #: label of the version we write, before it becomes the current one
_WHERE = frozenset({"host", "port", "dbname", "dbInstanceIdentifier", "dbClusterIdentifier"})


class SecretUnusable(PreconditionError):
    """The secret does not hold a connection as JSON. What it holds is never shown."""


class SecretChanged(TransientError):
    """Somebody gave the secret a new version in the same moment: nothing was overwritten."""


@dataclass(frozen=True, slots=True)
class _Version:
    id: str
    keys: dict[str, Any] = field(repr=False)


class ConnectionSecret(NotPausing):
    """
    One `secret` router of a plan; implements `Router` and `Foreseeing`.

    :param entry: the router as the plan declares it
    :param sides: where each database is, where the plan does not say
    """

    def __init__(self, *, entry: SecretRouter, sides: Mapping[Side, Endpoint], clients: Clients) -> None:
        super().__init__(AwsService(clients, entry.aws, "secretsmanager", thing=f"the secret {entry.secret!r}"))
        self.entry = entry
        self._where = {side: _where(declared, sides[side]) for side, declared in _declared(entry).items()}

    @property
    def label(self) -> str:
        return f"secret {self.entry.secret}"

    def at(self, side: Side) -> str:
        """Host and port of that side."""
        return f"{self._where[side]['host']}:{self._where[side]['port']}"

    def serving(self) -> Side:
        """The side whose host and port the current version holds. Raises `LeadsElsewhere`, `SecretUnusable`."""
        return self._side(self._current())

    def repoint(self, side: Side) -> None:
        """
        Write a version that names that side and make it the current one; every other key stays as it is.

        The label moves only from the version that was read: a password rotated in the same moment is not undone.
        Raises `SecretChanged`, `SecretUnusable`.
        """
        current = self._current()
        wanted = self._pointed(current, side)
        if wanted != current.keys:
            prepared = self.aws.call(
                "put_secret_value",
                SecretId=self.entry.secret,
                SecretString=json.dumps(wanted),
                VersionStages=[PREPARED],
            )
            self._make_current(str(prepared["VersionId"]), instead_of=current.id)
        if self.serving() is not side:
            raise SecretChanged(f"the {self.label} leads elsewhere again: somebody else writes it")
        log.info("the %s leads to the %s (%s)", self.label, side, self.at(side))

    def obstacles(self) -> list[str]:
        """A rotation under way, a secret that a service of AWS keeps itself, other keys that name the source."""
        current = self._current()
        self._side(current)
        found = []
        about = self.aws.call("describe_secret", SecretId=self.entry.secret)
        if owner := about.get("OwningService"):
            found.append(
                f"the {self.label} belongs to {owner}, which alone may write it: give applications another one"
            )
        pending = [id for id, labels in about.get("VersionIdsToStages", {}).items() if "AWSPENDING" in labels]
        if any(id != current.id for id in pending):
            found.append(f"the {self.label} is being rotated (a version AWSPENDING): wait until that has ended")
        host = str(current.keys["host"])
        if others := sorted(k for k, v in current.keys.items() if k not in _WHERE and isinstance(v, str) and host in v):
            found.append(
                f"the {self.label} also names the host under {', '.join(others)}, which is not rewritten: remove it"
            )
        return found

    def effect(self) -> str:
        """What clients see."""
        return (
            f"the {self.label} cannot hold clients: their sessions end, and they reach the target once they read the "
            "secret again: applications that keep it must do so where a login fails"
        )

    def _current(self) -> _Version:
        """The version that applications get. Raises `SecretUnusable`."""
        answer = self.aws.call("get_secret_value", SecretId=self.entry.secret, VersionStage=CURRENT)
        try:
            keys = json.loads(answer.get("SecretString", ""))
        except ValueError:  # its text quotes the secret
            keys = None
        if not isinstance(keys, dict) or not keys.get("host"):
            raise SecretUnusable(
                f"the {self.label} is no JSON object with the key 'host' (and 'port'): give it the form that Secrets "
                "Manager has for database credentials"
            )
        return _Version(str(answer["VersionId"]), keys)

    def _side(self, version: _Version) -> Side:
        seen = f"{version.keys['host']}:{version.keys.get('port', 5432)}"
        for side in Side:
            if seen.lower() == self.at(side).lower():
                return side
        raise LeadsElsewhere(f"the {self.label}", seen=seen, source=self.at(Side.SOURCE), target=self.at(Side.TARGET))

    def _pointed(self, version: _Version, side: Side) -> dict[str, Any]:
        """The keys of a version, leading to that side: a port given as text stays text; no identifier of the other."""
        there = {**self._where[side]}
        if isinstance(version.keys.get("port"), str):
            there["port"] = str(there["port"])
        kept = {key: value for key, value in version.keys.items() if key not in _WHERE}
        return {**kept, **there}

    def _make_current(self, version: str, *, instead_of: str) -> None:
        try:
            self.aws.call(
                "update_secret_version_stage",
                SecretId=self.entry.secret,
                VersionStage=CURRENT,
                MoveToVersionId=version,
                RemoveFromVersionId=instead_of,
            )
        except AwsRefused as error:
            if self._current().id == instead_of:
                raise
            raise SecretChanged(f"the {self.label} got a new version in the same moment ({error}): try again") from None


def _declared(entry: SecretRouter) -> dict[Side, SecretDatabase]:
    return {Side.SOURCE: entry.source, Side.TARGET: entry.target}


def _where(declared: SecretDatabase, endpoint: Endpoint) -> dict[str, Any]:
    """What the secret says of one side, in the keys that Secrets Manager's rotation functions read."""
    where: dict[str, Any] = {
        "host": declared.host or endpoint.host,
        "port": declared.port or endpoint.port,
        "dbname": declared.dbname or endpoint.dbname,
    }
    if declared.instance:
        where["dbInstanceIdentifier"] = declared.instance
    if declared.cluster:
        where["dbClusterIdentifier"] = declared.cluster
    return where
