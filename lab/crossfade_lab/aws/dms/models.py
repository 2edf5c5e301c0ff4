"""The DMS of one region: its resources and what one of them demands of another.

Named `models`, with `urls` beside it, because moto finds a backend's paths by these names.
"""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import psycopg
from moto.core.base_backend import BackendDict
from moto.dms.models import DatabaseMigrationServiceBackend

from crossfade_lab.aws.dms import instances
from crossfade_lab.aws.dms.assessments import AssessmentRuns
from crossfade_lab.aws.dms.connections import Connection
from crossfade_lab.aws.dms.endpoints import CannotConnect, Endpoint
from crossfade_lab.aws.dms.errors import (
    InvalidParameterValueException,
    InvalidResourceStateFault,
    ResourceAlreadyExistsFault,
    ResourceNotFoundFault,
)
from crossfade_lab.aws.dms.instances import ReplicationInstance
from crossfade_lab.aws.dms.paging import Item
from crossfade_lab.aws.dms.tasks import ACTIVE, ReplicationTask
from crossfade_lab.aws.dms.worker import COMMAND

NOT_TESTED = (
    "Test connection for replication instance and endpoint should be successful for starting the replication task"
)
_SLOT_DROP_SECONDS = 30.0


class LocalDms(DatabaseMigrationServiceBackend):
    """DMS in one region of one account; its methods are called under `lock`, by requests and by the supervisor."""

    lock: ClassVar[threading.RLock] = threading.RLock()
    directory: ClassVar[Path] = Path()  #: where tasks get their directories
    worker_command: ClassVar[tuple[str, ...]] = COMMAND

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.tasks: dict[str, ReplicationTask] = {}
        self.tests: dict[tuple[str, str], Connection] = {}
        self.assessments = AssessmentRuns()

    def reset(self) -> None:
        """Forget everything; running workers are killed."""
        for task in self.tasks.values():
            task.kill_worker()
            task.remove_files()
        super().reset()

    def advance(self) -> None:
        """Let time and workers bring their changes; called by the supervisor."""
        for instance in list(self.instances()):
            instance.advance()
            if instance.status == "deleted":
                self.replication_instances.pop(instance.arn)
        for task in self.tasks.values():
            task.advance()

    # Replication instances

    def instances(self) -> Iterable[ReplicationInstance]:
        """All replication instances."""
        found = list(self.replication_instances.values())
        return [instance for instance in found if isinstance(instance, ReplicationInstance)]

    def instance(self, arn: str) -> ReplicationInstance:
        """The replication instance of an ARN."""
        return _one(self.instances(), lambda instance: instance.arn == arn, f"Replication instance {arn}")

    def create_replication_instance(self, **options: Any) -> ReplicationInstance:  # type: ignore[override]
        """A new replication instance, `creating`."""
        group = options.get("replication_subnet_group_identifier")
        if group and group not in self.replication_subnet_groups:
            raise ResourceNotFoundFault(f"Replication subnet group {group} not found")
        made = ReplicationInstance(**options, region_name=self.region_name, account_id=self.account_id)
        _refuse_twice(made.id, [instance.id for instance in self.instances()])
        self.replication_instances[made.arn] = made
        self._tag(made.arn, options.get("tags"))
        return made

    def modify_replication_instance(self, replication_instance_arn: str, **options: Any) -> ReplicationInstance:  # type: ignore[override]
        """Change a replication instance, at once."""
        instance = self.instance(replication_instance_arn)
        instance.require_available()
        instances.require_valid_change(options)
        super().modify_replication_instance(replication_instance_arn=replication_instance_arn, **options)
        instance.modify()
        return instance

    def delete_replication_instance(self, replication_instance_arn: str) -> ReplicationInstance:
        """Delete a replication instance, which no task may use."""
        instance = self.instance(replication_instance_arn)
        if any(task.instance is instance for task in self.tasks.values()):
            raise InvalidResourceStateFault(
                f"Replication instance {instance.id} has replication tasks. The ReplicationTasks must be deleted first"
            )
        self.tests = {pair: test for pair, test in self.tests.items() if pair[0] != instance.arn}
        return instance.delete()

    # Endpoints and their tests

    def endpoint(self, arn: str) -> Endpoint:
        """The endpoint of an ARN."""
        return _one(self.all_endpoints(), lambda endpoint: endpoint.endpoint_arn == arn, f"Endpoint {arn}")

    def all_endpoints(self) -> list[Endpoint]:
        """All endpoints."""
        return [endpoint for endpoint in self.endpoints.values() if isinstance(endpoint, Endpoint)]

    def create_endpoint(self, **options: Any) -> Endpoint:  # type: ignore[override]
        """A new endpoint, active at once."""
        tags = options.pop("tags", None)
        made = Endpoint(**options, region_name=self.region_name, account_id=self.account_id)
        _refuse_twice(made.endpoint_identifier, self.endpoints)
        self.endpoints[made.endpoint_identifier] = made
        self._tag(made.endpoint_arn, tags)
        return made

    def modify_endpoint(self, arn: str, changes: dict[str, Any], *, exact_settings: bool) -> Endpoint:
        """Change an endpoint that no active task uses; DMS then tests its connections again by itself."""
        endpoint = self.endpoint(arn)
        for task in self.tasks_of(endpoint):
            if task.status in ACTIVE:
                raise InvalidResourceStateFault(
                    f"Endpoint {endpoint.endpoint_identifier} is in use by task {task.id}, which is {task.status}"
                )
        before = endpoint.endpoint_identifier
        wanted = str(changes.get("endpoint_identifier", before)).lower()
        if wanted != before:
            _refuse_twice(wanted, self.endpoints)
        endpoint.modify(changes, exact_settings=exact_settings)
        self.endpoints[endpoint.endpoint_identifier] = self.endpoints.pop(before)
        for (_, tested), connection in self.tests.items():
            if tested == arn:
                connection.start()
        return endpoint

    def delete_endpoint(self, endpoint_arn: str) -> Endpoint:
        """Delete an endpoint, which no task may use."""
        endpoint = self.endpoint(endpoint_arn)
        if self.tasks_of(endpoint):
            raise InvalidResourceStateFault(
                f"Endpoint {endpoint_arn} is part of one or more ReplicationTasks. "
                "The ReplicationTasks must be deleted first"
            )
        self.endpoints.pop(endpoint.endpoint_identifier)
        self.tests = {pair: test for pair, test in self.tests.items() if pair[1] != endpoint_arn}
        endpoint.delete()
        return endpoint

    def tasks_of(self, endpoint: Endpoint) -> list[ReplicationTask]:
        """The tasks that read from or write to an endpoint."""
        return [task for task in self.tasks.values() if endpoint in (task.source, task.target)]

    def test_connection(self, replication_instance_arn: str, endpoint_arn: str) -> Connection:
        """Begin to test an endpoint from an instance."""
        instance, endpoint = self.instance(replication_instance_arn), self.endpoint(endpoint_arn)
        instance.require_available()
        pair = (instance.arn, endpoint.endpoint_arn)
        if pair in self.tests and self.tests[pair].status == "testing":
            raise InvalidResourceStateFault("The connection is already being tested")
        self.tests[pair] = Connection(instance, endpoint)
        self.tests[pair].start()
        return self.tests[pair]

    def delete_connection(self, instance_arn: str, endpoint_arn: str) -> Connection:
        """Forget the outcome of a test."""
        if (found := self.tests.pop((instance_arn, endpoint_arn), None)) is None:
            raise ResourceNotFoundFault(f"Connection of {endpoint_arn} to {instance_arn} not found")
        found.status = "deleting"
        return found

    def require_tested(self, task: ReplicationTask) -> None:
        """Refuse a task whose endpoints were not both reached from its instance."""
        for endpoint in (task.source, task.target):
            test = self.tests.get((task.instance.arn, endpoint.endpoint_arn))
            if test is None or test.status != "successful":
                raise InvalidResourceStateFault(f"{NOT_TESTED}: endpoint {endpoint.endpoint_identifier}")

    # Tasks

    def task(self, arn: str) -> ReplicationTask:
        """The task of an ARN."""
        return _one(self.tasks.values(), lambda task: task.arn == arn, f"Replication task {arn}")

    def add_task(self, *, instance_arn: str, source_arn: str, target_arn: str, **options: Any) -> ReplicationTask:
        """A new task, `creating`; options are those of `ReplicationTask`."""
        instance, source, target = self.instance(instance_arn), self.endpoint(source_arn), self.endpoint(target_arn)
        instance.require_available()
        for endpoint, wanted in ((source, "source"), (target, "target")):
            if endpoint.endpoint_type != wanted:
                raise InvalidParameterValueException(
                    f"Endpoint {endpoint.endpoint_arn} is a {endpoint.endpoint_type.upper()} endpoint and cannot be "
                    f"used as the {wanted}"
                )
        made = ReplicationTask(
            instance=instance,
            source=source,
            target=target,
            root=self.directory / "tasks",
            command=self.worker_command,
            account_id=self.account_id,
            region_name=self.region_name,
            **options,
        )
        try:
            _refuse_twice(made.id, [task.id for task in self.tasks.values()])
        except ResourceAlreadyExistsFault:
            made.remove_files()
            raise
        self.tasks[made.arn] = made
        made.publish_ahead()
        return made

    def delete_replication_task(self, replication_task_arn: str) -> ReplicationTask:
        """Delete a task that is not active; the slot that it made goes first."""
        task = self.task(replication_task_arn)
        task.begin_to_delete()
        threading.Thread(target=self._remove, args=(task,), name="delete-task", daemon=True).start()
        return task

    def _remove(self, task: ReplicationTask) -> None:
        time.sleep(0.5)  # deleting takes a moment, as at AWS
        leave_no_slot(task)
        with self.lock:
            self.tasks.pop(task.arn, None)
            task.remove_files()

    def _tag(self, arn: str, tags: Sequence[dict[str, str]] | None) -> None:
        if tags:
            self.tagger.tag_resource(arn, list(tags))


def leave_no_slot(task: ReplicationTask) -> None:
    """Drop the slot and the publications that a task made on its source; one named by the client stays.

    Where the source cannot be reached they stay behind, as with DMS, and are the client's to drop.
    """
    slot, publications = task.report.get("slot"), task.report.get("publications") or []
    if slot == task.source.settings.get("SlotName"):
        slot = None
    if not slot and not publications:
        return
    end = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s AND active"
    drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s AND NOT active"
    still = "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s"
    deadline = time.monotonic() + _SLOT_DROP_SECONDS
    try:
        with task.source.login().connect() as connection:
            for publication in publications:
                name = psycopg.sql.Identifier(publication)
                connection.execute(psycopg.sql.SQL("DROP PUBLICATION IF EXISTS {}").format(name))
            while slot and connection.execute(still, [slot]).fetchone() and time.monotonic() < deadline:
                connection.execute(end, [slot])
                connection.execute(drop, [slot])
                time.sleep(0.05)
            if slot and connection.execute(still, [slot]).fetchone():
                print(f"slot {slot} of task {task.id} stays on the source: it is in use", flush=True)
    except (CannotConnect, psycopg.Error) as error:
        print(f"slot {slot} of task {task.id} stays on the source: {error}", flush=True)


def _one(items: Iterable[Item], wanted: Callable[[Item], bool], name: str) -> Item:
    for item in items:
        if wanted(item):
            return item
    raise ResourceNotFoundFault(f"{name} not found")


def _refuse_twice(identifier: str, taken: Iterable[str]) -> None:
    if identifier in taken:
        raise ResourceAlreadyExistsFault(f"The resource you are attempting to create already exists: {identifier}")


dms_backends = BackendDict(LocalDms, "dms")
