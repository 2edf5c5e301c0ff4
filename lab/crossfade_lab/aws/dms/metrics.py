"""What tasks report, as metrics in moto's CloudWatch and lines in its CloudWatch Logs.

AWS publishes once a minute; here every two seconds, so that tests need not wait. moto keeps every point in memory
and looks at all of them for each answer, hence old ones are dropped.
"""

from datetime import datetime, timedelta

from moto.cloudwatch.models import cloudwatch_backends
from moto.core.utils import unix_time_millis, utcnow
from moto.logs.models import logs_backends

from crossfade_lab.aws.dms.models import LocalDms
from crossfade_lab.aws.dms.reporting import log_group, log_stream
from crossfade_lab.aws.dms.tasks import ACTIVE, ReplicationTask

NAMESPACE = "AWS/DMS"
KEPT = timedelta(minutes=10)

_MOST_LOG_EVENTS = 20_000
_MEGABYTE = 1024 * 1024


def publish(dms: LocalDms) -> None:
    """Put the present value of every metric of active tasks and of available instances."""
    data = []
    for instance in dms.instances():
        if instance.status != "available":
            continue
        tasks = [task for task in dms.tasks.values() if task.instance is instance and task.status in ACTIVE]
        dimensions = [{"Name": "ReplicationInstanceIdentifier", "Value": instance.id}]
        free = min([_of(task, "FreeStorageSpace") or float("inf") for task in tasks], default=float("inf"))
        values = {
            "FreeStorageSpace": min(free, instance.storage_mb * _MEGABYTE),
            "FreeableMemory": instance.memory_mb * _MEGABYTE / 2,
            "CPUUtilization": 10.0 * min(len(tasks), 9),
        }
        data += [{"MetricName": name, "Value": value, "Dimensions": dimensions} for name, value in values.items()]
        for task in tasks:
            also = [*dimensions, {"Name": "ReplicationTaskIdentifier", "Value": task.resource_id}]
            data += [
                {"MetricName": name, "Value": float(value), "Dimensions": also}
                for name, value in task.report.get("metrics", {}).items()
                if name != "FreeStorageSpace"
            ]
    cloudwatch = cloudwatch_backends[dms.account_id][dms.region_name]
    if data:
        cloudwatch.put_metric_data(NAMESPACE, data)
    oldest = utcnow() - KEPT
    outdated = 0
    for point in cloudwatch.metric_data:
        if point.timestamp.replace(tzinfo=None) >= oldest:
            break
        outdated += 1
    del cloudwatch.metric_data[:outdated]


def _of(task: ReplicationTask, metric: str) -> float:
    return float(task.report.get("metrics", {}).get(metric) or 0)


def ship_logs(dms: LocalDms) -> None:
    """Append what tasks logged since the last time, for tasks whose settings enable logging."""
    for task in dms.tasks.values():
        if task.settings["Logging"]["EnableLogging"] and task.has_run:
            lines, task.log_position = task.directory.log_since(task.log_position)
            if lines:
                _append(dms, task, lines)


def _append(dms: LocalDms, task: ReplicationTask, lines: list[str]) -> None:
    logs = logs_backends[dms.account_id][dms.region_name]
    group, stream = log_group(task.instance.id), log_stream(task.resource_id)
    if group not in logs.groups:
        logs.create_log_group(group, {})
    logs.ensure_log_stream(group, stream)
    now = int(unix_time_millis(datetime.now()))
    logs.put_log_events(group, stream, [{"timestamp": now, "message": line} for line in lines])
    kept = logs.groups[group].streams[stream].events
    del kept[:-_MOST_LOG_EVENTS]
