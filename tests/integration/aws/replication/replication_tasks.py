"""Tasks of the data plane without the API: a task directory, a worker process, and a small database on each side."""

import json
import multiprocessing
import multiprocessing.process
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from crossfade_lab.aws.dms.settings import default_settings
from crossfade_lab.aws.replication.slots import release
from crossfade_lab.aws.replication.task import run
from crossfade_lab.postgres import PostgresServer
from crossfade_lab.testing import cluster_pair, scratch_directory

REPLICA = {"AfterConnectScript": "SET session_replication_role='replica'"}
DATABASE = "quirks"
_numbers = count(1)


class Task:
    """A replication task between the databases of one name on two servers."""

    def __init__(self, directory: Path, source: PostgresServer, target: PostgresServer, dbname: str) -> None:
        self.directory, self.dbname = directory, dbname
        self._servers = {"source": source, "target": target}
        self.process: multiprocessing.process.BaseProcess | None = None
        self.spec: dict[str, Any] = {}

    def configure(
        self,
        *tables: str,
        migration_type: str = "full-load-and-cdc",
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        source: Mapping[str, Any] | None = None,
        target: Mapping[str, Any] | None = None,
        rules: list[Mapping[str, Any]] | None = None,
    ) -> None:
        """Fill in the specification: DMS's defaults but two, and what the test gives in their place."""
        document = default_settings()
        document["FullLoadSettings"]["TargetTablePrepMode"] = "DO_NOTHING"
        document["ChangeProcessingTuning"]["MinTransactionSize"] = 1  # every transaction at once
        for section, values in (settings or {}).items():
            document[section].update(values)
        selections = [selection(number, table) for number, table in enumerate(tables or ("%",), 1)]
        self.spec = {
            "task": "test", "arn": "arn:aws:dms:eu-west-1:1:task:TEST", "resource_id": "TESTTASK",
            "migration_type": migration_type, "cdc_start_position": None, "cdc_stop_position": None, "slot_name": None,
            "source": self._endpoint("source", source or {}), "target": self._endpoint("target", target or {}),
            "table_mappings": {"rules": [*selections, *(rules or [])]}, "settings": document,
            "memory_mb": 2048, "storage_mb": 1024,
        }  # fmt: skip

    def _endpoint(self, side: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        server = self._servers[side]
        return {
            "host": server.host, "port": server.port, "dbname": self.dbname, "user": "postgres",
            "password": server.password, "sslmode": "prefer", "settings": dict(settings),
        }  # fmt: skip

    def start(self, start_type: str = "start-replication") -> "Task":
        """Start a worker."""
        (self.directory / "status.json").unlink(missing_ok=True)
        self.put("command.json", {})
        self.put("spec.json", {**self.spec, "start_type": start_type})
        # forked, since imports are most of what a short run costs; one test starts the command itself
        self.process = multiprocessing.get_context("fork").Process(target=_work, args=[self.directory])
        self.process.start()
        return self

    def put(self, name: str, document: Any) -> None:
        """Put one JSON file in place."""
        temporary = self.directory / f"{name}.new"
        temporary.write_text(json.dumps(document))
        temporary.replace(self.directory / name)

    def faults(self, **faults: Any) -> None:
        """Inject faults; none end them."""
        self.put("faults.json", faults)

    def reload(self, table: str, option: str = "data-reload") -> None:
        """Ask for a table of schema public to be reloaded."""
        request = {"schema": "public", "table": table, "option": option, "id": next(_numbers)}
        self.put("command.json", {"stop": False, "reload": [request]})

    @property
    def status(self) -> dict[str, Any]:
        """What the worker said last."""
        try:
            return dict(json.loads((self.directory / "status.json").read_text()))
        except FileNotFoundError:
            return {"state": None, "tables": []}

    def table(self, name: str) -> dict[str, Any]:
        """The entry of one table in the status."""
        return next((dict(entry) for entry in self.status["tables"] if entry["table"] == name), {"state": None})

    @property
    def log(self) -> str:
        log = self.directory / "log.txt"
        return log.read_text() if log.exists() else ""

    def wait(self, condition: Callable[[], Any], *, seconds: float = 120) -> Any:
        """What a condition says once it is true; an error, with the task's log, when it takes too long."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, f"timed out\n{json.dumps(self.status, indent=1)}\n{self.said()}"
            time.sleep(0.03)
        return found

    def said(self) -> str:
        """The log of the task and what the worker printed."""
        return self.log + (self.directory / "worker.out").read_text()

    def wait_for_state(self, *states: str) -> dict[str, Any]:
        """The status once the task is in one of these states; a final state includes the end of the process."""
        self.wait(lambda: self.status["state"] in states)
        if self.process is not None and set(states) <= {"stopped", "failed"}:
            self.process.join(60)
        return self.status

    def wait_for_table(self, name: str, state: str = "Table completed") -> dict[str, Any]:
        """The entry of a table once it is in this state."""
        self.wait(lambda: self.table(name)["state"] == state)
        return self.table(name)

    def wait_for_stream(self) -> None:
        """Wait until full load and cached changes are done."""
        self.wait(lambda: self.checkpoint.get("phase") == "cdc")

    @property
    def checkpoint(self) -> dict[str, Any]:
        """What the worker remembers across starts."""
        try:
            return dict(json.loads((self.directory / "checkpoint.json").read_text()))
        except FileNotFoundError:
            return {}

    def stop(self) -> dict[str, Any]:
        """Stop the worker as StopReplicationTask does."""
        self.put("command.json", {"stop": True, "reload": []})
        return self.wait_for_state("stopped", "failed")

    def kill(self) -> None:
        """SIGKILL the worker."""
        assert self.process is not None
        self.process.kill()
        self.process.join()

    def end(self) -> None:
        """End the worker and drop its slot, whatever the test left."""
        if self.process is not None:
            self.kill()
        if (self.directory / "checkpoint.json").exists():
            release(self.directory)

    def execute(self, side: str, statement: str) -> list[tuple[Any, ...]]:
        """Run SQL as the superuser on one side; its rows."""
        with self._servers[side].connect(self.dbname) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def both(self, statement: str) -> None:
        """Run SQL on both sides."""
        for side in ("source", "target"):
            self.execute(side, statement)

    def connect(self, side: str) -> psycopg.Connection[tuple[Any, ...]]:
        """A session of the superuser."""
        return self._servers[side].connect(self.dbname)

    def arrives(self, query: str, *, like: str | None = None) -> list[tuple[Any, ...]]:
        """Wait until a query says the same on both sides (or what another query says on the source)."""
        wanted = self.execute("source", like or query)
        self.wait(lambda: self.execute("target", query) == wanted)
        return wanted


def _work(directory: Path) -> None:
    """The worker, in a process of its own; what it prints goes to a file."""
    output = os.open(directory / "worker.out", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    run(directory)


def selection(number: int, table: str, action: str = "include", **extra: Any) -> dict[str, Any]:
    """A selection rule for a table of schema public, or of the schema that it names."""
    schema, _, name = table.rpartition(".")
    return {
        "rule-type": "selection", "rule-id": str(number), "rule-name": str(number), "rule-action": action,
        "object-locator": {"schema-name": schema or "public", "table-name": name}, **extra,
    }  # fmt: skip


def settings_of(number: int, table: str, **extra: Any) -> dict[str, Any]:
    """A table-settings rule for a table of schema public."""
    return {
        "rule-type": "table-settings", "rule-id": str(number), "rule-name": str(number),
        "object-locator": {"schema-name": "public", "table-name": table}, **extra,
    }  # fmt: skip


@contextmanager
def servers() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """A pair of servers for the tests of one session."""
    with cluster_pair() as pair:
        yield pair


@contextmanager
def task_between(source: PostgresServer, target: PostgresServer) -> Iterator[Task]:
    """A task between two empty databases, and nothing left of it on the source afterwards."""
    for server in (source, target):
        _empty_database(server)
    with scratch_directory() as directory:
        task = Task(directory, source, target, DATABASE)
        task.configure()
        try:
            yield task
        finally:
            task.end()


def _empty_database(server: PostgresServer) -> None:
    """Empty the database that all tests use in turn, and drop its slots: quicker than a fresh one for each."""
    with server.connect() as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            connection.execute(f"CREATE DATABASE {DATABASE}".encode())
        sessions = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = %s"
        connection.execute(sessions, [DATABASE])
        slots = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s"
        connection.execute(slots, [DATABASE])
    with server.connect(DATABASE) as connection:
        schemas = "SELECT nspname::text FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
        for (schema,) in connection.execute(schemas).fetchall():
            connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())
        for (publication,) in connection.execute("SELECT pubname::text FROM pg_publication").fetchall():
            connection.execute(f"DROP PUBLICATION {publication}".encode())
        connection.execute("CREATE SCHEMA public")
