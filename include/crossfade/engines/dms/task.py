"""What is done with a replication task of AWS DMS: made, started, stopped, reloaded and deleted."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from crossfade.engines.dms.refusals import Client, Refused, asking
from crossfade.engines.dms.resource import require_ours
from crossfade.engines.dms.task_state import ACTIVE, RESTING, TaskMissing, TaskState, describe, existing, settled
from crossfade.engines.dms.waiting import until
from crossfade.errors import PreconditionError

__all__ = [
    "ACTIVE",
    "TaskMissing",
    "TaskState",
    "ask_to_stop",
    "create_or_update",
    "delete",
    "describe",
    "existing",
    "is_there",
    "reload",
    "resume",
    "settled",
    "start",
    "start_from",
    "start_over",
    "stop",
]

log = logging.getLogger(__name__)

Kind = Literal["full-load", "cdc", "full-load-and-cdc"]

#: Tables that one call of ReloadTables takes (API reference of AWS DMS: ReloadTables).
MOST_RELOADS = 10


def create_or_update(
    dms: Client,
    *,
    identifier: str,
    instance_arn: str,
    source_arn: str,
    target_arn: str,
    mappings: str,
    settings: str,
    kind: Kind,
    tags: Mapping[str, str],
    deadline: float | None = None,
    stopped_by: float | None = None,
) -> TaskState:
    """
    Make the task, or make the one that is there the same; safe to call again. Returns it settled.

    :param mappings: table mappings, as JSON
    :param settings: task settings, as JSON; what they leave out keeps DMS's value
    :param stopped_by: `time.monotonic()`: a task that runs otherwise is stopped; None: that is refused
    Raises `PreconditionError` where a task of that name is not ours, has other endpoints, or differs and runs.
    """
    if not is_there(dms, identifier, tags):
        log.info("creating replication task %s (%s)", identifier, kind)
        with asking("dms:CreateReplicationTask", f"replication task {identifier}"):
            dms.create_replication_task(
                ReplicationTaskIdentifier=identifier,
                ReplicationInstanceArn=instance_arn,
                SourceEndpointArn=source_arn,
                TargetEndpointArn=target_arn,
                MigrationType=kind,
                TableMappings=mappings,
                ReplicationTaskSettings=settings,
                Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
            )
        return settled(dms, identifier, deadline)
    task = settled(dms, identifier, deadline)
    _require_same_ends(task, instance=instance_arn, source=source_arn, target=target_arn)
    changes = _changes(task, mappings=mappings, settings=settings, kind=kind)
    if not changes:
        log.info("replication task %s is there as wanted: %s", identifier, task.status)
        return task
    if task.status in ACTIVE and stopped_by is not None:
        stop(dms, identifier, stopped_by)
    elif task.status in ACTIVE:
        raise PreconditionError(
            f"replication task {identifier} is {task.status} with other {' and '.join(sorted(changes))} than the "
            "plan's. A running task cannot be changed: stop it in AWS DMS and clear this task, or undo the change in "
            "the plan"
        )
    log.info("modifying replication task %s: %s", identifier, ", ".join(sorted(changes)))
    with asking("dms:ModifyReplicationTask", f"replication task {identifier}"):
        dms.modify_replication_task(ReplicationTaskArn=task.arn, **changes)
    return settled(dms, identifier, deadline)


def is_there(dms: Client, identifier: str, tags: Mapping[str, str]) -> bool:
    """
    Whether there is a task of that name, which is ours then.

    Names are made of plans' names, and two of these may lead to one. Raises `PreconditionError` where it is another's.
    """
    found = describe(dms, identifier)
    if found is not None:
        require_ours(dms, found.arn, f"replication task {identifier}", tags)
    return found is not None


def _require_same_ends(task: TaskState, *, instance: str, source: str, target: str) -> None:
    wanted = {"replication instance": instance, "source endpoint": source, "target endpoint": target}
    has = {
        "replication instance": task.instance_arn,
        "source endpoint": task.source_arn,
        "target endpoint": task.target_arn,
    }
    if other := [f"{end} {has[end]} instead of {arn}" for end, arn in wanted.items() if has[end] != arn]:
        raise PreconditionError(
            f"replication task {task.identifier} exists with {', '.join(other)}. These cannot be changed: delete the "
            "task in AWS DMS (its progress and its slot go with it) and clear this task, or correct the plan"
        )


def _changes(task: TaskState, *, mappings: str, settings: str, kind: Kind) -> dict[str, str]:
    changes = {}
    if task.mappings != json.loads(mappings):
        changes["TableMappings"] = mappings
    if not contains(task.settings, json.loads(settings)):
        changes["ReplicationTaskSettings"] = settings
    if task.migration_type != kind:
        changes["MigrationType"] = kind
    return changes


def contains(whole: Any, part: Any) -> bool:
    """
    Whether settings as AWS tells them say what was asked for.

    AWS fills in every setting that was left out, and every log component; null means its own value.
    """
    if isinstance(part, Mapping):
        return isinstance(whole, Mapping) and all(
            value is None or contains(whole.get(key), value) for key, value in part.items()
        )
    if isinstance(part, list):
        return isinstance(whole, list) and all(any(contains(other, item) for other in whole) for item in part)
    return bool(whole == part)


def start(dms: Client, identifier: str, deadline: float | None = None) -> TaskState:
    """
    Bring the load under way, whatever came before; safe to call again. Returns the state that it decided by.

    Never run: started. Running: nothing. Stopped at the consistent point: nothing, since `resume` is the caller's
    decision. Stopped or failed elsewhere: resumed, so that tables already loaded are not loaded again.
    Raises `TaskMissing` and as `refusals.asking`.
    """
    task = settled(dms, identifier, deadline)
    if task.status in ACTIVE:
        log.info("replication task %s is %s already, %s %% loaded", identifier, task.status, task.percent)
    elif not task.has_run:
        _start(dms, task, "start-replication")
    elif task.at_consistent_point:
        log.info("replication task %s has stopped at the consistent point, everything is loaded", identifier)
    else:
        _start(dms, task, "resume-processing")
    return task


def resume(dms: Client, identifier: str, deadline: float | None = None) -> TaskState:
    """
    Let a task go on from where it stopped; nothing where it runs. Returns the state that it decided by.

    Raises `PreconditionError` where it was never started.
    """
    task = settled(dms, identifier, deadline)
    if task.status in ACTIVE:
        return task
    if not task.has_run:
        raise PreconditionError(
            f"replication task {identifier} was never started, so there is nothing to resume. Clear the task "
            "load.start_task"
        )
    _start(dms, task, "resume-processing")
    return task


def start_over(dms: Client, identifier: str, deadline: float | None = None) -> TaskState:
    """
    Load every table again from the beginning, with a new slot: for changes that are lost for good.

    Raises `PreconditionError` where it runs.
    """
    task = settled(dms, identifier, deadline)
    if task.status in ACTIVE:
        raise PreconditionError(f"replication task {identifier} is {task.status}. Stop it before loading all again")
    _start(dms, task, "reload-target" if task.has_run else "start-replication")
    return task


def start_from(dms: Client, task: TaskState, position: str) -> None:
    """
    Start a task that only carries changes, at a position of the slot that its source endpoint names.

    :param position: LSN. Raises as `refusals.asking`.
    """
    log.info("replication task %s: starts at %s", task.identifier, position)
    with asking("dms:StartReplicationTask", f"replication task {task.identifier}"):
        dms.start_replication_task(
            ReplicationTaskArn=task.arn, StartReplicationTaskType="start-replication", CdcStartPosition=position
        )


def _start(dms: Client, task: TaskState, how: str) -> None:
    log.info("replication task %s: %s (%s, %s %% loaded)", task.identifier, how, task.status, task.percent)
    with asking("dms:StartReplicationTask", f"replication task {task.identifier}"):
        dms.start_replication_task(ReplicationTaskArn=task.arn, StartReplicationTaskType=how)


def stop(dms: Client, identifier: str, deadline: float) -> TaskState | None:
    """
    Stop the task and return it when it rests; None where there is none. Safe to call again.

    :param deadline: `time.monotonic()`; DMS takes many seconds for it
    Raises `DeadlineExceeded`.
    """
    asked = False

    def look() -> TaskState | None:
        nonlocal asked
        task = describe(dms, identifier)
        if task is not None and task.status == "running" and not asked:
            asked = ask_to_stop(dms, task)
        return task

    return until(
        look,
        lambda task: task is None or task.status in RESTING or task.status == "deleting",
        what=f"stopping replication task {identifier}",
        seen=lambda task: f"status {task.status}" if task else "no task",
        deadline=deadline,
    )


def ask_to_stop(dms: Client, task: TaskState) -> bool:
    """Ask a running task to stop, and do not wait; false where it has ended since it was seen running."""
    log.info("stopping replication task %s", task.identifier)
    try:
        with asking("dms:StopReplicationTask", f"replication task {task.identifier}"):
            dms.stop_replication_task(ReplicationTaskArn=task.arn)
    except Refused as error:
        if error.code != "InvalidResourceStateFault":
            raise
        log.info("replication task %s is not running any more", task.identifier)
        return False
    return True


def delete(dms: Client, identifier: str, deadline: float, *, tags: Mapping[str, str]) -> None:
    """
    Stop and delete the task, and return when it is gone; nothing where there is none. DMS drops the slot it made.

    :param deadline: `time.monotonic()`
    Raises `DeadlineExceeded`, and `PreconditionError` where it does not have these tags.
    """
    if not is_there(dms, identifier, tags):
        return
    task = stop(dms, identifier, deadline)
    if task is not None and task.status != "deleting":
        log.info("deleting replication task %s", identifier)
        with asking("dms:DeleteReplicationTask", f"replication task {identifier}"):
            dms.delete_replication_task(ReplicationTaskArn=task.arn)
    until(
        lambda: describe(dms, identifier),
        lambda task: task is None,
        what=f"deleting replication task {identifier}",
        seen=lambda task: f"status {task.status}" if task else "gone",
        deadline=deadline,
    )


def reload(
    dms: Client,
    arn: str,
    tables: Sequence[tuple[str, str]],
    *,
    option: Literal["data-reload", "validate-only"] = "data-reload",
) -> None:
    """
    Load (or validate) single tables again while the task runs, at most `MOST_RELOADS` a call.

    :param tables: schema and name of each
    Raises `PreconditionError` where the task does not run.
    """
    for first in range(0, len(tables), MOST_RELOADS):
        batch = tables[first : first + MOST_RELOADS]
        log.info("%s of %s", option, ", ".join(f"{schema}.{table}" for schema, table in batch))
        with asking("dms:ReloadTables", f"tables of replication task {arn}"):
            dms.reload_tables(
                ReplicationTaskArn=arn,
                TablesToReload=[{"SchemaName": schema, "TableName": table} for schema, table in batch],
                ReloadOption=option,
            )
