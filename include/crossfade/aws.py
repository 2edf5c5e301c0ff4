"""Talking to AWS: clients by connection, and what AWS answers as errors of ours that say what to do."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as NoConnection

from crossfade.errors import FatalError, PreconditionError, TransientError

Clients = Callable[[str, str], Any]  #: AWS connection id, service -> boto3 client

#: For every client: botocore itself slows down and tries again where AWS throttles. Seconds for the time limits.
CLIENT_CONFIG = Config(retries={"mode": "adaptive", "max_attempts": 8}, connect_timeout=5, read_timeout=30)

_THROTTLED = frozenset(
    {
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "AccessDeniedFault", "UnauthorizedOperation"})
_CREDENTIALS = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)


class NoAwsHere(PreconditionError):
    """The plan names an AWS connection, but nothing here can turn one into a client."""


class AwsThrottled(TransientError):
    """AWS throttled a call, also after retries."""


class AwsUnavailable(TransientError):
    """AWS did not answer, failed within, or what is asked about is in a state that passes."""


class AwsDenied(PreconditionError):
    """The AWS connection may not do what is needed."""

    def __init__(self, *, action: str, conn_id: str, thing: str, reason: str) -> None:
        self.action, self.conn_id, self.thing = action, conn_id, thing
        super().__init__(
            f"AWS denied {action} on {thing}: {reason}. "
            f"Allow {action} to the role or user of the connection {conn_id!r}"
        )


class AwsNotFound(PreconditionError):
    """Something that the plan names does not exist in AWS."""

    def __init__(self, *, conn_id: str, thing: str, reason: str) -> None:
        self.conn_id, self.thing = conn_id, thing
        super().__init__(
            f"AWS knows no such thing as {thing}: {reason}. "
            f"Correct the name in the plan, or region and account of the connection {conn_id!r}"
        )


class AwsRefused(PreconditionError):
    """AWS refused a call for a reason that a retry does not change."""


def no_clients(conn_id: str, service: str) -> Any:
    """For migrations without AWS. Raises `NoAwsHere`."""
    raise NoAwsHere(
        f"the plan names the AWS connection {conn_id!r}, for {service}, but no AWS clients are configured here: "
        "run this as an Airflow task or with the command crossfade"
    )


class AwsService:
    """
    One service of AWS about one thing. The client is made at the first call: making it reads no network.

    :param conn_id: the AWS connection, as the plan names it
    :param service: boto3's name: rds, route53, secretsmanager …
    :param thing: what it is asked about, for messages
    """

    def __init__(self, clients: Clients, conn_id: str, service: str, *, thing: str) -> None:
        self._clients = clients
        self.conn_id, self.service, self.thing = conn_id, service, thing

    @cached_property
    def client(self) -> Any:
        """The boto3 client."""
        return self._clients(self.conn_id, self.service)

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """
        What AWS answers to an operation, in boto3's spelling (``get_change``).

        Raises `AwsThrottled`, `AwsUnavailable`, `AwsDenied`, `AwsNotFound`, `AwsRefused`, `PreconditionError` where
        credentials or region are missing. Parameters never show in an error: they may hold a secret.
        """
        try:
            answer: dict[str, Any] = getattr(self.client, operation)(**parameters)
            return answer
        except ClientError as error:
            raise self.translated(error) from None
        except (NoCredentialsError, PartialCredentialsError, NoRegionError) as error:
            raise PreconditionError(
                f"AWS cannot be asked about {self.thing}: {error}. Complete the connection {self.conn_id!r}"
            ) from None
        except ParamValidationError:  # its text holds the parameters
            raise FatalError(f"{self.service}.{operation} about {self.thing} was given malformed parameters") from None
        except (NoConnection, HTTPClientError) as error:
            raise AwsUnavailable(f"{self.service} did not answer about {self.thing}: {error}") from None
        except BotoCoreError as error:
            raise AwsRefused(f"AWS could not be asked about {self.thing}: {error}") from None

    def translated(self, error: ClientError) -> PreconditionError | TransientError:
        """An error answer of AWS, as one of ours."""
        told = error.response.get("Error", {})
        code, reason = str(told.get("Code", "")), f"{told.get('Code')}: {told.get('Message', '')}".rstrip(": .")
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _THROTTLED:
            return AwsThrottled(f"AWS throttled {error.operation_name} on {self.thing} ({reason}), also after retries")
        if code in _DENIED:
            action = f"{self.service}:{error.operation_name}"
            return AwsDenied(action=action, conn_id=self.conn_id, thing=self.thing, reason=reason)
        if code in _CREDENTIALS:
            return PreconditionError(
                f"AWS does not accept the credentials of the connection {self.conn_id!r} ({reason}): renew them"
            )
        if "NotFound" in code or code.startswith("NoSuch"):
            return AwsNotFound(conn_id=self.conn_id, thing=self.thing, reason=reason)
        if status >= 500 or (code.startswith("Invalid") and "State" in code):
            return AwsUnavailable(f"{error.operation_name} on {self.thing} is not possible now ({reason})")
        return AwsRefused(f"AWS refused {error.operation_name} on {self.thing}: {reason}")
