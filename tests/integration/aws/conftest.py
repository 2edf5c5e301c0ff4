"""One server with two databases, and a local AWS whose workers are fake, for all tests of the API of the local DMS."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest

from crossfade_lab import processes
from crossfade_lab.aws.local import LocalAws
from crossfade_lab.postgres import PostgresServer
from crossfade_lab.processes import LabError
from crossfade_lab.testing import scratch_directory, server

PASSWORD = "sesame-street"
TRUST = json.dumps(
    {"Statement": [{"Effect": "Allow", "Principal": {"Service": "dms.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
)

_numbers = count(1)


def wait_for(condition: Callable[[], Any], *, seconds: float = 120) -> Any:
    """What a condition says once it is true; an error when that takes too long."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)
    return found


def mapping(*tables: str, **extra: Any) -> str:
    """A mapping that includes tables of schema public."""
    rules = [
        {
            "rule-type": "selection",
            "rule-id": str(number),
            "rule-name": f"t{number}",
            "object-locator": {"schema-name": "public", "table-name": table},
            "rule-action": "include",
        }
        for number, table in enumerate(tables, start=1)
    ]
    return json.dumps({"rules": [*rules, *extra.get("more", [])]})


@dataclass
class Dms:
    """A client of the local DMS with an instance and two tested endpoints, and what tests keep asking."""

    aws: LocalAws
    client: Any
    database: PostgresServer
    instance: str
    source: str
    target: str
    started: list[str] = field(default_factory=list)  #: tasks whose workers may still run

    worker: ClassVar[list[str]] = [sys.executable, str(Path(__file__).with_name("fake_worker.py"))]

    @classmethod
    def on(cls, aws: LocalAws, database: PostgresServer) -> Self:
        """With an instance and two tested endpoints, which are made here."""
        client = aws.client("dms")
        instance = client.create_replication_instance(
            ReplicationInstanceIdentifier="lab", ReplicationInstanceClass="dms.c5.large", AllocatedStorage=20
        )["ReplicationInstance"]
        assert instance["ReplicationInstanceStatus"] == "creating"
        made = cls(aws, client, database, instance["ReplicationInstanceArn"], "", "")

        def status() -> str:
            (found,) = client.describe_replication_instances()["ReplicationInstances"]
            return str(found["ReplicationInstanceStatus"])

        wait_for(lambda: status() == "available")
        made.source, made.target = made.endpoint("source"), made.endpoint("target")
        for endpoint in (made.source, made.target):
            assert made.tested(endpoint)["Status"] == "successful"
        return made

    def pid_of_worker(self, task: str) -> int:
        """The process id of a running task's worker."""
        return int(json.loads((self.aws.task_directory(task) / "status.json").read_text())["pid"])

    def wait_for(self, condition: Callable[[], Any], *, seconds: float = 120) -> Any:
        """See `wait_for`."""
        return wait_for(condition, seconds=seconds)

    def mapping(self, *tables: str, **extra: Any) -> str:
        """See `mapping`."""
        return mapping(*tables, **extra)

    def endpoint(self, kind: str, **changes: Any) -> str:
        """A new endpoint's ARN."""
        login = {"ServerName": "127.0.0.1", "Port": self.database.port, "Username": "dms", "Password": PASSWORD}
        wanted = {
            "EndpointIdentifier": f"{kind}-{next(_numbers)}",
            "EndpointType": kind,
            "EngineName": "postgres",
            "DatabaseName": {"source": "src"}.get(kind, "dst"),
            **login,
            **changes,
        }
        given = {name: value for name, value in wanted.items() if value is not None}
        return str(self.client.create_endpoint(**given)["Endpoint"]["EndpointArn"])

    def tested(self, endpoint: str) -> dict[str, Any]:
        """The outcome of testing an endpoint."""
        self.client.test_connection(ReplicationInstanceArn=self.instance, EndpointArn=endpoint)
        return self.outcome(endpoint)

    def outcome(self, endpoint: str) -> dict[str, Any]:
        """The outcome of the test of an endpoint that was begun."""
        only = [{"Name": "endpoint-arn", "Values": [endpoint]}]

        def over() -> dict[str, Any] | None:
            connection: dict[str, Any] = self.client.describe_connections(Filters=only)["Connections"][0]
            return connection if connection["Status"] != "testing" else None

        return dict(wait_for(over))

    def task(self, **changes: Any) -> str:
        """A ready task's ARN; it captures changes and selects table `orders`."""
        wanted = {
            "ReplicationTaskIdentifier": f"task-{next(_numbers)}",
            "SourceEndpointArn": self.source,
            "TargetEndpointArn": self.target,
            "ReplicationInstanceArn": self.instance,
            "MigrationType": "full-load-and-cdc",
            "TableMappings": mapping("orders"),
            **changes,
        }
        arn = str(self.client.create_replication_task(**wanted)["ReplicationTask"]["ReplicationTaskArn"])
        self.until(arn, "ready")
        return arn

    def described(self, task: str) -> dict[str, Any]:
        """What DescribeReplicationTasks says of one."""
        only = [{"Name": "replication-task-arn", "Values": [task]}]
        return dict(self.client.describe_replication_tasks(Filters=only)["ReplicationTasks"][0])

    def until(self, task: str, status: str) -> dict[str, Any]:
        """What a task is like once it has a status."""
        wait_for(lambda: self.described(task)["Status"] == status)
        return self.described(task)

    def start(self, task: str, kind: str = "start-replication", **more: Any) -> None:
        """Start a task."""
        self.started.append(task)
        self.client.start_replication_task(ReplicationTaskArn=task, StartReplicationTaskType=kind, **more)

    def running(self, **changes: Any) -> str:
        """A running task's ARN."""
        arn = self.task(**changes)
        self.start(arn)
        self.until(arn, "running")
        return arn

    def role(self, name: str, trust: str = TRUST) -> str:
        """The ARN of a new IAM role, which DMS may take unless told otherwise."""
        made = self.aws.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)
        return str(made["Role"]["Arn"])


@pytest.fixture(scope="session")
def api_database() -> Iterator[PostgresServer]:
    """A server with a source and a target database, and a role that may replicate."""
    with server(16) as running:
        with running.connect() as connection:
            connection.execute(f"CREATE ROLE dms LOGIN REPLICATION PASSWORD '{PASSWORD}'")
            connection.execute("CREATE DATABASE src OWNER dms")
            connection.execute("CREATE DATABASE dst OWNER dms")
        yield running


@pytest.fixture(scope="session")
def local_dms(api_database: PostgresServer) -> Iterator[Dms]:
    """The local DMS with a fake worker, an available instance and two tested endpoints; no worker outlives it."""
    with scratch_directory() as directory:
        with LocalAws(directory / "aws", worker=Dms.worker) as aws:
            ready = Dms.on(aws, api_database)
            yield ready
            pid = ready.pid_of_worker(ready.running())
            assert processes.is_alive(pid)
        assert not processes.is_alive(pid)


@pytest.fixture
def dms(local_dms: Dms) -> Iterator[Dms]:
    """The local DMS; what a test leaves running ends with it."""
    yield local_dms
    while local_dms.started:
        with suppress(LabError):  # it was deleted
            local_dms.aws.kill_worker(local_dms.started.pop())
