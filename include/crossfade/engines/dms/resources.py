"""What a replication task runs on: instance and endpoints, given by ARN and checked, or made and later deleted."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from crossfade.connect import Endpoint
from crossfade.engines.dms.connections import prove_connection
from crossfade.engines.dms.endpoints import (
    EndpointSide,
    endpoint_by_id,
    given_endpoint,
    made_endpoint,
    require_usable_password,
)
from crossfade.engines.dms.refusals import Client, NotFound, asking, pages
from crossfade.engines.dms.resource import Resource, name_of, require_ours, tags_of
from crossfade.engines.dms.waiting import until
from crossfade.errors import PreconditionError
from crossfade.plan_dms import NewEndpoint, NewInstance

log = logging.getLogger(__name__)

_LOST = frozenset(
    {"deleting", "failed", "incompatible-credentials", "incompatible-network", "storage-full", "creation-failed"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """Everything that a replication task needs."""

    instance: Resource
    source: Resource
    target: Resource

    @property
    def made(self) -> tuple[Resource, ...]:
        """What was made for this plan, and is to be deleted with it."""
        return tuple(one for one in (self.source, self.target, self.instance) if one.made)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of them."""
        return (*self.instance.notes, *self.source.notes, *self.target.notes)


def ensure(
    dms: Client,
    *,
    plan: str,
    instance: str | NewInstance,
    source: str | NewEndpoint,
    target: str | NewEndpoint,
    login: Callable[[str], Endpoint],
    deadline: float,
    made: Callable[[Resource], None] = lambda resource: None,
) -> Resources:
    """
    Check or make instance and endpoints, and test both connections; safe to call again.

    Everything that can be refused without making anything is refused first: see `require_usable`.
    :param login: the connection of a connection id, as DMS reaches it
    :param deadline: `time.monotonic()`
    :param made: called with each resource as soon as it is there, to enter it in the journal
    Raises `PreconditionError` with what is wrong, `DeadlineExceeded`, and as `refusals.asking`.
    """
    wanted: dict[EndpointSide, str | NewEndpoint] = {"source": source, "target": target}
    given = require_usable(dms, instance=instance, source=source, target=target, login=login)
    runs_on = ensure_instance(dms, instance, plan=plan, deadline=deadline, made=made)
    ends: dict[EndpointSide, Resource] = {}
    for side, one in wanted.items():
        ends[side] = (
            given[side]
            if isinstance(one, str)
            else made_endpoint(
                dms,
                side,
                one,
                identifier=name_of(plan, side),
                login=login(one.connection),
                instance_arn=runs_on.arn,
                tags=tags_of(plan),
            )
        )
        made(ends[side])
    for end in ends.values():
        prove_connection(dms, instance_arn=runs_on.arn, endpoint_arn=end.arn, name=end.identifier, deadline=deadline)
    return Resources(instance=runs_on, source=ends["source"], target=ends["target"])


def require_usable(
    dms: Client,
    *,
    instance: str | NewInstance,
    source: str | NewEndpoint,
    target: str | NewEndpoint,
    login: Callable[[str], Endpoint],
) -> dict[EndpointSide, Resource]:
    """
    Refuse all that can be refused without making anything; the endpoints that are named by ARN, by side.

    Raises `PreconditionError` with what is wrong, and as `refusals.asking`.
    """
    if isinstance(source, str) and source == target:
        raise PreconditionError(f"dms.source and dms.target of the plan are the same endpoint, {source}. Correct them")
    wanted: dict[EndpointSide, str | NewEndpoint] = {"source": source, "target": target}
    given = {side: given_endpoint(dms, side, one) for side, one in wanted.items() if isinstance(one, str)}
    for one in wanted.values():
        if isinstance(one, NewEndpoint) and one.secret is None:
            require_usable_password(login(one.connection))
    if isinstance(instance, str):
        _given_instance(dms, instance)
    return given


def _given_instance(dms: Client, arn: str) -> Mapping[str, Any]:
    told = _instance(dms, "replication-instance-arn", arn)
    if told is None:
        raise PreconditionError(
            f"AWS DMS has no replication instance {arn}, the plan's dms.instance, in this account and region. "
            "Correct the ARN"
        )
    return told


def ensure_instance(
    dms: Client,
    given: str | NewInstance,
    *,
    plan: str,
    deadline: float,
    made: Callable[[Resource], None] = lambda resource: None,
) -> Resource:
    """
    The replication instance, available: checked where the plan names an ARN, else made.

    Raises `PreconditionError` where it is unknown or unusable, `DeadlineExceeded`.
    """
    if isinstance(given, str):
        one = _resource(_given_instance(dms, given), made=False)
    else:
        one = _made_instance(dms, given, plan)
    made(one)
    until(
        lambda: _instance(dms, "replication-instance-arn", one.arn),
        _usable,
        what=f"getting replication instance {one.identifier} available",
        seen=lambda told: f"status {told['ReplicationInstanceStatus']}" if told else "not there",
        deadline=deadline,
    )
    return one


def _made_instance(dms: Client, new: NewInstance, plan: str) -> Resource:
    identifier, tags = name_of(plan), tags_of(plan)
    told = _instance(dms, "replication-instance-id", identifier)
    if told is not None:
        require_ours(dms, told["ReplicationInstanceArn"], identifier, tags)
        has = told["ReplicationInstanceClass"]
        note = f"replication instance {identifier} is a {has}, the plan says {new.class_}: it was left as it is"
        return _resource(told, made=True, notes=(note,) if has != new.class_ else ())
    options: dict[str, Any] = {}
    if new.subnet_group:
        options["ReplicationSubnetGroupIdentifier"] = new.subnet_group
    if new.security_groups:
        options["VpcSecurityGroupIds"] = list(new.security_groups)
    log.info("creating replication instance %s (%s)", identifier, new.class_)
    with asking("dms:CreateReplicationInstance", f"replication instance {identifier}"):
        answer = dms.create_replication_instance(
            ReplicationInstanceIdentifier=identifier,
            ReplicationInstanceClass=new.class_,
            AllocatedStorage=math.ceil(new.storage / 2**30),
            MultiAZ=new.multi_az,
            PubliclyAccessible=new.public,
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
            **options,
        )
    return _resource(answer["ReplicationInstance"], made=True)


def _resource(told: Mapping[str, Any], *, made: bool, notes: tuple[str, ...] = ()) -> Resource:
    return Resource(
        kind="instance",
        identifier=told["ReplicationInstanceIdentifier"],
        arn=told["ReplicationInstanceArn"],
        made=made,
        notes=notes,
    )


def _usable(told: Mapping[str, Any] | None) -> bool:
    if told is None:
        return False  # just made: not yet listed
    status = told["ReplicationInstanceStatus"].lower()
    if status in _LOST:
        raise PreconditionError(
            f"the replication instance {told['ReplicationInstanceIdentifier']} is {status}. Repair it in AWS DMS (more "
            "storage, network, credentials) or delete it, and clear this task"
        )
    return bool(status == "available")


def _instance(dms: Client, by: str, value: str) -> Mapping[str, Any] | None:
    found = pages(
        dms,
        "describe_replication_instances",
        "ReplicationInstances",
        action="dms:DescribeReplicationInstances",
        subject=f"replication instance {value}",
        Filters=[{"Name": by, "Values": [value]}],
    )
    return found[0] if found else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """A replication instance as AWS tells it."""

    identifier: str
    instance_class: str


def instance_of(dms: Client, arn: str) -> Instance:
    """The replication instance of that ARN. Raises `PreconditionError` where there is none."""
    told = _given_instance(dms, arn)
    return Instance(identifier=told["ReplicationInstanceIdentifier"], instance_class=told["ReplicationInstanceClass"])


def delete_made(dms: Client, made: Iterable[tuple[str, str]], *, plan: str, deadline: float) -> None:
    """
    Delete what was made for a plan and return when it is gone; what is not there any more is passed over.

    The replication task must be gone before. Only what carries the plan's tag is touched.
    :param made: kind and identifier of each, as in the journal; kinds of other modules are passed over
    :param deadline: `time.monotonic()`
    Raises `PreconditionError` where one was made by somebody else, `DeadlineExceeded`.
    """
    entries = list(made)
    for kind, identifier in entries:
        if kind.endswith("endpoint"):
            _delete_endpoint(dms, identifier, plan, deadline)
    for kind, identifier in entries:  # after its endpoints
        if kind == "instance":
            _delete_instance(dms, identifier, plan, deadline)


def _delete_endpoint(dms: Client, identifier: str, plan: str, deadline: float) -> None:
    told = endpoint_by_id(dms, identifier)
    if told is None:
        return
    require_ours(dms, told["EndpointArn"], identifier, tags_of(plan))
    if told.get("Status") != "deleting":
        log.info("deleting endpoint %s", identifier)
        _delete("dms:DeleteEndpoint", identifier, lambda: dms.delete_endpoint(EndpointArn=told["EndpointArn"]))
    _gone(lambda: endpoint_by_id(dms, identifier), f"deleting endpoint {identifier}", deadline)


def _delete_instance(dms: Client, identifier: str, plan: str, deadline: float) -> None:
    told = _instance(dms, "replication-instance-id", identifier)
    if told is None:
        return
    arn = told["ReplicationInstanceArn"]
    require_ours(dms, arn, identifier, tags_of(plan))
    if told["ReplicationInstanceStatus"] != "deleting":
        log.info("deleting replication instance %s", identifier)
        _delete(
            "dms:DeleteReplicationInstance",
            identifier,
            lambda: dms.delete_replication_instance(ReplicationInstanceArn=arn),
        )
    _gone(
        lambda: _instance(dms, "replication-instance-id", identifier),
        f"deleting replication instance {identifier}",
        deadline,
    )


def _delete(action: str, identifier: str, call: Callable[[], Any]) -> None:
    try:
        with asking(action, identifier):
            call()
    except NotFound:
        log.info("%s is gone already", identifier)


def _gone(look: Callable[[], Mapping[str, Any] | None], what: str, deadline: float) -> None:
    until(
        look,
        lambda told: told is None,
        what=what,
        seen=lambda told: "still there" if told else "gone",
        deadline=deadline,
    )
