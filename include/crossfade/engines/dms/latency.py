"""How far a replication task is behind, by the metrics that AWS DMS publishes to CloudWatch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from crossfade.engines.dms.refusals import Client, asking

NAMESPACE = "AWS/DMS"
PERIOD_SECONDS = 60  #: resolution of DMS's metrics
WINDOW = timedelta(minutes=15)  #: how far back datapoints are looked for
STALE_SECONDS = 300.0  #: a datapoint older than this says nothing about now: CloudWatch shows them 1 to 3 min late

_METRICS = {
    "source": "CDCLatencySource",
    "target": "CDCLatencyTarget",
    "incoming": "CDCIncomingChanges",
    "throughput": "CDCThroughputRowsSource",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """The newest datapoint of a metric."""

    value: float
    at: datetime
    age: float  #: seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class CdcLatency:
    """What CloudWatch knows of a task's latencies; None where it has no datapoint."""

    source: Sample | None  #: seconds between a commit on the source and its capture
    target: Sample | None  #: seconds between a commit on the source and its commit on the target
    incoming: Sample | None  #: changes captured and not applied yet
    captured: bool  #: whether anything was captured within `WINDOW`: latencies of an idle task are 0, and prove nothing

    def current(self, max_seconds: float) -> bool:
        """Whether both latencies are fresh, at most that many seconds, and mean something."""
        return self.captured and all(
            sample is not None and sample.age <= STALE_SECONDS and sample.value <= max_seconds
            for sample in (self.source, self.target)
        )

    @property
    def line(self) -> str:
        """One line for a log."""

        def shown(name: str, sample: Sample | None, unit: str) -> str:
            return f"{name} {sample.value:.0f}{unit} ({sample.age:.0f} s old)" if sample else f"{name} not known yet"

        words = [
            shown("source latency", self.source, " s"),
            shown("target latency", self.target, " s"),
            shown("changes waiting", self.incoming, ""),
        ]
        if not self.captured:
            words.append(f"nothing captured in {WINDOW.total_seconds() / 60:.0f} min")
        return ", ".join(words)


def dimensions(cloudwatch: Client, *, instance_id: str, resource_id: str) -> list[dict[str, str]] | None:
    """
    The dimensions under which a task's metrics are found, as CloudWatch lists them; None before the first datapoint.

    :param instance_id: identifier of the replication instance
    :param resource_id: the last part of the task's ARN
    Raises as `refusals.asking`.
    """
    wanted = {"ReplicationInstanceIdentifier": instance_id, "ReplicationTaskIdentifier": resource_id}
    token: dict[str, str] = {}
    while True:
        with asking("cloudwatch:ListMetrics", f"{NAMESPACE}, task {resource_id} on {instance_id}"):
            answer = cloudwatch.list_metrics(
                Namespace=NAMESPACE,
                MetricName=_METRICS["source"],
                Dimensions=[{"Name": "ReplicationTaskIdentifier", "Value": resource_id}],
                **token,
            )
        for metric in answer.get("Metrics", []):
            found = {part["Name"]: part["Value"] for part in metric["Dimensions"]}
            if {name: value.lower() for name, value in found.items() if name in wanted} == {
                name: value.lower() for name, value in wanted.items()
            }:
                return [{"Name": name, "Value": value} for name, value in found.items()]
        if not answer.get("NextToken"):
            return None
        token = {"NextToken": answer["NextToken"]}


def cdc_latency(cloudwatch: Client, *, instance_id: str, resource_id: str, now: datetime | None = None) -> CdcLatency:
    """
    The newest datapoint of each metric, the worst of its minute.

    :param now: for the ages; this instant by default
    Raises as `refusals.asking`.
    """
    known = dimensions(cloudwatch, instance_id=instance_id, resource_id=resource_id)
    if known is None:
        return CdcLatency(source=None, target=None, incoming=None, captured=False)
    now = now or datetime.now(UTC)
    queries = [
        {
            "Id": name,
            "MetricStat": {
                "Metric": {"Namespace": NAMESPACE, "MetricName": metric, "Dimensions": known},
                "Period": PERIOD_SECONDS,
                "Stat": "Maximum",
            },
        }
        for name, metric in _METRICS.items()
    ]
    with asking("cloudwatch:GetMetricData", f"{NAMESPACE}, task {resource_id} on {instance_id}"):
        answer = cloudwatch.get_metric_data(
            MetricDataQueries=queries,
            StartTime=_minute(now - WINDOW),  # periods are counted from it
            EndTime=_minute(now) + timedelta(seconds=PERIOD_SECONDS),
        )
    points = {result["Id"]: _points(result) for result in answer["MetricDataResults"]}
    newest = {name: _newest(points.get(name, []), now) for name in ("source", "target", "incoming")}
    captured = any(value > 0 for found in points.values() for _, value in found)
    return CdcLatency(**newest, captured=captured)


def _minute(at: datetime) -> datetime:
    """The beginning of its minute."""
    return at.replace(second=0, microsecond=0)


def _points(result: Mapping[str, Any]) -> list[tuple[datetime, float]]:
    return sorted(zip(result["Timestamps"], result["Values"], strict=True))


def _newest(points: list[tuple[datetime, float]], now: datetime) -> Sample | None:
    if not points:
        return None
    at, value = points[-1]
    return Sample(value=value, at=at, age=max((now - at).total_seconds(), 0.0))
