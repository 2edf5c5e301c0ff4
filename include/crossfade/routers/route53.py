"""A record in Route 53 as a router: a CNAME that is rewritten, or a weighted pair whose weights change places."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from crossfade.aws import AwsService, Clients
from crossfade.connect import Endpoint
from crossfade.errors import PreconditionError
from crossfade.plan_routers import Route53Router
from crossfade.routers.base import Side
from crossfade.routers.switching import LeadsElsewhere, NotPausing, wait_for

log = logging.getLogger(__name__)

ALL, NOTHING = 100, 0  #: the two weights


class RecordUnusable(PreconditionError):
    """The record is not there, or not of the kind that the plan says."""


class Route53Record(NotPausing):
    """
    One `route53` router of a plan; implements `Router` and `Foreseeing`.

    :param entry: the router as the plan declares it
    :param sides: where each database is: its host is the CNAME's value where the plan gives none
    """

    def __init__(self, *, entry: Route53Router, sides: Mapping[Side, Endpoint], clients: Clients) -> None:
        self.entry = entry
        self.record = entry.record.rstrip(".").lower()
        thing = f"the record {self.record} in the hosted zone {entry.zone}"
        super().__init__(AwsService(clients, entry.aws, "route53", thing=thing))
        self._hosts = {
            Side.SOURCE: entry.source or sides[Side.SOURCE].host,
            Side.TARGET: entry.target or sides[Side.TARGET].host,
        }

    @property
    def label(self) -> str:
        return f"Route 53 {self.record}"

    def at(self, side: Side) -> str:
        """How that side shows: the CNAME's value, or the weighted record's identifier."""
        weighted = self.entry.weighted
        if weighted is None:
            return self._hosts[side]
        return weighted.source if side is Side.SOURCE else weighted.target

    def serving(self) -> Side:
        """The side that the record names. Raises `LeadsElsewhere`, `RecordUnusable`."""
        leading = self._leading(self._records())
        for side in Side:
            if [_plain(each) for each in leading] == [_plain(self.at(side))]:
                return side
        raise LeadsElsewhere(
            self.label,
            seen=", ".join(leading) or "every weight at 0, which means all of them alike",
            source=self.at(Side.SOURCE),
            target=self.at(Side.TARGET),
        )

    def repoint(self, side: Side) -> None:
        """
        Rewrite the record, in one change, and wait until every name server of Route 53 has it (INSYNC).

        Resolvers go on answering with the old side for up to the TTL. Raises `DeadlineExceeded`, `RecordUnusable`,
        `LeadsElsewhere` where the record does not show the side afterwards.
        """
        changes = [
            {"Action": "UPSERT", "ResourceRecordSet": {**record, **self._led(record, side)}}
            for record in self._records()
        ]
        # also where it shows the side already: the change of an earlier try may still be under way
        answer = self.aws.call(
            "change_resource_record_sets",
            HostedZoneId=self.entry.zone,
            ChangeBatch={"Comment": f"crossfade: to the {side}", "Changes": changes},
        )
        change = answer["ChangeInfo"]["Id"]
        wait_for(
            f"{self.label}: the change {change}",
            lambda: self._in_sync(change),
            seconds=self.entry.timeout.total_seconds(),
        )
        if self.serving() is not side:
            raise LeadsElsewhere(
                self.label, seen="the old value again", source=self.at(Side.SOURCE), target=self.at(Side.TARGET)
            )
        log.info("%s leads to the %s (%s)", self.label, side, self.at(side))

    def obstacles(self) -> list[str]:
        """A TTL for which clients would go on asking the old side, and records whose TTL is not theirs."""
        self.serving()
        limit = self.entry.max_ttl.total_seconds()
        found = []
        for record in self._records():
            who = f"{self.label}{', ' + record['SetIdentifier'] if 'SetIdentifier' in record else ''}"
            if "AliasTarget" in record:
                found.append(f"{who} is an alias, whose TTL is not its own to say: make it a record with a TTL")
            elif record["TTL"] > limit:
                found.append(
                    f"{who} has a TTL of {record['TTL']} s, the plan allows {limit:g} s (max_ttl): for so long clients "
                    f"would go on reaching the old side. Lower the TTL, then wait {record['TTL']} s"
                )
        return found

    def effect(self) -> str:
        """What clients see."""
        return (
            f"{self.label} cannot hold clients: their sessions end, and they reach the target once the change is on "
            f"all name servers (commonly within 60 s) and the old answer has expired (at most "
            f"{self.entry.max_ttl.total_seconds():g} s more)"
        )

    def _records(self) -> list[dict[str, Any]]:
        """The plan's record, or its pair, as Route 53 has it. Raises `RecordUnusable`, `LeadsElsewhere`."""
        found = [record for record in self._listed() if record["Type"] == self._type]
        if not found:
            raise RecordUnusable(
                f"{self.aws.thing} does not exist as a {self._type} record: create it, leading to the source, "
                "or correct the plan"
            )
        if self.entry.weighted is None:
            if "SetIdentifier" in found[0]:
                raise RecordUnusable(
                    f"{self.label} has a routing policy (records "
                    f"{', '.join(repr(record['SetIdentifier']) for record in found)}): name the two under 'weighted'"
                )
            return found
        return self._pair(found)

    def _pair(self, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        weights = {record.get("SetIdentifier", ""): record.get("Weight") for record in found}
        shown = ", ".join(f"{name or 'simple'} ({weight})" for name, weight in weights.items())
        pair = {self.at(side) for side in Side}
        if missing := [name for name in sorted(pair) if weights.get(name) is None]:
            raise RecordUnusable(
                f"{self.label} has no weighted {self._type} record {', '.join(missing)}; there are: {shown}"
            )
        if any(weight for name, weight in weights.items() if name not in pair):
            raise RecordUnusable(f"{self.label} leads to others, too: {shown}. Set their weights to 0")
        return [record for record in found if record.get("SetIdentifier") in pair]

    @property
    def _type(self) -> str:
        return self.entry.weighted.type if self.entry.weighted else "CNAME"

    def _listed(self) -> list[dict[str, Any]]:
        start = {"StartRecordName": self.record, "StartRecordType": self._type}
        records: list[dict[str, Any]] = []
        while True:
            page = self.aws.call("list_resource_record_sets", HostedZoneId=self.entry.zone, **start)
            ours = [record for record in page["ResourceRecordSets"] if _plain(record["Name"]) == self.record]
            records += ours
            if not page["IsTruncated"] or _plain(page["NextRecordName"]) != self.record:
                return records
            start = {
                key: page[f"Next{key.removeprefix('Start')}"]
                for key in ("StartRecordName", "StartRecordType", "StartRecordIdentifier")
                if f"Next{key.removeprefix('Start')}" in page
            }

    def _leading(self, records: list[dict[str, Any]]) -> list[str]:
        if self.entry.weighted is None:
            return [each["Value"] for record in records for each in record.get("ResourceRecords", ())]
        return [record["SetIdentifier"] for record in records if record["Weight"] > 0]

    def _led(self, record: dict[str, Any], side: Side) -> dict[str, Any]:
        """What of a record makes it lead to that side."""
        if self.entry.weighted is None:
            return {"ResourceRecords": [{"Value": self.at(side)}]}
        return {"Weight": ALL if record["SetIdentifier"] == self.at(side) else NOTHING}

    def _in_sync(self, change: str) -> tuple[bool, str]:
        status = self.aws.call("get_change", Id=change)["ChangeInfo"]["Status"]
        return status == "INSYNC", f"status {status}"


def _plain(name: str) -> str:
    """A name as it compares: the final dot and case do not count."""
    return name.rstrip(".").lower()
