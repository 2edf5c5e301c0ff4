"""A replication task of AWS DMS as AWS describes it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from crossfade.engines.dms.refusals import Client, pages
from crossfade.engines.dms.waiting import until
from crossfade.errors import PreconditionError

RESTING = frozenset({"ready", "stopped", "failed", "failed-move"})  #: states in which a task takes orders
ACTIVE = frozenset({"starting", "running"})
SETTLE_SECONDS = 600.0  #: how long creating, modifying or testing may take where the caller sets no deadline


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskState:
    """A replication task as AWS describes it."""

    identifier: str
    arn: str
    status: str  #: creating, ready, starting, running, stopping, stopped, failed, modifying, testing, deleting …
    stop_reason: str | None  #: such as STOPPED_AFTER_CACHED_EVENTS; None while it runs
    failure: str | None  #: last failure message, in AWS's words
    has_run: bool  #: whether it was ever started
    percent: int  #: of the full load, 0 … 100
    loaded: int  #: tables
    loading: int  #: tables
    queued: int  #: tables
    errored: int  #: tables
    migration_type: str
    instance_arn: str
    source_arn: str
    target_arn: str
    mappings: Mapping[str, Any] = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)

    @property
    def resource_id(self) -> str:
        """The last part of the ARN, by which CloudWatch and the logs name the task."""
        return self.arn.rsplit(":", 1)[-1]

    @property
    def load_complete(self) -> bool:
        """Whether every table's full load has ended without an error."""
        return self.percent >= 100 and not (self.loading or self.queued or self.errored)

    @property
    def at_consistent_point(self) -> bool:
        """
        Whether it stopped by itself when the load and the changes cached meanwhile had been applied.

        That is StopTaskCachedChangesApplied for a task that goes on with changes, the end for one that only loads.
        """
        ends = {"STOPPED_AFTER_CACHED_EVENTS", "FULL_LOAD_ONLY_FINISHED"}
        return self.status == "stopped" and self.stop_reason in ends


class TaskMissing(PreconditionError):
    """A replication task is not there."""

    def __init__(self, identifier: str) -> None:
        super().__init__(
            f"AWS DMS has no replication task {identifier!r} in this account and region. Clear the task "
            "load.create_task, which creates it; if it was deleted by hand, its slot and its progress are gone and the "
            "load begins anew"
        )


def describe(dms: Client, identifier: str) -> TaskState | None:
    """The task of that identifier, None where there is none. Raises as `refusals.asking`."""
    found = pages(
        dms,
        "describe_replication_tasks",
        "ReplicationTasks",
        action="dms:DescribeReplicationTasks",
        subject=f"replication task {identifier}",
        Filters=[{"Name": "replication-task-id", "Values": [identifier]}],
    )
    return _state(found[0]) if found else None


def _state(told: Mapping[str, Any]) -> TaskState:
    stats = told.get("ReplicationTaskStats") or {}
    reason = told.get("StopReason")
    return TaskState(
        identifier=told["ReplicationTaskIdentifier"],
        arn=told["ReplicationTaskArn"],
        status=told["Status"].lower(),
        stop_reason=reason.removeprefix("Stop Reason").strip().upper() if reason else None,
        failure=(told.get("LastFailureMessage") or "").strip() or None,
        has_run=bool(told.get("ReplicationTaskStartDate") or stats.get("FreshStartDate")),
        percent=int(stats.get("FullLoadProgressPercent") or 0),
        loaded=int(stats.get("TablesLoaded") or 0),
        loading=int(stats.get("TablesLoading") or 0),
        queued=int(stats.get("TablesQueued") or 0),
        errored=int(stats.get("TablesErrored") or 0),
        migration_type=told["MigrationType"],
        instance_arn=told["ReplicationInstanceArn"],
        source_arn=told["SourceEndpointArn"],
        target_arn=told["TargetEndpointArn"],
        mappings=json.loads(told.get("TableMappings") or "{}"),
        settings=json.loads(told.get("ReplicationTaskSettings") or "{}"),
    )


def existing(dms: Client, identifier: str) -> TaskState:
    """The task of that identifier. Raises `TaskMissing`."""
    if (task := describe(dms, identifier)) is None:
        raise TaskMissing(identifier)
    return task


def settled(dms: Client, identifier: str, deadline: float | None = None) -> TaskState:
    """
    The task once it is neither being made nor changed nor stopped: resting or active.

    :param deadline: `time.monotonic()`; `SETTLE_SECONDS` from now by default
    Raises `DeadlineExceeded` and `TaskMissing`.
    """
    return until(
        lambda: existing(dms, identifier),
        lambda task: task.status in RESTING | ACTIVE,
        what=f"getting replication task {identifier} ready",
        seen=lambda task: f"status {task.status}",
        deadline=time.monotonic() + SETTLE_SECONDS if deadline is None else deadline,
    )
