"""The replication task of a stream from a slot, and its endpoints: made ready, not started."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crossfade import catalog, control
from crossfade.engines.dms import task
from crossfade.engines.dms.carrying import DELETE_SECONDS, STOP_SECONDS
from crossfade.engines.dms.connections import prove_connection, proved
from crossfade.engines.dms.endpoints import EndpointSide, given_endpoint, made_endpoint, require_for_stream
from crossfade.engines.dms.lobs import LobLimit, lob_tables
from crossfade.engines.dms.mappings import table_mappings
from crossfade.engines.dms.resource import Kind, Resource, name_of, tags_of
from crossfade.engines.dms.resources import ensure_instance
from crossfade.engines.dms.settings import task_settings
from crossfade.plan_dms import Back, NewEndpoint
from crossfade.routers.base import Direction

if TYPE_CHECKING:
    from crossfade.engines.dms.stream import DmsStream

log = logging.getLogger(__name__)

CONTROL_SCHEMA = "crossfade"  #: of DMS's own tables


@dataclass(frozen=True, kw_only=True, slots=True)
class _End:
    """One endpoint as it is wanted."""

    side: EndpointSide
    key: str  #: of the plan, below dms
    kind: Kind
    suffix: str  #: of its identifier, where it is made
    wanted: str | NewEndpoint
    slot: str | None = None


def make(stream: DmsStream) -> None:
    """
    Check or make both endpoints, prove their connections, and make the task, or make the one that is there the same.

    A task that has run belongs to an earlier cutover: it is deleted first, which takes its time.
    Raises `PreconditionError` with what is wrong, `DeadlineExceeded`, and as `refusals.asking`.
    """
    m, plan, dms, records = stream.m, stream.plan, stream.dms, stream.records
    deadline = time.monotonic() + plan.start_timeout.total_seconds()
    tags = tags_of(m.plan.name)
    if task.is_there(dms, stream.task, tags) and task.existing(dms, stream.task).has_run:
        task.delete(dms, stream.task, time.monotonic() + DELETE_SECONDS, tags=tags)
    instance = ensure_instance(dms, plan.instance, plan=m.plan.name, deadline=deadline)
    ends = [_ready(stream, end, instance.arn, deadline) for end in _ends(stream)]
    records.keep(stream.kind, stream.task, made=True)
    task.create_or_update(
        dms,
        identifier=stream.task,
        instance_arn=instance.arn,
        source_arn=ends[0].arn,
        target_arn=ends[1].arn,
        mappings=_mappings(stream),
        settings=_settings(stream),
        kind="cdc",
        tags=tags,
        deadline=deadline,
        stopped_by=time.monotonic() + STOP_SECONDS,
    )


def _ends(stream: DmsStream) -> tuple[_End, _End]:
    plan, slot = stream.plan, stream.slot.name
    back = plan.back or Back()
    if stream.direction is Direction.BACK:
        reads, writes = back.source or plan.target, back.target or plan.source
        return (
            _End(side="source", key="back.source", kind="back source endpoint", suffix="back-source", wanted=reads,
                 slot=slot),
            _End(side="target", key="back.target", kind="back target endpoint", suffix="back-target", wanted=writes),
        )  # fmt: skip
    reads = back.again or plan.source
    return (
        _End(side="source", key="back.again", kind="again source endpoint", suffix="again-source", wanted=reads,
             slot=slot),
        _End(side="target", key="target", kind="target endpoint", suffix="target", wanted=plan.target),
    )  # fmt: skip


def _ready(stream: DmsStream, end: _End, instance_arn: str, deadline: float) -> Resource:
    dms, plan = stream.dms, stream.m.plan.name
    if isinstance(end.wanted, str):
        one = given_endpoint(dms, end.side, end.wanted, key=end.key)
        if end.slot is not None:
            require_for_stream(dms, end.wanted, end.slot, key=end.key)
    else:
        one = made_endpoint(
            dms,
            end.side,
            end.wanted,
            identifier=name_of(plan, end.suffix),
            login=stream.m.resolve(end.wanted.connection),
            instance_arn=instance_arn,
            tags=tags_of(plan),
            slot=end.slot,
        )
    for note in one.notes:
        log.warning("%s", note)
    stream.records.keep(end.kind, one.identifier, made=one.made)
    if not proved(dms, instance_arn=instance_arn, endpoint_arn=one.arn):
        prove_connection(dms, instance_arn=instance_arn, endpoint_arn=one.arn, name=one.identifier, deadline=deadline)
    return one


def _mappings(stream: DmsStream) -> str:
    """The plan's tables and the stream's watermark, with as few limits of LOBs as can be."""
    chosen = set(stream.tables)
    tables = [t for t in catalog.tables(stream.publisher, stream.m.plan.tables) if (t.schema, t.name) in chosen]
    watermark = ("crossfade", control.watermark_table(stream.watermark))
    return table_mappings(tables, lobs=_limits(stream), ranges=(), also=[watermark]).to_json()


def _limits(stream: DmsStream) -> list[LobLimit]:
    """
    Limits as they were measured before the load, of tables that DMS carries in no other way: those without a key.

    They are of rows that were to be loaded; what is written later may be larger, and the task's own mode cuts nothing.
    """
    if stream.plan.settings.get("TargetMetadata", {}).get("LimitedSizeLobMode"):
        return list(stream.records.limits())  # the plan's own words: the task's mode has one limit for all
    keyed = {(table.schema, table.name) for table in lob_tables(stream.publisher, stream.tables) if table.primary_key}
    return [limit for limit in stream.records.limits() if (limit.schema, limit.name) not in keyed]


def _settings(stream: DmsStream) -> str:
    """The settings of the task that loaded; nothing is loaded, so nothing must be emptied for it."""
    plan, jobs = stream.plan, stream.m.plan.load.jobs
    load = {**plan.settings.get("FullLoadSettings", {}), "TargetTablePrepMode": "DO_NOTHING"}
    return task_settings(
        control_schema=CONTROL_SCHEMA,
        jobs=jobs,
        validation=False,
        inline_limit_kb=plan.lobs.inline_limit // 1024 if plan.lobs.outliers == "inline" else 0,
        overrides={**plan.settings, "FullLoadSettings": load},
    ).to_json()
