"""Reports of validations in an S3 that answers as AWS does, reached through an Airflow connection."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import boto3
import pytest
from moto.server import ThreadedMotoServer

from crossfade.validation.report import as_html
from crossfade.validation.result import Mode, Report
from crossfade_airflow.validation_reports import address, publish, reports_directory

REPORT = Report(
    id="3f0f6f5e",
    plan="shop",
    run_id="manual",
    mode=Mode.QUICK,
    started_at=datetime(2026, 5, 1, 2, 15, 3, tzinfo=UTC),
    finished_at=datetime(2026, 5, 1, 2, 15, 4, tzinfo=UTC),
    source="PostgreSQL 16",
    target="PostgreSQL 18",
)
NAME = "20260501T021503Z-3f0f6f5e"


class Task:
    """As much of a running task as takes an XCom."""

    def xcom_push(self, key: str, value: dict[str, str]) -> None:
        self.told = value


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """The bucket in which `CROSSFADE_REPORTS` says that reports are kept."""
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    access = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    made = boto3.resource("s3", endpoint_url=endpoint, **access).create_bucket(Bucket="kept")
    connection = {
        "conn_type": "aws",
        "login": "test",
        "password": "test",
        "extra": {"endpoint_url": endpoint, "region_name": "us-east-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_REPORTS", json.dumps(connection))
    monkeypatch.setenv("CROSSFADE_REPORTS", "s3://reports@kept/of/validations")
    yield made
    server.stop()


def test_a_report_is_written_to_s3_read_from_there_and_named_without_a_secret(bucket) -> None:
    task = Task()
    path = f"s3://reports@kept/of/validations/shop/{NAME}.html"
    assert publish(REPORT, {"ti": task}) == task.told == {"verdict": "ok", "path": path}
    assert sorted(each.key for each in bucket.objects.all()) == [
        f"of/validations/shop/{NAME}.html",
        f"of/validations/shop/{NAME}.json",
    ]
    assert (reports_directory() / "shop" / f"{NAME}.html").read_bytes().decode() == as_html(REPORT)
    assert address(task.told) == f"crossfade/validations/shop/{NAME}.html"
    with pytest.raises(FileNotFoundError):
        (reports_directory() / "shop" / "other.html").read_bytes()


def test_a_misspelled_bucket_is_not_made_and_costs_no_verdict(
    bucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CROSSFADE_REPORTS", "s3://reports@kepd/of/validations")
    assert publish(REPORT, {"ti": Task()}) == {"verdict": "ok", "path": ""}
    assert "CROSSFADE_REPORTS" in caplog.text
    assert [each["Name"] for each in bucket.meta.client.list_buckets()["Buckets"]] == ["kept"]
