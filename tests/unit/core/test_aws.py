"""What AWS answers becomes an error that says whether a retry helps, and what to do."""

import logging
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError
from botocore.stub import Stubber

from crossfade.aws import AwsDenied, AwsNotFound, AwsRefused, AwsService, AwsThrottled, AwsUnavailable, no_clients
from crossfade.errors import CrossfadeError, FatalError, PreconditionError, TransientError


@pytest.fixture(scope="module")
def client() -> Any:
    return boto3.client("rds", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")


def service(client: Any) -> AwsService:
    return AwsService(lambda conn_id, name: client, "aws_shop", "rds", thing="the RDS Proxy 'shop-proxy'")


@pytest.mark.parametrize(
    ("code", "status", "kind", "branch", "said"),
    [
        ("Throttling", 400, AwsThrottled, TransientError, "throttled DescribeDBProxyTargets"),
        ("RequestLimitExceeded", 503, AwsThrottled, TransientError, "also after retries"),
        ("AccessDenied", 403, AwsDenied, PreconditionError, "Allow rds:DescribeDBProxyTargets to .* 'aws_shop'"),
        ("DBProxyNotFoundFault", 404, AwsNotFound, PreconditionError, "no such thing as the RDS Proxy 'shop-proxy'"),
        ("InvalidDBProxyStateFault", 400, AwsUnavailable, TransientError, "not possible now"),
        ("InternalFailure", 500, AwsUnavailable, TransientError, "not possible now"),
        ("ExpiredToken", 403, PreconditionError, PreconditionError, "renew them"),
        ("InvalidParameterValue", 400, AwsRefused, PreconditionError, "InvalidParameterValue: seen"),
    ],
)
def test_an_error_answer_becomes_one_of_ours(
    client: Any, code: str, status: int, kind: type[CrossfadeError], branch: type[CrossfadeError], said: str
) -> None:
    with Stubber(client) as stub, pytest.raises(kind, match=said) as caught:
        stub.add_client_error("describe_db_proxy_targets", code, "seen", status)
        service(client).call("describe_db_proxy_targets", DBProxyName="shop-proxy")
    assert isinstance(caught.value, branch)


@pytest.mark.parametrize(
    ("error", "branch", "said"),
    [
        (EndpointConnectionError(endpoint_url="https://rds.example"), TransientError, "did not answer"),
        (NoCredentialsError(), PreconditionError, "Complete the connection 'aws_shop'"),
    ],
)
def test_what_never_reached_aws_is_told_apart(error: Exception, branch: type[CrossfadeError], said: str) -> None:
    class Failing:
        def describe_db_proxies(self) -> None:
            raise error

    with pytest.raises(branch, match=said):
        service(Failing()).call("describe_db_proxies")


def test_parameters_show_in_no_error(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "crossfade"), pytest.raises(FatalError) as caught:
        service(client).call("describe_db_proxy_targets", DBProxyName=["s3cret"])
    assert "s3cret" not in f"{caught.value} {caught.value.__cause__}{caplog.text}"


def test_a_migration_without_aws_says_so() -> None:
    with pytest.raises(PreconditionError, match="names the AWS connection 'aws_shop', for rds, but no AWS clients"):
        AwsService(no_clients, "aws_shop", "rds", thing="it").call("describe_db_proxies")
