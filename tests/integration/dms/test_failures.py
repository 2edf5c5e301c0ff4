"""Refusals of AWS and failures of tasks name cause and next step."""

from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber
from moto.core.botocore_stubber import MockRawResponse

from crossfade.engines.dms import failures, refusals, statistics
from crossfade.engines.dms.task_state import TaskState
from crossfade.errors import PreconditionError, TransientError

ARN = "arn:aws:dms:eu-west-1:123456789012:task:ABC"


@pytest.fixture
def aws() -> Any:
    """A client whose answers the test writes down."""
    with Stubber(
        boto3.client("dms", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    ) as stubber:
        yield stubber


def stop(aws: Stubber) -> None:
    with refusals.asking("dms:StopReplicationTask", "replication task shop"):
        aws.client.stop_replication_task(ReplicationTaskArn=ARN)


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        ("ThrottlingException", refusals.Throttled, "throttled by AWS, 5 attempts in all"),
        ("ResourceNotFoundFault", refusals.NotFound, "replication task shop was refused.*Check its ARN"),
        ("InvalidResourceStateFault", refusals.Refused, "in a state that does not allow"),
        ("AccessDeniedException", refusals.Refused, "Allow the IAM action dms:StopReplicationTask"),
        ("AccessDeniedFault", refusals.Refused, "let dms.amazonaws.com assume it"),
        ("ExpiredTokenException", refusals.Refused, "Renew the credentials"),
        ("ResourceQuotaExceededFault", refusals.Refused, "quota"),
        ("S3ResourceNotFoundFault", refusals.Refused, "Create the bucket"),
        ("InternalFailure", refusals.AwsUnreachable, "clear this task later"),
        ("SomethingNew", refusals.Refused, "SomethingNew.*said AWS"),
    ],
)
def test_a_refusal_becomes_an_error_with_a_next_step(aws: Any, code: str, kind: type, says: str) -> None:
    aws.add_client_error("stop_replication_task", code, "said AWS", response_meta={"RetryAttempts": 4})
    with pytest.raises(kind, match=says) as raised:
        stop(aws)
    assert issubclass(kind, TransientError) == isinstance(raised.value, TransientError)
    assert isinstance(raised.value, TransientError) == (code in ("ThrottlingException", "InternalFailure"))


def test_throttling_is_retried_by_the_client_before_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)
    calls = []
    client = boto3.client(
        "dms",
        region_name="eu-west-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"mode": "standard", "total_max_attempts": 3}),
    )

    def answer(request: AWSPreparedRequest, **more: Any) -> AWSResponse:
        calls.append(request)
        body = b'{"__type": "ThrottlingException", "message": "Rate exceeded"}'
        return AWSResponse(request.url, 400, {}, MockRawResponse(body))

    client.meta.events.register("before-send.dms.*", answer)
    with (
        pytest.raises(refusals.Throttled, match="3 attempts in all: Rate exceeded"),
        refusals.asking("dms:StopReplicationTask", "replication task shop"),
    ):
        client.stop_replication_task(ReplicationTaskArn=ARN)
    assert len(calls) == 3


def test_no_network_is_transient() -> None:
    with pytest.raises(refusals.AwsUnreachable, match="Check the network"), refusals.asking("dms:X", "y"):
        raise EndpointConnectionError(endpoint_url="https://dms.eu-west-1.amazonaws.com")


def test_every_page_is_read_and_no_match_is_empty(aws: Any) -> None:
    row = {"SchemaName": "public", "TableName": "select", "TableState": "Table completed"}
    aws.add_response(
        "describe_table_statistics", {"TableStatistics": [row], "Marker": "2"}, {"ReplicationTaskArn": ARN}
    )
    more = {**row, "TableName": 'naïve"quote', "TableState": "Table error", "FullLoadRows": 12345}
    aws.add_response(
        "describe_table_statistics", {"TableStatistics": [more]}, {"ReplicationTaskArn": ARN, "Marker": "2"}
    )
    tables = statistics.statistics(aws.client, ARN)
    assert [table.full_name for table in tables] == ['public.naïve"quote', "public.select"]
    assert [table.full_name for table in statistics.broken(tables)] == ['public.naïve"quote']
    assert tables[0].line == 'public.naïve"quote: Table error, 12,345 rows'
    aws.add_client_error("describe_table_statistics", "ResourceNotFoundFault", "unknown")
    with pytest.raises(refusals.NotFound):
        statistics.statistics(aws.client, ARN)


def table(name: str = "orders", **known: Any) -> statistics.TableStatistics:
    """A table that is well, but for what is known of it."""
    values: dict[str, Any] = {
        "schema": "public",
        "table": name,
        "state": "Table completed",
        "load_started": None,
        "load_ended": None,
        "validation": "Not enabled",
        "validation_details": None,
    }
    counters = "rows error_rows inserts updates deletes ddls applied validation_pending validation_failed"
    values |= dict.fromkeys([*counters.split(), "validation_suspended"], 0)
    return statistics.TableStatistics(**{**values, **known})


@pytest.mark.parametrize(
    ("known", "trouble"),
    [
        ({}, None),
        ({"state": "Full load"}, None),
        ({"state": "Table error"}, "Table error"),
        ({"state": "Table cancelled"}, "Table cancelled"),
        ({"state": "Table does not exist"}, "Table does not exist"),
        ({"state": "Table is suspended"}, "Table is suspended"),
        ({"error_rows": 3}, "3 rows could not be written"),
    ],
)
def test_a_table_that_will_not_become_a_copy_is_broken(known: dict[str, Any], trouble: str | None) -> None:
    one = table(**known)
    assert one.trouble == trouble
    assert statistics.broken([one]) == ((one,) if trouble else ())


def test_validation_is_clean_only_when_all_was_compared_and_equal() -> None:
    good = table("a", validation="Validated")
    assert statistics.validation_summary([good, table("b", validation="No primary key")]).clean
    assert not statistics.validation_summary([table("b")]).clean
    pending = statistics.validation_summary([good, table("b", validation="Pending records", validation_pending=5)])
    assert not pending.ended and pending.under_way == ("public.b (5 pending)",)
    different = statistics.validation_summary([good, table("b", validation="Mismatched records", validation_failed=2)])
    assert different.ended and not different.clean
    assert "different: public.b (2 failed, 0 suspended)" in different.line
    failed = statistics.validation_summary([good, table("b", validation="Error", validation_details="no such type")])
    assert failed.failed == ("public.b (Error: no such type)",)


def state(status: str, reason: str | None = None, failure: str | None = None, percent: int = 40) -> TaskState:
    """A task as it was seen."""
    return TaskState(
        identifier="shop", arn=ARN, status=status, stop_reason=reason, failure=failure, has_run=True, percent=percent,
        loaded=0, loading=0, queued=0, errored=0, migration_type="full-load-and-cdc",
        instance_arn="i", source_arn="s", target_arn="t", mappings={}, settings={},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("failure", "kind", "says"),
    [
        ("Last Error no space left on device", PreconditionError, "instance is out of storage.*allocated-storage"),
        (
            "ERROR: could not extend file: No space left on device",
            PreconditionError,
            "database server is out of storage",
        ),
        ("server closed the connection unexpectedly", TransientError, "connection to a database was lost"),
        ("SqlState: 08001 Message: password authentication failed", PreconditionError, "does not let DMS's role in"),
        ("The connection string cannot be parsed", PreconditionError, "must not contain any of : ; \\+ %"),
        ("No tables were found at task initialization", PreconditionError, "select no table.*tables.include"),
        ('replication slot "shop_1" does not exist', PreconditionError, "slot is gone.*reload-target"),
        ("all replication slots are in use", PreconditionError, "no free replication slot"),
        ('null value in column "body" violates not-null constraint', PreconditionError, "NOT NULL on the target"),
        ("violates foreign key constraint", PreconditionError, "session_replication_role"),
        ("logical decoding requires wal_level >= logical", PreconditionError, "rds.logical_replication=1"),
        ("something never heard of", PreconditionError, "no cause that is known.*CloudWatch"),
    ],
)
def test_a_failed_task_is_explained_with_cause_words_of_dms_and_next_step(failure: str, kind: type, says: str) -> None:
    error = failures.failure_of(state("failed", "FATAL_ERROR", failure))
    assert isinstance(error, kind)
    with pytest.raises(kind, match=f"(?s){says}"):
        raise error
    assert failure in str(error) and "FATAL_ERROR" in str(error) and "40 %" in str(error)


def test_a_task_that_goes_on_without_a_table_is_an_error_that_names_it() -> None:
    bad = [table("fine"), table("Order Items", state="Table error")]
    error = failures.failure_of(state("running"), bad)
    assert isinstance(error, failures.TablesBroken)
    assert error.tables == ("public.Order Items",)
    assert "public.Order Items: Table error" in str(error) and "loads them again" in str(error)


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        ("value(s) of a LOB truncated", "bulk-max-size"),
        ('null value in column "body" violates not-null constraint', "start_way_back"),
        ('replication slot "shop_1" does not exist', "No task can bring them"),
    ],
)
def test_a_task_that_loads_nothing_is_not_told_to_load_again(failure: str, says: str) -> None:
    error = str(failures.failure_of(replace(state("failed", "FATAL_ERROR", failure), migration_type="cdc")))
    assert says in error and "loaded again" not in error and "drop_not_null" not in error
    suspended = failures.failure_of(replace(state("running"), migration_type="cdc"), [table(state="Table error")])
    assert "they are lost to it" in str(suspended)


def test_a_lost_connection_with_a_broken_table_needs_a_person() -> None:
    error = failures.failure_of(
        state("failed", "RECOVERABLE_ERROR", "connection refused"), [table(state="Table error")]
    )
    assert isinstance(error, failures.TaskFailed) and "Broken tables: public.orders" in str(error)


def test_a_task_that_is_well_is_no_failure() -> None:
    assert failures.failure_of(state("running")) is None
    assert failures.failure_of(state("stopped", "STOPPED_AFTER_CACHED_EVENTS", percent=100), [table()]) is None
    assert failures.failure_of(state("stopped", "NORMAL")) is None
    assert "stopped by somebody" in failures.explained(state("stopped", "NORMAL"))


def test_a_stop_by_low_disk_is_a_failure() -> None:
    error = failures.failure_of(state("stopped", "STOPPED_DUE_TO_LOW_DISK"))
    assert isinstance(error, failures.TaskFailed) and "out of storage" in str(error)
