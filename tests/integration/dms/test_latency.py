"""Latencies from CloudWatch: the newest datapoint, its age, and nothing where nothing is known."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws

from crossfade.engines.dms.latency import CdcLatency, cdc_latency

NOW = datetime.now(UTC).replace(second=30, microsecond=0)


@pytest.fixture
def cloudwatch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Moto's CloudWatch, with the metrics of another task of the same instance."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        client = boto3.client("cloudwatch", region_name="eu-west-1")
        put(client, {"CDCLatencySource": 999, "CDCLatencyTarget": 999, "CDCThroughputRowsSource": 9}, task="OTHER")
        yield client


def put(cloudwatch: Any, values: dict[str, float], *, minutes_ago: float = 1, task: str = "ABC") -> None:
    """Publish datapoints as DMS does."""
    dimensions = [
        {"Name": "ReplicationInstanceIdentifier", "Value": "crossfade-shop"},
        {"Name": "ReplicationTaskIdentifier", "Value": task},
    ]
    at = NOW - timedelta(minutes=minutes_ago)
    cloudwatch.put_metric_data(
        Namespace="AWS/DMS",
        MetricData=[
            {"MetricName": name, "Dimensions": dimensions, "Timestamp": at, "Value": value}
            for name, value in values.items()
        ],
    )


def look(cloudwatch: Any, instance: str = "crossfade-shop") -> CdcLatency:
    return cdc_latency(cloudwatch, instance_id=instance, resource_id="ABC", now=NOW)


def test_a_task_without_a_datapoint_is_not_current(cloudwatch: Any) -> None:
    latency = look(cloudwatch)
    assert (latency.source, latency.target, latency.incoming) == (None, None, None)
    assert not latency.current(1e9)
    assert "not known yet" in latency.line


def test_the_newest_datapoint_of_this_task_is_read_with_its_age(cloudwatch: Any) -> None:
    put(cloudwatch, {"CDCLatencySource": 50, "CDCLatencyTarget": 60}, minutes_ago=5)
    put(cloudwatch, {"CDCLatencySource": 2, "CDCLatencyTarget": 3, "CDCIncomingChanges": 7})
    latency = look(cloudwatch)
    assert latency.source and latency.target and latency.incoming
    assert (latency.source.value, latency.target.value, latency.incoming.value) == (2, 3, 7)
    assert 0 <= latency.source.age <= 120
    assert latency.current(3) and not latency.current(2)
    assert look(cloudwatch, instance="another").source is None


def test_one_latency_alone_is_not_enough(cloudwatch: Any) -> None:
    put(cloudwatch, {"CDCLatencySource": 1})
    latency = look(cloudwatch)
    assert latency.source and latency.target is None and not latency.current(10)


def test_zero_with_nothing_captured_proves_nothing(cloudwatch: Any) -> None:
    put(cloudwatch, {"CDCLatencySource": 0, "CDCLatencyTarget": 0, "CDCThroughputRowsSource": 0})
    idle = look(cloudwatch)
    assert idle.source and idle.source.value == 0
    assert not idle.captured and not idle.current(10) and "nothing captured" in idle.line
    put(cloudwatch, {"CDCThroughputRowsSource": 4}, minutes_ago=2)
    assert look(cloudwatch).current(10)


def test_old_datapoints_are_not_current(cloudwatch: Any) -> None:
    put(cloudwatch, {"CDCLatencySource": 1, "CDCLatencyTarget": 1}, minutes_ago=8)
    latency = look(cloudwatch)
    assert latency.captured and latency.source and latency.source.age > 300
    assert not latency.current(10)
