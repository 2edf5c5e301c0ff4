"""What AWS answers when it does not do what it was asked: translated into errors that name cause and next step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import (
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)

from crossfade.errors import CrossfadeError, PreconditionError, TransientError

#: A boto3 client. Its type is made at run time, so there is none to name.
Client = Any

_THROTTLED = {
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
}  # those that botocore itself retries
_DENIED = {"AccessDenied", "AccessDeniedException", "NotAuthorized", "UnauthorizedOperation"}
_CREDENTIALS = {
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_UNAVAILABLE = {"InternalError", "InternalFailure", "ServiceUnavailable", "InsufficientResourceCapacityFault"}

#: By AWS's code, what a person has to do.
_REMEDIES = {
    "AccessDeniedFault": "AWS DMS may not use the role that it was given: let dms.amazonaws.com assume it, and let it "
    "read the secret or write to the bucket",
    "InvalidResourceStateFault": "It is in a state that does not allow this. Look at it in the AWS console, wait until "
    "it is ready, stopped or available, and clear this task",
    "KMSKeyNotAccessibleFault": "Let the role use that KMS key, or enable the key",
    "ReplicationSubnetGroupDoesNotCoverEnoughAZs": "Add subnets of a second availability zone to the replication "
    "subnet group",
    "ResourceAlreadyExistsFault": "Something else has that name: rename or delete it",
    "ResourceQuotaExceededFault": "Delete what is not needed any more, or have the quota raised (Service Quotas, AWS "
    "Database Migration Service)",
    "S3AccessDeniedFault": "Let the role write to the bucket: s3:PutObject, s3:ListBucket, s3:GetBucketLocation",
    "S3ResourceNotFoundFault": "Create the bucket, or correct its name in the plan",
    "StorageQuotaExceededFault": "Ask for less storage, or have the quota raised",
}


class Throttled(TransientError):
    """AWS refused a call because there were too many of them, and went on to do so when it was repeated."""


class AwsUnreachable(TransientError):
    """AWS could not be reached, or failed itself."""


class Refused(PreconditionError):
    """AWS refused a call. `code` is AWS's own."""

    def __init__(self, message: str, *, code: str) -> None:
        self.code = code
        super().__init__(message)


class NotFound(Refused):
    """AWS does not know what it was asked about."""


@contextmanager
def asking(action: str, subject: str) -> Iterator[None]:
    """
    Translate what boto3 raises in this block.

    :param action: the IAM action that the call needs, such as ``dms:CreateReplicationTask``
    :param subject: what it is about, for messages: kind and name or ARN
    Raises `Throttled` and `AwsUnreachable` (`TransientError`), `NotFound` and `Refused` (`PreconditionError`).
    """
    try:
        yield
    except ClientError as error:
        raise translated(error, action, subject) from error
    except (NoCredentialsError, PartialCredentialsError, NoRegionError) as error:
        raise Refused(
            f"{action} for {subject} was not sent: {error}. Give the AWS connection of the plan a region, and "
            "credentials or a role",
            code=type(error).__name__,
        ) from error
    except (ConnectionError, HTTPClientError) as error:
        raise AwsUnreachable(
            f"{action} for {subject} got no answer: {error}. Check the network to AWS (region, proxy, VPC endpoint) "
            "and clear this task"
        ) from error


def translated(error: ClientError, action: str, subject: str) -> CrossfadeError:
    """The error for one refused call; see `asking`."""
    answer = error.response
    code = str(answer.get("Error", {}).get("Code", "unknown"))
    said = str(answer.get("Error", {}).get("Message", "")).strip().rstrip(".") or "no reason given"
    http = answer.get("ResponseMetadata", {})
    what = f"{action} for {subject} was refused ({code}): {said}"
    if code in _THROTTLED:
        attempts = int(http.get("RetryAttempts", 0)) + 1
        return Throttled(
            f"{action} for {subject} was throttled by AWS, {attempts} attempts in all: {said}. Nothing is lost: it is "
            "tried again with the next try of this task. If it goes on, run fewer plans at a time or have the API's "
            "rate quota raised"
        )
    if code in _UNAVAILABLE or int(http.get("HTTPStatusCode", 400)) >= 500:
        return AwsUnreachable(f"{what}. AWS failed or has no capacity right now: clear this task later")
    if code in _CREDENTIALS:
        return Refused(f"{what}. Renew the credentials of the plan's AWS connection", code=code)
    if code in _DENIED:
        return Refused(
            f"{what}. Allow the IAM action {action} for the role of the plan's AWS connection, on this resource",
            code=code,
        )
    if "NotFound" in code and code not in _REMEDIES:
        return NotFound(f"{what}. Check its ARN or name, the region and the account in the plan", code=code)
    remedy = _REMEDIES.get(code, "Correct what AWS names, in the plan or in AWS")
    return Refused(f"{what}. {remedy}", code=code)


def pages(client: Client, operation: str, key: str, *, action: str, subject: str, **parameters: Any) -> list[Any]:
    """
    Every element that a describe call has under that key, whatever the number of pages.

    Empty also where AWS answers by an error that nothing matches the filters. Raises as `asking` does.
    """
    found: list[Any] = []
    marker: dict[str, str] = {}
    while True:
        try:
            with asking(action, subject):
                answer = getattr(client, operation)(**parameters, **marker)
        except NotFound:
            if "Filters" not in parameters:
                raise
            return found
        found += answer.get(key) or []
        if not answer.get("Marker"):
            return found
        marker = {"Marker": answer["Marker"]}
