"""Whether a replication instance reaches a database: TestConnection of AWS DMS, with the reason where it does not."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from crossfade.engines.dms.failures import cause
from crossfade.engines.dms.refusals import Client, Refused, asking, pages
from crossfade.engines.dms.waiting import until
from crossfade.errors import PreconditionError

log = logging.getLogger(__name__)


class ConnectionTestFailed(PreconditionError):
    """A replication instance does not get into a database."""

    def __init__(self, *, endpoint: str, status: str, said: str) -> None:
        known = cause(None, said)
        super().__init__(
            f"AWS DMS cannot connect to the endpoint {endpoint} ({status}): {known.what}. "
            f"It says: {said.rstrip('.') or 'nothing'}. {known.next}"
        )


def connection(dms: Client, *, instance_arn: str, endpoint_arn: str) -> Mapping[str, Any] | None:
    """The last test of that endpoint from that instance as AWS tells it; None where there was none."""
    found = pages(
        dms,
        "describe_connections",
        "Connections",
        action="dms:DescribeConnections",
        subject=f"endpoint {endpoint_arn}",
        Filters=[
            {"Name": "endpoint-arn", "Values": [endpoint_arn]},
            {"Name": "replication-instance-arn", "Values": [instance_arn]},
        ],
    )
    for told in found:
        if (told["EndpointArn"], told["ReplicationInstanceArn"]) == (endpoint_arn, instance_arn):
            one: Mapping[str, Any] = told
            return one
    return None


def proved(dms: Client, *, instance_arn: str, endpoint_arn: str) -> bool:
    """Whether the last test of that endpoint succeeded, so that an assessment or a task may use it."""
    last = connection(dms, instance_arn=instance_arn, endpoint_arn=endpoint_arn)
    return last is not None and last["Status"] == "successful"


def prove_connection(dms: Client, *, instance_arn: str, endpoint_arn: str, name: str, deadline: float) -> None:
    """
    Test now, and return when it succeeded.

    :param name: of the endpoint, for messages
    :param deadline: `time.monotonic()`
    Raises `ConnectionTestFailed` with DMS's reason, and `DeadlineExceeded`.
    """
    try:
        with asking("dms:TestConnection", f"endpoint {name}"):
            dms.test_connection(ReplicationInstanceArn=instance_arn, EndpointArn=endpoint_arn)
    except Refused as error:
        last = connection(dms, instance_arn=instance_arn, endpoint_arn=endpoint_arn)
        if error.code != "InvalidResourceStateFault" or last is None or last["Status"] != "testing":
            raise  # else: a test is under way, and its result is as good
    last = until(
        lambda: connection(dms, instance_arn=instance_arn, endpoint_arn=endpoint_arn),
        lambda told: told is not None and told["Status"] != "testing",
        what=f"testing the connection to {name}",
        seen=lambda told: f"status {told['Status']}" if told else "no test yet",
        deadline=deadline,
    )
    assert last is not None  # `until` returns only what is done
    if last["Status"] != "successful":
        raise ConnectionTestFailed(endpoint=name, status=last["Status"], said=last.get("LastFailureMessage") or "")
    log.info("AWS DMS connects to %s", name)
