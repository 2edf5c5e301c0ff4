"""Premigration assessment runs: started once, awaited, their findings named."""

import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from crossfade.engines.dms import assessment, waiting
from crossfade.errors import PreconditionError, TransientError

TASK = "arn:aws:dms:eu-west-1:123456789012:task:ABC"
RUN = "arn:aws:dms:eu-west-1:123456789012:assessment-run:DEF"
WANTED = {"task_arn": TASK, "name": "shop-1", "role": "arn:aws:iam::1:role/dms", "bucket": "results"}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    """A client whose answers the test writes down."""
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.01)
    with Stubber(
        boto3.client("dms", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    ) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def tell(aws: Stubber, status: str, individual: dict[str, str], failure: str = "") -> None:
    """AWS's answer to a question for the run."""
    run: dict[str, Any] = {
        "ReplicationTaskAssessmentRunArn": RUN,
        "AssessmentRunName": "shop-1",
        "Status": status,
        "LastFailureMessage": failure,
        "AssessmentProgress": {"IndividualAssessmentCount": 3, "IndividualAssessmentCompletedCount": len(individual)},
        "ResultLocationBucket": "results",
        "ResultLocationFolder": "dms",
    }
    filters = [{"Name": "replication-task-assessment-run-arn", "Values": [RUN]}]
    aws.add_response(
        "describe_replication_task_assessment_runs", {"ReplicationTaskAssessmentRuns": [run]}, {"Filters": filters}
    )
    told = [{"IndividualAssessmentName": name, "Status": one} for name, one in individual.items()]
    aws.add_response(
        "describe_replication_task_individual_assessments",
        {"ReplicationTaskIndividualAssessments": told},
        {"Filters": filters},
    )


def test_a_run_is_awaited_and_warnings_pass(aws: Stubber) -> None:
    asked = {
        "ReplicationTaskArn": TASK,
        "ServiceAccessRoleArn": WANTED["role"],
        "ResultLocationBucket": "results",
        "ResultLocationFolder": "dms",
        "AssessmentRunName": "shop-1",
        "Exclude": ["full-lob-not-nullable-at-target"],
    }
    aws.add_response(
        "start_replication_task_assessment_run",
        {"ReplicationTaskAssessmentRun": {"ReplicationTaskAssessmentRunArn": RUN}},
        asked,
    )
    tell(aws, "starting", {})
    tell(aws, "running", {"a": "running"})
    tell(aws, "warning", {"a": "passed", "b": "warning"})
    run = assessment.start(aws.client, **WANTED, folder="dms", exclude=["full-lob-not-nullable-at-target"])
    ended = assessment.wait(aws.client, run, time.monotonic() + 60)
    ended.require_passed()
    assert ended.line == "assessment run shop-1: warning, 2 of 3 done; warning: b"


def test_what_failed_is_named_with_the_place_of_the_results(aws: Stubber) -> None:
    individual = {"unsupported-data-types-in-source": "failed", "b": "warning", "table-with-lob-but-no-key": "failed"}
    tell(aws, "failed", individual, "2 assessments failed.")
    with pytest.raises(
        assessment.AssessmentFailed,
        match=r"table-with-lob-but-no-key, unsupported-data-types-in-source. 2 assessments failed. .*s3://results/dms",
    ):
        assessment.read(aws.client, RUN).require_passed()


@pytest.mark.parametrize(
    ("status", "individual"),
    [("error-provisioning", {}), ("passed", {"a": "error"}), ("invalid state", {"a": "passed"})],
)
def test_a_run_without_a_result_may_be_tried_again(aws: Stubber, status: str, individual: dict[str, str]) -> None:
    tell(aws, status, individual, "no role")
    with pytest.raises(TransientError, match=r"shop-1.*no role\. Clear this task"):
        assessment.read(aws.client, RUN).require_passed()


def test_a_run_that_was_started_before_is_found_again(aws: Stubber) -> None:
    aws.add_client_error("start_replication_task_assessment_run", "ResourceAlreadyExistsFault", "exists")
    runs = [{"AssessmentRunName": name, "ReplicationTaskAssessmentRunArn": arn} for name, arn in {"x": "y"}.items()]
    runs.append({"AssessmentRunName": "shop-1", "ReplicationTaskAssessmentRunArn": RUN})
    aws.add_response(
        "describe_replication_task_assessment_runs",
        {"ReplicationTaskAssessmentRuns": runs},
        {"Filters": [{"Name": "replication-task-arn", "Values": [TASK]}]},
    )
    assert assessment.start(aws.client, **WANTED) == RUN


def test_a_missing_bucket_is_refused_with_what_to_do(aws: Stubber) -> None:
    aws.add_client_error("start_replication_task_assessment_run", "S3ResourceNotFoundFault", "no such bucket")
    with pytest.raises(PreconditionError, match=r"no such bucket. Create the bucket"):
        assessment.start(aws.client, **WANTED)
