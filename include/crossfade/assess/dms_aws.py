"""What AWS says of the replication instance and the endpoints, against the plan; nothing is made or started.

Endpoints that lead elsewhere, or the wrong way round, would load one database into another that is in use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from crossfade.assess.dms_scene import DMS, End, Sides
from crossfade.assess.dms_settings import settings_of
from crossfade.assess.registry import Problem, Severity, check
from crossfade.assess.scene import Database
from crossfade.connect import Endpoint
from crossfade.engines.dms.connections import connection
from crossfade.engines.dms.endpoints import EndpointSide, ForbiddenPassword, given_endpoint, require_usable_password
from crossfade.engines.dms.lob_memory import instance_memory, lob_memory
from crossfade.engines.dms.lobs import SMALLEST_LIMIT_KB, LobLimit, lob_tables
from crossfade.engines.dms.refusals import Client, pages
from crossfade.engines.dms.settings import SettingRefused
from crossfade.errors import PreconditionError
from crossfade.plan import Plan
from crossfade.plan_dms import Dms, NewInstance
from crossfade.quantities import format_size

Ends = Mapping[EndpointSide, End]
_SIDES: tuple[EndpointSide, ...] = ("source", "target")
_LEAST_MEMORY = 4 * 2**30  #: bytes; less is for trying things out (user guide: choosing a replication instance)
_TAKES = "Give dms.instance another class, dms.r6i.large say"


@check("dms_aws.endpoints", severity=Severity.BLOCKER, engines=DMS)
def endpoints_are_usable(plan: Plan, aws: Client) -> Iterator[Problem]:
    """Endpoints that do not exist, are on the wrong side, of another engine, or would lose something."""
    for side, arn in _given(plan.dms):
        try:
            found = given_endpoint(aws, side, arn)
        except PreconditionError as error:
            yield Problem(arn, str(error), f"dms: {{{side}: …}}  # in the plan, or the endpoint in AWS DMS")
            continue
        for note in found.notes:
            yield Problem(
                found.identifier, note, "Set it in the endpoint's PostgreSQLSettings", severity=Severity.WARNING
            )


def _given(dms: Dms | None) -> Iterator[tuple[EndpointSide, str]]:
    for side in _SIDES:
        end = getattr(dms, side, None)
        if isinstance(end, str):
            yield side, end


@check("dms_aws.databases", severity=Severity.BLOCKER, engines=DMS)
def endpoints_lead_to_the_plans_databases(sides: Sides, ends: Ends) -> Iterator[Problem]:
    """Endpoints that are swapped, lead to one and the same database, or to another than the plan's connections."""
    for side, end in ends.items():
        ours, other = (sides["source"], sides["target"]) if side == "source" else (sides["target"], sides["source"])
        if end.host is None:
            continue  # in a secret: TestConnection tells whether it is reached
        if _same(end, other):
            yield Problem(
                end.name,
                f"DMS's {side} is {end.address}: that is what {other.name} leads to, the other side of the migration. "
                "Are dms.source and dms.target swapped? Rows would flow the wrong way",
                f"{end.key}: …  # in the plan: what leads to {ours.address}",
            )
        elif end.dbname != ours.dbname:
            yield Problem(
                end.name,
                f"DMS's {side} is the database {end.dbname}, {ours.name} leads to {ours.dbname}",
                f"{end.key}: …  # in the plan: what leads to {ours.address}",
            )
        elif not _same(end, ours):
            yield Problem(
                end.name,
                f"DMS's {side} is {end.address}, {ours.name} leads to {ours.address}: they must be the same database, "
                "each by the name under which it is reached from there",
                f"{end.key}: …  # in the plan, if it is another one",
                severity=Severity.WARNING,
            )


def _same(end: End, endpoint: Endpoint) -> bool:
    host = (end.host or "").rstrip(".").lower()
    there = (host, end.port, end.dbname)
    return there == (endpoint.host.rstrip(".").lower(), endpoint.port, endpoint.dbname)


@check("dms_aws.passwords", severity=Severity.BLOCKER, engines=DMS)
def passwords_can_be_used(ends: Ends) -> Iterator[Problem]:
    """Passwords with characters that DMS takes for its own."""
    for end in ends.values():
        if end.login is None:
            continue
        try:
            require_usable_password(end.login)
        except ForbiddenPassword as error:
            yield Problem(end.name, str(error), f"ALTER ROLE {end.login.user} PASSWORD '…';  -- and in the connection")


@check("dms_aws.instance", severity=Severity.BLOCKER, engines=DMS)
def instance_can_be_used(plan: Plan, aws: Client) -> Iterator[Problem]:
    """A replication instance that does not exist, is not available, or too small; or a class that is not offered."""
    if plan.dms is None:
        return
    if isinstance(plan.dms.instance, NewInstance):
        yield from _class_is_offered(plan.dms.instance, aws)
        return
    told = _instance(aws, plan.dms.instance)
    if told is None:
        yield Problem(
            plan.dms.instance,
            "AWS DMS has no such replication instance in this account and region",
            "dms: {instance: …}  # in the plan: its ARN",
        )
        return
    name, status = told["ReplicationInstanceIdentifier"], told["ReplicationInstanceStatus"]
    if status != "available":
        yield Problem(
            name,
            f"the replication instance is {status}",
            "Wait until it is available, or repair it in AWS DMS, then assess again",
        )
    yield from _size(name, told["ReplicationInstanceClass"])


def _instance(aws: Client, arn: str) -> Mapping[str, str] | None:
    found = pages(
        aws,
        "describe_replication_instances",
        "ReplicationInstances",
        action="dms:DescribeReplicationInstances",
        subject=f"replication instance {arn}",
        Filters=[{"Name": "replication-instance-arn", "Values": [arn]}],
    )
    return found[0] if found else None


def _class_is_offered(new: NewInstance, aws: Client) -> Iterator[Problem]:
    offered = {
        one["ReplicationInstanceClass"]
        for one in pages(
            aws,
            "describe_orderable_replication_instances",
            "OrderableReplicationInstances",
            action="dms:DescribeOrderableReplicationInstances",
            subject="the classes of replication instances",
        )
    }
    if offered and new.class_ not in offered:
        yield Problem(new.class_, f"AWS DMS offers no such class here, but {', '.join(sorted(offered))}", _TAKES)
    else:
        yield from _size(new.class_, new.class_)


def _size(name: str, instance_class: str) -> Iterator[Problem]:
    memory = instance_memory(instance_class)
    if memory is not None and memory < _LEAST_MEMORY:
        yield Problem(
            name,
            f"a {instance_class} has {format_size(memory)} of memory: DMS swaps to disk, and falls behind",
            _TAKES,
            severity=Severity.WARNING,
        )


@check("dms_aws.memory", severity=Severity.WARNING, engines=DMS)
def large_objects_fit_into_memory(source: Database, plan: Plan, aws: Client) -> Iterator[Problem]:
    """A replication instance whose memory is too small even where every large object is small."""
    if plan.dms is None or (found := _class_of(plan.dms, aws)) is None:
        return
    try:
        settings = settings_of(plan, plan.dms.settings).full_load_settings
    except SettingRefused:
        return  # dms_settings.usable tells
    least = [
        LobLimit(
            schema=table.schema,
            name=table.name,
            mode="limited",
            limit_kb=SMALLEST_LIMIT_KB,
            columns=len(table.columns),
            largest_column="",
            largest_bytes=0,
        )
        for table in lob_tables(source.conn, [(table.schema, table.name) for table in source.tables(plan)])
    ]
    needed = lob_memory(
        least, jobs=settings.max_full_load_sub_tasks, commit_rate=settings.commit_rate, instance_class=found
    )
    if not needed.fits:
        yield Problem(
            found,
            f"at the least limit of {SMALLEST_LIMIT_KB} kB, {needed.sentence}",
            f"{_TAKES}\ndms: {{settings: {{FullLoadSettings: {{CommitRate: …}}}}}}  # in the plan: smaller batches",
        )


def _class_of(dms: Dms, aws: Client) -> str | None:
    if isinstance(dms.instance, NewInstance):
        return dms.instance.class_
    told = _instance(aws, dms.instance)
    return told["ReplicationInstanceClass"] if told else None


@check("dms_aws.connections", severity=Severity.WARNING, engines=DMS)
def connections_were_not_refused(plan: Plan, aws: Client) -> Iterator[Problem]:
    """Endpoints whose last connection test from the plan's replication instance failed."""
    if plan.dms is None or not isinstance(plan.dms.instance, str):
        return
    for _, arn in _given(plan.dms):
        last = connection(aws, instance_arn=plan.dms.instance, endpoint_arn=arn)
        if last is not None and last["Status"] == "failed":
            yield Problem(
                last.get("EndpointIdentifier", arn),
                f"the last test of its connection failed: {last.get('LastFailureMessage') or 'no reason given'}",
                f"aws dms test-connection --replication-instance-arn {plan.dms.instance} --endpoint-arn {arn}",
            )
