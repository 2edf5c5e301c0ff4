"""A worker that moves no rows and obeys the files of its task directory: `python fake_worker.py <task directory>`.

For tests of the API plane alone. A full load ends at once; other tasks run until they are stopped. It makes a
replication slot where it has to capture changes.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import psycopg2


class FakeWorker:
    """One run of one task."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.spec: dict[str, Any] = json.loads((directory / "spec.json").read_text())
        locators = [rule["object-locator"] for rule in self.spec["table_mappings"]["rules"]]
        names = sorted({(locator["schema-name"], locator["table-name"]) for locator in locators})
        self.tables = [{"schema": schema, "table": name, "state": "Before load"} for schema, name in names]
        self.slot: str | None = None
        self.done: set[int] = set()
        self.stopping = False
        self.changed = True

    def run(self) -> None:
        """Until there is a reason to end."""
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "stopping", True))
        self.say("starting")
        if self.read("faults.json").get("die_at_once"):
            os.kill(os.getpid(), signal.SIGKILL)
        self.log("[TASK_MANAGER ]I: started")
        if self.spec["migration_type"] != "full-load":
            self.make_slot()
        for table in self.tables:
            table.update(state="Table completed", full_load_rows=7)
        if self.spec["migration_type"] == "full-load":
            self.say("stopped", stop_reason="Stop Reason FULL_LOAD_ONLY_FINISHED")
            return
        said = 0.0
        while not self.stopping:
            if message := self.read("faults.json").get("fail"):
                self.say("failed", stop_reason="Stop Reason FATAL_ERROR", last_failure_message=message)
                return
            if time.monotonic() - said > 0.5 or self.changed:
                self.say("running")
                said, self.changed = time.monotonic(), False
            command = self.read("command.json")
            self.stopping = self.stopping or bool(command.get("stop"))
            self.reload(command.get("reload", []))
            time.sleep(0.05)
        self.say("stopping")
        time.sleep(self.read("faults.json").get("slow_stop_seconds", 0))
        self.say("stopped", stop_reason="Stop Reason NORMAL")

    def make_slot(self) -> None:
        """The slot that the task reads from, unless one is named."""
        source = self.spec["source"]
        self.slot = self.spec["slot_name"] or f"fake_{self.spec['resource_id'].lower()}"
        login = {name: source[name] for name in ("host", "port", "dbname", "user", "password")}
        connection = psycopg2.connect(**login)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM pg_replication_slots WHERE slot_name = %s", [self.slot])
            if cursor.rowcount == 0:
                cursor.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [self.slot])
        connection.close()

    def reload(self, wishes: list[dict[str, Any]]) -> None:
        """Each wish once."""
        for wish in wishes:
            if wish["id"] not in self.done:
                self.done.add(wish["id"])
                self.changed = True
                self.log(f"[TASK_MANAGER ]I: {wish['option']} {wish['table']}")
                for table in self.tables:
                    if table["table"] == wish["table"]:
                        table["full_load_reloaded"] = True

    def say(self, state: str, **more: Any) -> None:
        """Write the status."""
        status = {
            "state": state,
            "pid": os.getpid(),
            "full_load_percent": 100 if state != "starting" else 0,
            "full_load_started": "2026-01-01T00:00:00",
            "full_load_finished": "2026-01-01T00:00:01",
            "tables": self.tables,
            "metrics": {"CDCLatencySource": 1.5, "CDCLatencyTarget": 2.5, "CDCIncomingChanges": 3},
            "recovery_checkpoint": "checkpoint:V1#0/16B3748",
            "slot": self.slot,
            **more,
        }
        temporary = self.directory / ".status.json"
        temporary.write_text(json.dumps(status))
        temporary.replace(self.directory / "status.json")

    def log(self, line: str) -> None:
        """Append to the task's log."""
        with (self.directory / "log.txt").open("a") as log:
            log.write(f"2026-01-01T00:00:00 {line}\n")

    def read(self, name: str) -> dict[str, Any]:
        """One of the files given to us."""
        try:
            return dict(json.loads((self.directory / name).read_text()))
        except FileNotFoundError:
            return {}


if __name__ == "__main__":
    FakeWorker(Path(sys.argv[1])).run()
