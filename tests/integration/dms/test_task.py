"""A replication task through its life, against moto where it knows the call, with AWS's own answers where not."""

import json
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber
from moto import mock_aws
from moto.dms.models import FakeReplicationTask

from crossfade.engines.dms import task, waiting
from crossfade.errors import DeadlineExceeded, PreconditionError

ARN = "arn:aws:dms:eu-west-1:123456789012:task:ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ENDS = {"instance_arn": "arn:aws:dms:i", "source_arn": "arn:aws:dms:s", "target_arn": "arn:aws:dms:t"}
MAPPINGS = {"rules": [{"rule-type": "selection", "rule-id": "1"}]}
SETTINGS = {"TargetMetadata": {"BatchApplyEnabled": False}}


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's, and questions in quick succession."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.01)


@pytest.fixture
def dms(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Moto's DMS, whose tasks get ready once they have been looked at, as AWS's do after a while."""
    shown = FakeReplicationTask.to_dict

    def shown_then_ready(self: FakeReplicationTask) -> dict[str, Any]:
        described = shown(self)
        if self.status == "creating":
            self.ready()
        return described

    monkeypatch.setattr(FakeReplicationTask, "to_dict", shown_then_ready)
    with mock_aws():
        yield boto3.client("dms", region_name="eu-west-1")


TAGS = {"crossfade:plan": "shop"}


def made(dms: Any, **changes: Any) -> task.TaskState:
    """A task of this test's."""
    wanted: dict[str, Any] = {
        "identifier": "shop",
        "mappings": json.dumps(MAPPINGS),
        "settings": json.dumps(SETTINGS),
        "kind": "full-load-and-cdc",
        "tags": TAGS,
        **ENDS,
    }
    return task.create_or_update(dms, **{**wanted, **changes})


def told(status: str, **more: Any) -> dict[str, Any]:
    """AWS's answer to a question for the task."""
    stats = {"FullLoadProgressPercent": more.pop("percent", 0), "TablesErrored": more.pop("errored", 0)}
    described = {
        "ReplicationTaskIdentifier": "shop",
        "ReplicationTaskArn": ARN,
        "Status": status,
        "MigrationType": "full-load-and-cdc",
        "ReplicationInstanceArn": ENDS["instance_arn"],
        "SourceEndpointArn": ENDS["source_arn"],
        "TargetEndpointArn": ENDS["target_arn"],
        "TableMappings": json.dumps(MAPPINGS),
        "ReplicationTaskSettings": json.dumps(
            {"TargetMetadata": {"BatchApplyEnabled": False, "LobMaxSize": 32}, "TTSettings": None}
        ),
        "ReplicationTaskStats": stats,
        **more,
    }
    return {"ReplicationTasks": [described]}


@pytest.fixture
def aws() -> Iterator[Stubber]:
    """A client whose answers the test writes down."""
    with Stubber(boto3.client("dms", region_name="eu-west-1")) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


STARTED = {"ReplicationTaskStartDate": "2026-11-21T10:00:00Z"}


def test_a_task_is_made_ready_and_found_again(dms: Any) -> None:
    first = made(dms)
    assert (first.status, first.has_run, first.mappings) == ("ready", False, MAPPINGS)
    assert made(dms).arn == first.arn
    assert len(dms.describe_replication_tasks()["ReplicationTasks"]) == 1
    tags = dms.list_tags_for_resource(ResourceArn=first.arn)["TagList"]
    assert [(tag["Key"], tag["Value"]) for tag in tags] == [("crossfade:plan", "shop")]


def test_a_task_that_does_not_exist_is_none_and_starting_it_says_what_to_do(dms: Any) -> None:
    assert task.describe(dms, "shop") is None
    with pytest.raises(task.TaskMissing, match=r"no replication task 'shop'.*Clear the task load\.create_task"):
        task.start(dms, "shop")


def test_a_task_with_another_endpoint_is_refused(dms: Any) -> None:
    made(dms)
    with pytest.raises(PreconditionError, match="source endpoint arn:aws:dms:s instead of arn:aws:dms:other"):
        made(dms, source_arn="arn:aws:dms:other")


def test_life_of_a_task(dms: Any) -> None:
    made(dms)
    assert task.start(dms, "shop").status == "ready"
    assert task.existing(dms, "shop").status == "running"
    assert task.start(dms, "shop").status == "running"  # safe again
    stopped = task.stop(dms, "shop", time.monotonic() + 60)
    assert stopped is not None and stopped.status == "stopped"
    again = task.stop(dms, "shop", time.monotonic() + 60)
    assert again is not None and again.status == "stopped"
    task.resume(dms, "shop")
    assert task.existing(dms, "shop").status == "running"
    with pytest.raises(PreconditionError, match="was made for the plan 'shop', so it is left alone"):
        task.delete(dms, "shop", time.monotonic() + 60, tags={"crossfade:plan": "shop_back"})
    with pytest.raises(PreconditionError, match="so it is left alone"):
        made(dms, tags={"crossfade:plan": "shop_back"})
    task.delete(dms, "shop", time.monotonic() + 60, tags=TAGS)
    assert task.describe(dms, "shop") is None
    task.delete(dms, "shop", time.monotonic() + 60, tags=TAGS)
    assert task.stop(dms, "shop", time.monotonic() + 60) is None


@pytest.mark.parametrize(
    ("seen", "order"),
    [
        (told("ready"), "start-replication"),
        (told("stopped", percent=40, StopReason="Stop Reason NORMAL", **STARTED), "resume-processing"),
        (told("failed", percent=40, StopReason="Stop Reason FATAL_ERROR", **STARTED), "resume-processing"),
        (
            told("stopped", percent=100, StopReason="Stop Reason STOPPED_AFTER_FULL_LOAD", **STARTED),
            "resume-processing",
        ),
        (told("stopped", percent=100, StopReason="Stop Reason STOPPED_AFTER_CACHED_EVENTS", **STARTED), None),
        (told("running", percent=40, **STARTED), None),
        (told("starting", **STARTED), None),
    ],
)
def test_the_load_is_brought_under_way_by_the_state_that_is_found(
    aws: Stubber, seen: dict[str, Any], order: str | None
) -> None:
    aws.add_response("describe_replication_tasks", seen)
    if order:
        aws.add_response("start_replication_task", {}, {"ReplicationTaskArn": ARN, "StartReplicationTaskType": order})
    task.start(aws.client, "shop")


def test_at_the_consistent_point_only_resume_goes_on(aws: Stubber) -> None:
    at = told("stopped", percent=100, StopReason="Stop Reason STOPPED_AFTER_CACHED_EVENTS", **STARTED)
    aws.add_response("describe_replication_tasks", at)
    aws.add_response(
        "start_replication_task", {}, {"ReplicationTaskArn": ARN, "StartReplicationTaskType": "resume-processing"}
    )
    decided_by = task.resume(aws.client, "shop")
    assert decided_by.at_consistent_point and decided_by.load_complete
    assert decided_by.resource_id == "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def test_a_task_that_never_ran_is_not_resumed(aws: Stubber) -> None:
    aws.add_response("describe_replication_tasks", told("ready"))
    with pytest.raises(PreconditionError, match="never started"):
        task.resume(aws.client, "shop")


def test_a_load_with_a_table_in_error_is_not_complete(aws: Stubber) -> None:
    aws.add_response("describe_replication_tasks", told("running", percent=100, errored=1))
    assert not task.existing(aws.client, "shop").load_complete


def there_and_ours(aws: Stubber, answer: dict[str, Any]) -> None:
    """AWS's answers to who asks for the task in order to make it the same."""
    aws.add_response("describe_replication_tasks", answer)
    tags = [{"Key": key, "Value": value} for key, value in TAGS.items()]
    aws.add_response("list_tags_for_resource", {"TagList": tags}, {"ResourceArn": ARN})
    aws.add_response("describe_replication_tasks", answer)


def test_settings_that_aws_filled_in_are_no_difference_but_others_are_modified(aws: Stubber) -> None:
    there_and_ours(aws, told("stopped"))
    assert made(aws.client).status == "stopped"
    other = json.dumps({"TargetMetadata": {"BatchApplyEnabled": True}})
    there_and_ours(aws, told("stopped"))
    aws.add_response("modify_replication_task", {}, {"ReplicationTaskArn": ARN, "ReplicationTaskSettings": other})
    for status in ("modifying", "stopped"):
        aws.add_response("describe_replication_tasks", told(status))
    assert made(aws.client, settings=other).status == "stopped"


def test_a_running_task_is_not_modified(aws: Stubber) -> None:
    there_and_ours(aws, told("running"))
    with pytest.raises(PreconditionError, match=r"running with other TableMappings.*stop it"):
        made(aws.client, mappings='{"rules": []}')


def test_stopping_waits_past_starting_and_asks_once(aws: Stubber) -> None:
    aws.add_response("describe_replication_tasks", told("starting"))
    aws.add_response("describe_replication_tasks", told("running"))
    aws.add_response("stop_replication_task", {}, {"ReplicationTaskArn": ARN})
    for status in ("running", "stopping", "stopped"):
        aws.add_response("describe_replication_tasks", told(status))
    stopped = task.stop(aws.client, "shop", time.monotonic() + 60)
    assert stopped is not None and stopped.status == "stopped"


def test_a_stop_that_takes_too_long_says_what_was_seen(aws: Stubber) -> None:
    aws.add_response("describe_replication_tasks", told("stopping"))
    with pytest.raises(DeadlineExceeded, match=r"stopping replication task shop.*status stopping"):
        task.stop(aws.client, "shop", time.monotonic())


def test_a_stop_that_comes_too_late_is_no_error(aws: Stubber) -> None:
    aws.add_response("describe_replication_tasks", told("running"))
    aws.add_client_error("stop_replication_task", "InvalidResourceStateFault", "not running")
    aws.add_response("describe_replication_tasks", told("failed"))
    seen = task.stop(aws.client, "shop", time.monotonic() + 60)
    assert seen is not None and seen.status == "failed"


def test_tables_are_reloaded_ten_at_a_time(aws: Stubber) -> None:
    tables = [("public", f"Order Items {number}") for number in range(23)]
    for size in (10, 10, 3):
        aws.add_response(
            "reload_tables",
            {},
            {"ReplicationTaskArn": ARN, "TablesToReload": [ANY] * size, "ReloadOption": "data-reload"},
        )
    task.reload(aws.client, ARN, tables)
