"""What surrounds tasks: metrics, logs, throttling, assessment runs, moto's other services, and a clean end."""

import json
import os
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from crossfade_lab import processes
from crossfade_lab.aws.local import LocalAws
from crossfade_lab.processes import LabError
from crossfade_lab.testing import scratch_directory


def test_metrics_of_a_running_task_are_found_by_instance_and_resource_id(dms: Any) -> None:
    arn = dms.running()
    cloudwatch = dms.aws.client("cloudwatch")
    dimensions = [
        {"Name": "ReplicationInstanceIdentifier", "Value": "lab"},
        {"Name": "ReplicationTaskIdentifier", "Value": arn.rpartition(":")[2]},
    ]
    dms.wait_for(lambda: cloudwatch.list_metrics(Namespace="AWS/DMS", Dimensions=dimensions[1:])["Metrics"])

    def average(metric: str, of: list[dict[str, str]]) -> float | None:
        points = cloudwatch.get_metric_statistics(
            Namespace="AWS/DMS",
            MetricName=metric,
            Dimensions=of,
            StartTime=datetime.now(UTC) - timedelta(minutes=5),
            EndTime=datetime.now(UTC) + timedelta(minutes=1),
            Period=60,
            Statistics=["Average"],
        )["Datapoints"]
        return float(points[-1]["Average"]) if points else None

    assert average("CDCLatencyTarget", dimensions) == 2.5
    assert average("FreeStorageSpace", dimensions[:1]) == 20 * 1024**3


def test_the_log_goes_to_cloudwatch_only_when_logging_is_enabled(dms: Any) -> None:
    silent = dms.running()
    arn = dms.running(ReplicationTaskSettings=json.dumps({"Logging": {"EnableLogging": True}}))
    logging = json.loads(dms.described(arn)["ReplicationTaskSettings"])["Logging"]
    assert logging["CloudWatchLogGroup"] == "dms-tasks-lab"
    logs = dms.aws.client("logs")

    def messages() -> list[str]:
        where = {"logGroupName": "dms-tasks-lab", "logStreamName": logging["CloudWatchLogStream"]}
        try:
            return [event["message"] for event in logs.get_log_events(**where)["events"]]
        except ClientError:
            return []

    assert dms.wait_for(messages) == ["2026-01-01T00:00:00 [TASK_MANAGER ]I: started"]
    streams = logs.describe_log_streams(logGroupName="dms-tasks-lab")["logStreams"]
    assert f"dms-task-{silent.rpartition(':')[2]}" not in {stream["logStreamName"] for stream in streams}


def test_a_throttled_action_fails_as_often_as_asked_and_then_works(dms: Any) -> None:
    impatient = dms.aws.client("dms", config=Config(retries={"total_max_attempts": 1, "mode": "standard"}))
    dms.aws.throttle("DescribeReplicationTasks", 2)
    for _ in range(2):
        with pytest.raises(ClientError) as caught:
            impatient.describe_replication_tasks()
        assert caught.value.response["Error"]["Code"] == "ThrottlingException"
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    impatient.describe_replication_tasks()


def run_of(dms: Any, name: str) -> dict[str, Any]:
    runs = dms.client.describe_replication_task_assessment_runs()["ReplicationTaskAssessmentRuns"]
    return dict(next(run for run in runs if run["AssessmentRunName"] == name))


def test_an_assessment_run_looks_at_the_real_databases_and_writes_its_result(dms: Any) -> None:
    with dms.database.connect("src") as connection:
        connection.execute('CREATE TABLE "select" (id int, note text, address inet)')
        connection.execute("CREATE TABLE fine (id int PRIMARY KEY)")
        connection.execute('GRANT SELECT ON "select", fine TO dms')
    role = dms.role("assesses")
    dms.aws.client("s3").create_bucket(Bucket="results", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    arn = dms.task(TableMappings=dms.mapping("select", "fine"))
    asked = {
        "ReplicationTaskArn": arn,
        "ServiceAccessRoleArn": role,
        "ResultLocationBucket": "results",
        "ResultLocationFolder": "here",
    }
    names = dms.client.describe_applicable_individual_assessments(ReplicationTaskArn=arn)["IndividualAssessmentNames"]
    assert {"postgres-check-wallevel", "unsupported-data-types-in-source"} <= set(names)
    started = dms.client.start_replication_task_assessment_run(**asked, AssessmentRunName="one")
    assert started["ReplicationTaskAssessmentRun"]["Status"] == "starting"
    assert dms.described(arn)["Status"] == "testing"
    dms.wait_for(lambda: run_of(dms, "one")["Status"] not in ("starting", "running"))
    run = run_of(dms, "one")
    assert run["Status"] == "failed"
    assert run["AssessmentProgress"]["IndividualAssessmentCompletedCount"] == len(names)
    of_run = [{"Name": "replication-task-assessment-run-arn", "Values": [run["ReplicationTaskAssessmentRunArn"]]}]
    singles = dms.client.describe_replication_task_individual_assessments(Filters=of_run)
    status = {
        single["IndividualAssessmentName"]: single["Status"]
        for single in singles["ReplicationTaskIndividualAssessments"]
    }
    assert "error" not in status.values()
    assert status["unsupported-data-types-in-source"] == "failed"
    assert status["table-with-lob-but-without-primary-key-or-unique-constraint"] == "failed"
    assert status["table-with-no-primary-key-or-unique-constraint"] == "warning"
    assert status["postgres-check-wallevel"] == "passed"
    result = json.load(dms.aws.client("s3").get_object(Bucket="results", Key="here/one/results.json")["Body"])
    details = {each["name"]: each["details"] for each in result["results"]}
    assert details["unsupported-data-types-in-source"] == ['public."select".address has type inet']
    assert dms.described(arn)["Status"] == "ready"

    for wrong, code in (
        ({"AssessmentRunName": "one"}, "ResourceAlreadyExistsFault"),
        ({"ResultLocationBucket": "nowhere"}, "S3ResourceNotFoundFault"),
        ({"ServiceAccessRoleArn": role + "x"}, "AccessDeniedFault"),
        ({"IncludeOnly": ["nothing-known"]}, "InvalidParameterValueException"),
        ({"ReplicationTaskArn": dms.task(SourceEndpointArn=dms.endpoint("source"))}, "InvalidResourceStateFault"),
    ):
        with pytest.raises(ClientError) as caught:
            dms.client.start_replication_task_assessment_run(**{**asked, "AssessmentRunName": "two", **wrong})
        assert caught.value.response["Error"]["Code"] == code
    only = {"IncludeOnly": ["postgres-check-wallevel"], "AssessmentRunName": "three"}
    dms.client.start_replication_task_assessment_run(**{**asked, **only})
    dms.wait_for(lambda: run_of(dms, "three")["Status"] == "passed")
    assert not run_of(dms, "one")["IsLatestTaskAssessmentRun"]

    dms.client.start_replication_task_assessment_run(**asked, AssessmentRunName="four")
    which = {"ReplicationTaskAssessmentRunArn": run_of(dms, "four")["ReplicationTaskAssessmentRunArn"]}
    with pytest.raises(dms.client.exceptions.InvalidResourceStateFault):
        dms.client.delete_replication_task_assessment_run(**which)
    dms.client.cancel_replication_task_assessment_run(**which)
    dms.wait_for(lambda: run_of(dms, "four")["Status"] == "cancelled")
    assert run_of(dms, "four")["ResultStatistic"]["Cancelled"] == len(names)
    dms.client.delete_replication_task_assessment_run(**which)
    runs = dms.client.describe_replication_task_assessment_runs()["ReplicationTaskAssessmentRuns"]
    assert "four" not in {run["AssessmentRunName"] for run in runs}


def test_the_other_services_are_motos_own(dms: Any) -> None:
    rds = dms.aws.client("rds")
    rds.create_db_parameter_group(DBParameterGroupName="pg", DBParameterGroupFamily="postgres16", Description="lab")
    assert rds.describe_db_parameter_groups(DBParameterGroupName="pg")["DBParameterGroups"]
    zone = dms.aws.client("route53").create_hosted_zone(Name="example.test", CallerReference="lab")
    assert zone["HostedZone"]["Name"] == "example.test."
    assert dms.aws.client("sts").get_caller_identity()["Account"] == "123456789012"
    group = dms.client.create_replication_subnet_group(
        ReplicationSubnetGroupIdentifier="subnets", ReplicationSubnetGroupDescription="lab", SubnetIds=["subnet-1"]
    )
    assert group["ReplicationSubnetGroup"]["SubnetGroupStatus"] == "Complete"


def test_another_process_takes_the_server_over_by_its_directory(dms: Any) -> None:
    again = LocalAws.open(dms.aws.directory)
    assert (again.url, again.pid) == (dms.aws.url, dms.aws.pid)
    with pytest.raises(LabError, match="holds no local AWS"):
        LocalAws.open(dms.aws.directory / "nowhere")


def test_no_worker_outlives_a_server_that_was_killed(dms: Any) -> None:
    with scratch_directory() as directory, LocalAws(directory / "aws", worker=dms.worker) as aws:
        own = type(dms).on(aws, dms.database)
        pid = own.pid_of_worker(own.running())
        assert processes.is_alive(pid)
        assert aws.pid is not None
        os.kill(aws.pid, signal.SIGKILL)
        assert processes.wait_until(lambda: not processes.is_alive(pid), seconds=60)
