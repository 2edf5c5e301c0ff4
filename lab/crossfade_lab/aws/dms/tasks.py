"""Replication tasks: their states, what may be asked of them in which state, and how their worker is led."""

import shutil
import time
from pathlib import Path
from typing import Any

from moto.core.utils import utcnow
from moto.dms.models import FakeReplicationTask

from crossfade_lab.aws.dms import mappings, names, settings
from crossfade_lab.aws.dms.endpoints import CannotConnect, Endpoint
from crossfade_lab.aws.dms.errors import (
    InvalidParameterCombinationException,
    InvalidParameterValueException,
    InvalidResourceStateFault,
    ValidationException,
)
from crossfade_lab.aws.dms.files import FINAL, Document, TaskDirectory
from crossfade_lab.aws.dms.instances import ReplicationInstance
from crossfade_lab.aws.dms.reporting import describe_task
from crossfade_lab.aws.dms.worker import COMMAND, Worker

CREATING_SECONDS = 0.3
MODIFYING_SECONDS = 0.3
STOPPING_SECONDS = 1.0
MOST_RELOADS = 10

MIGRATION_TYPES = ("full-load", "cdc", "full-load-and-cdc")
START_TYPES = ("start-replication", "resume-processing", "reload-target")
RESTING = frozenset({"ready", "stopped", "failed"})
ACTIVE = frozenset({"starting", "running", "stopping"})
#: What the worker before has made and seen, and its successor only tells once it has looked: a task whose worker dies
#: before that still knows its slot.
_KEPT = ("slot", "publications", "tables")


class ReplicationTask(FakeReplicationTask):
    """One task and the worker that carries it out while it runs.

    :param identifier: the client's name of it
    :param suffix: the last part of its ARN, or None for one at random
    :param task_settings: the client's JSON, merged with DMS's defaults
    :param root: where the task gets a directory of its own
    :param command: the worker's command, without the task directory
    :raises DmsClientError: for what DMS refuses
    """

    def __init__(
        self,
        *,
        identifier: str,
        suffix: str | None,
        migration_type: str,
        instance: ReplicationInstance,
        source: Endpoint,
        target: Endpoint,
        table_mappings: str,
        task_settings: str | None,
        account_id: str,
        region_name: str,
        root: Path,
        command: tuple[str, ...] = COMMAND,
    ) -> None:
        _require_one_of(migration_type, MIGRATION_TYPES, "migrationType")
        mappings.checked(table_mappings)
        self.settings = settings.merged(task_settings)
        super().__init__(
            replication_task_identifier=names.identifier(identifier, "ReplicationTaskIdentifier"),
            migration_type=migration_type,
            replication_instance_arn=instance.arn,
            source_endpoint_arn=source.endpoint_arn,
            target_endpoint_arn=target.endpoint_arn,
            table_mappings=table_mappings,
            replication_task_settings="",
            account_id=account_id,
            region_name=region_name,
        )
        self.instance, self.source, self.target = instance, source, target
        self.arn = names.arn("task", region=region_name, account=account_id, suffix=suffix)
        self.directory = TaskDirectory(root / names.resource_id(self.arn))
        self.cdc_start_position: str | None = None
        self.cdc_stop_position: str | None = None
        self.task_data: str | None = None
        self.last_failure_message: str | None = None
        self.stop_reason: str | None = None
        self.fresh_start = self.start_date
        self.report: Document = {}  #: what the worker said last
        self.reloads: list[Document] = []
        self.log_position = 0  #: how much of log.txt has been shipped, bytes
        self.worker: Worker | None = None
        self._publisher: Worker | None = None
        self._command = command
        self._rest = "ready"  # the state to return to from creating, modifying and testing
        self._due = time.monotonic() + CREATING_SECONDS

    @property
    def resource_id(self) -> str:
        """The suffix of the ARN, by which logs and metrics name the task."""
        return names.resource_id(self.arn)

    @property
    def has_run(self) -> bool:
        """Whether it was started before."""
        return self.fresh_start is not None

    def to_dict(self) -> dict[str, Any]:
        """The structure of the API."""
        return describe_task(self)

    def require_resting(self, action: str) -> None:
        """Refuse an action unless the task is ready, stopped or failed."""
        if self.status not in RESTING:
            raise InvalidResourceStateFault(f"Replication Task cannot be {action}, invalid state: {self.status}")

    def modify(self, changes: dict[str, Any]) -> None:
        """Take new values.

        :param changes: any of identifier, migration_type, table_mappings, task_settings, cdc_start_position,
            cdc_stop_position, task_data
        """
        self.require_resting("modified")
        if "migration_type" in changes:
            _require_one_of(changes["migration_type"], MIGRATION_TYPES, "migrationType")
            if self.has_run and changes["migration_type"] != self.migration_type:
                raise InvalidResourceStateFault("The migration type of a task that has run cannot be modified")
        if "table_mappings" in changes:
            mappings.checked(changes["table_mappings"])
        document = settings.merged(changes.pop("task_settings", None), over=self.settings)
        if "identifier" in changes:
            self.id = names.identifier(changes.pop("identifier"), "ReplicationTaskIdentifier")
        self.settings = document
        for name, value in changes.items():
            setattr(self, name, value)
        self._pause_as("modifying", MODIFYING_SECONDS)
        self.publish_ahead()

    def begin(self, start_type: str, *, start_position: str | None, stop_position: str | None) -> None:
        """Start a worker; the rules are those of StartReplicationTask in the AWS DMS API reference.

        :raises DmsClientError: when state, history or parameters do not allow it
        """
        self.require_resting("started")
        _require_one_of(start_type, START_TYPES, "startReplicationTaskType")
        self._require_startable(start_type)
        position = start_position or (self.cdc_start_position if start_type == "start-replication" else None)
        self._require_position(position, start_type)
        now = utcnow()
        if start_type != "resume-processing" or self.fresh_start is None:
            self.fresh_start = now
            self.report = {name: value for name, value in self.report.items() if name in ("slot", "publications")}
        self.start_date, self.stop_date = now, None
        self.stop_reason = self.last_failure_message = None
        self.cdc_stop_position = stop_position or self.cdc_stop_position
        self.reloads = []
        self.status = "starting"
        try:
            self.directory.write_spec(self._spec(start_type, position))
        except CannotConnect as error:
            self._fail(f"Last Error {error} Stop Reason FATAL_ERROR Error Level FATAL", "Stop Reason FATAL_ERROR")
            return
        self.worker = Worker(self._command, self.directory.path)

    def publish_ahead(self) -> None:
        """Let a worker make on the source what a slot needs that the endpoint names and somebody makes later.

        Without parallel at AWS, whose DMS reads plugins that need nothing. The task stays `creating` meanwhile.
        """
        if self.migration_type != "cdc" or self.has_run or not self.source.settings.get("SlotName"):
            return
        try:
            self.directory.write_spec(self._spec("start-replication", None))
        except CannotConnect as error:
            print(f"nothing is published for the slot of task {self.id}: {error}", flush=True)
            return
        self._publisher = Worker((*self._command, "--publish"), self.directory.path)

    def _published(self) -> bool:
        """Whether `publish_ahead` is over; what it has made is the task's."""
        if self._publisher is None:
            return True
        if not self._publisher.ended():
            return False
        self._publisher = None
        told = self.directory.status() or {}
        self.report = {name: told[name] for name in ("slot", "publications") if told.get(name)}
        return True

    def _require_startable(self, start_type: str) -> None:
        if start_type == "start-replication":
            if self.has_run and self.migration_type != "cdc":
                raise InvalidResourceStateFault(
                    "Start Type : START_REPLICATION, valid only for tasks running for the first time"
                )
        elif not self.has_run:
            raise InvalidResourceStateFault(
                f"Start Type : {start_type.upper().replace('-', '_')}, valid only for tasks that have run before"
            )
        elif start_type == "reload-target" and self.migration_type == "cdc":
            raise InvalidParameterCombinationException("reload-target is not valid for a task of type cdc")

    def _require_position(self, position: str | None, start_type: str) -> None:
        if position is None:
            return
        if self.migration_type == "full-load" or start_type != "start-replication":
            raise InvalidParameterCombinationException(
                "CdcStartPosition is valid only with start-replication of a task that captures changes"
            )
        if not self.source.settings.get("SlotName"):
            raise InvalidParameterCombinationException(
                "CdcStartPosition needs an existing replication slot, named by SlotName of the source endpoint"
            )

    def _spec(self, start_type: str, position: str | None) -> Document:
        source = self.source.login()
        return {
            "task": self.id,
            "arn": self.arn,
            "resource_id": self.resource_id,
            "migration_type": self.migration_type,
            "start_type": start_type,
            "cdc_start_position": position,
            "cdc_stop_position": self.cdc_stop_position,
            "slot_name": source.settings.get("SlotName"),
            "source": source.as_spec(),
            "target": self.target.login().as_spec(),
            "table_mappings": mappings.checked(self.table_mappings),
            "settings": self.settings,
            "memory_mb": self.instance.memory_mb,
            "storage_mb": self.instance.storage_mb,
        }

    def ask_to_stop(self) -> None:
        """Tell the worker to stop; the task is `stopping` for a second at least, as DMS is slow at it."""
        if self.status != "running":
            raise InvalidResourceStateFault(f"Replication Task cannot be stopped, invalid state: {self.status}")
        self.status, self._due = "stopping", time.monotonic() + STOPPING_SECONDS
        self.directory.command(stop=True, reload=self.reloads)

    def reload(self, tables: list[dict[str, str]], option: str) -> None:
        """Load or validate single tables again while the task runs.

        :param tables: SchemaName and TableName of each
        :param option: data-reload or validate-only
        """
        if self.status != "running":
            raise InvalidResourceStateFault(f"Tables can be reloaded while a task is running, not {self.status}")
        if not 1 <= len(tables) <= MOST_RELOADS:
            raise InvalidParameterValueException(f"1 to {MOST_RELOADS} tables can be reloaded, not {len(tables)}")
        _require_one_of(option, ("data-reload", "validate-only"), "reloadOption")
        if option == "validate-only" and not self.settings["ValidationSettings"]["EnableValidation"]:
            raise InvalidParameterCombinationException("validate-only needs a task with validation enabled")
        known = {(table["schema"], table["table"]) for table in self.report.get("tables", [])}
        for table in tables:
            if (table.get("SchemaName"), table.get("TableName")) not in known:
                raise InvalidParameterValueException(
                    f"Table {table.get('SchemaName')}.{table.get('TableName')} is not a table of this task"
                )
        for table in tables:
            wish = {"schema": table["SchemaName"], "table": table["TableName"], "option": option}
            self.reloads.append({**wish, "id": len(self.reloads) + 1})
        self.directory.command(stop=False, reload=self.reloads)

    def pause_for_assessment(self) -> None:
        """Be `testing` until `end_of_assessment`."""
        self.require_resting("assessed")
        self._pause_as("testing", float("inf"))

    def end_of_assessment(self) -> None:
        """Return to the state before the assessment."""
        if self.status == "testing":
            self.status = self._rest

    def begin_to_delete(self) -> None:
        """Accept no more; the backend removes it once its slot is dropped."""
        if self.status in ACTIVE or self.status in ("deleting", "testing"):
            raise InvalidResourceStateFault(f"Replication Task cannot be deleted, invalid state: {self.status}")
        self.status = "deleting"

    def remove_files(self) -> None:
        """Forget the directory, with the passwords in it."""
        shutil.rmtree(self.directory.path, ignore_errors=True)

    def advance(self) -> None:
        """Take the next state that time or the worker brings; called by the supervisor."""
        if self.status in ("creating", "modifying") and time.monotonic() >= self._due and self._published():
            self.status = self._rest
        if self.worker is None:
            return
        over = self.worker.ended()  # asked before the status is read: what is read then is final
        said = self._read_report()
        if over:
            self._take_end(said)
        elif said in FINAL:
            self.worker.must_end()
        elif self.status != "stopping" and said in ("starting", "running"):
            self.status = str(said)

    def _read_report(self) -> str | None:
        """The state that the worker tells, None before its first word; what it does not tell yet stays as it was."""
        if (told := self.directory.status()) is None:
            return None
        kept = {name: self.report[name] for name in _KEPT if self.report.get(name) and not told.get(name)}
        self.report = {**told, **kept}
        return str(told.get("state"))

    def _take_end(self, said: str | None) -> None:
        if self.status == "stopping" and time.monotonic() < self._due:
            return
        code = self.worker.exit_code() if self.worker else None
        self.worker, self.stop_date = None, utcnow()
        if said in FINAL:
            self.status = str(said)
            self.stop_reason = self.report.get("stop_reason")
            self.last_failure_message = self.report.get("last_failure_message")
        else:
            self._fail(
                f"Last Error The task process ended unexpectedly (exit code {code}). "
                "Stop Reason RECOVERABLE_ERROR Error Level RECOVERABLE",
                "Stop Reason RECOVERABLE_ERROR",
            )

    def _fail(self, message: str, reason: str) -> None:
        self.status, self.stop_date = "failed", utcnow()
        self.last_failure_message, self.stop_reason = message, reason

    def kill_worker(self) -> bool:
        """SIGKILL the worker's group; whether there was one. The supervisor finds it dead."""
        if self.worker is None:
            return False
        self.worker.kill()
        return True

    def _pause_as(self, status: str, seconds: float) -> None:
        self._rest, self.status, self._due = self.status, status, time.monotonic() + seconds


def _require_one_of(value: str, allowed: tuple[str, ...], parameter: str) -> None:
    if value not in allowed:
        raise ValidationException(
            f"1 validation error detected: Value '{value}' at '{parameter}' failed to satisfy constraint: "
            f"Member must satisfy enum value set: [{', '.join(allowed)}]"
        )
