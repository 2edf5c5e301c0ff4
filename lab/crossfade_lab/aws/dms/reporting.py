"""What the API says of a task and its tables, from what the worker reported."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossfade_lab.aws.dms.tasks import ReplicationTask

_COUNTERS: Mapping[str, str] = {
    "Inserts": "inserts",
    "Deletes": "deletes",
    "Updates": "updates",
    "Ddls": "ddls",
    "AppliedInserts": "applied_inserts",
    "AppliedDeletes": "applied_deletes",
    "AppliedUpdates": "applied_updates",
    "AppliedDdls": "applied_ddls",
    "FullLoadRows": "full_load_rows",
    "FullLoadCondtnlChkFailedRows": "full_load_condtnl_chk_failed_rows",
    "FullLoadErrorRows": "full_load_error_rows",
    "ValidationPendingRecords": "validation_pending",
    "ValidationFailedRecords": "validation_failed",
    "ValidationSuspendedRecords": "validation_suspended",
}
_LOADING = {"Full load", "Table is being reloaded"}


def log_group(instance_id: str) -> str:
    """The CloudWatch log group of an instance's tasks."""
    return f"dms-tasks-{instance_id}"


def log_stream(resource_id: str) -> str:
    """The CloudWatch log stream of a task."""
    return f"dms-task-{resource_id}"


def describe_task(task: "ReplicationTask") -> dict[str, Any]:
    """The structure ReplicationTask; members without a value are left out."""
    described = {
        "ReplicationTaskIdentifier": task.id,
        "SourceEndpointArn": task.source_endpoint_arn,
        "TargetEndpointArn": task.target_endpoint_arn,
        "ReplicationInstanceArn": task.replication_instance_arn,
        "MigrationType": task.migration_type,
        "TableMappings": task.table_mappings,
        "ReplicationTaskSettings": json.dumps(_settings(task)),
        "Status": task.status,
        "LastFailureMessage": task.last_failure_message,
        "StopReason": task.stop_reason,
        "ReplicationTaskCreationDate": seconds(task.creation_date),
        "ReplicationTaskStartDate": seconds(task.start_date),
        "CdcStartPosition": task.cdc_start_position,
        "CdcStopPosition": task.cdc_stop_position,
        "RecoveryCheckpoint": task.report.get("recovery_checkpoint"),
        "ReplicationTaskArn": task.arn,
        "TaskData": task.task_data,
        "ReplicationTaskStats": _statistics(task) if task.has_run else None,
    }
    return {name: value for name, value in described.items() if value is not None}


def _settings(task: "ReplicationTask") -> dict[str, Any]:
    logging = dict(task.settings["Logging"])
    if logging["EnableLogging"]:
        logging["CloudWatchLogGroup"] = log_group(task.instance.id)
        logging["CloudWatchLogStream"] = log_stream(task.resource_id)
    return {**task.settings, "Logging": logging}


def _statistics(task: "ReplicationTask") -> dict[str, Any]:
    states = [table.get("state") for table in task.report.get("tables", [])]
    end = task.stop_date or datetime.now(UTC).replace(tzinfo=None)
    described = {
        "FullLoadProgressPercent": int(task.report.get("full_load_percent") or 0),
        "ElapsedTimeMillis": int((end - task.start_date).total_seconds() * 1000) if task.start_date else 0,
        "TablesLoaded": states.count("Table completed"),
        "TablesLoading": sum(state in _LOADING for state in states),
        "TablesQueued": states.count("Before load"),
        "TablesErrored": states.count("Table error"),
        "FreshStartDate": seconds(task.fresh_start),
        "StartDate": seconds(task.start_date),
        "StopDate": seconds(task.stop_date),
        "FullLoadStartDate": seconds(task.report.get("full_load_started")),
        "FullLoadFinishDate": seconds(task.report.get("full_load_finished")),
    }
    return {name: value for name, value in described.items() if value is not None}


def describe_table(table: Mapping[str, Any]) -> dict[str, Any]:
    """The structure TableStatistics of one table."""
    described = {
        "SchemaName": table["schema"],
        "TableName": table["table"],
        **{name: int(table.get(key) or 0) for name, key in _COUNTERS.items()},
        "FullLoadStartTime": seconds(table.get("full_load_start")),
        "FullLoadEndTime": seconds(table.get("full_load_end")),
        "FullLoadReloaded": bool(table.get("full_load_reloaded")),
        "LastUpdateTime": seconds(table.get("last_update")),
        "TableState": table.get("state", "Before load"),
        "ValidationState": table.get("validation_state", "Not enabled"),
        "ValidationStateDetails": table.get("validation_details"),
    }
    return {name: value for name, value in described.items() if value is not None}


def seconds(moment: datetime | str | float | None) -> float | None:
    """A moment as the JSON protocol has it, in seconds since 1970; without a time zone it is UTC."""
    if moment is None or isinstance(moment, int | float):
        return moment
    when = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
