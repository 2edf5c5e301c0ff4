"""What a worker tells the outside: `status.json`, `checkpoint.json` and `log.txt` in its task directory."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crossfade_lab.aws.replication.catalog import Table

Key = tuple[str, str]  #: schema, table
EVERY_SECONDS = 0.4

_COUNTERS = (
    "inserts", "updates", "deletes", "ddls", "applied_inserts", "applied_updates", "applied_deletes", "applied_ddls",
    "full_load_rows", "full_load_error_rows", "full_load_condtnl_chk_failed_rows", "validation_pending",
    "validation_failed", "validation_suspended",
)  # fmt: skip
_METRICS = (
    "CDCLatencySource", "CDCLatencyTarget", "CDCIncomingChanges", "CDCChangesMemorySource", "CDCChangesDiskSource",
    "CDCChangesMemoryTarget", "CDCChangesDiskTarget", "CDCThroughputRowsSource", "CDCThroughputRowsTarget",
    "FullLoadThroughputRowsTarget", "FullLoadThroughputBandwidthTarget", "ValidationFailedOverallCount",
    "ValidationSuspendedOverallCount", "ValidationPendingOverallCount", "FreeStorageSpace",
)  # fmt: skip


def now() -> str:
    """The time as all files have it: ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def replace_json(path: Path, document: Any) -> None:
    """Write a file so that a reader sees the old or the new one, whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    temporary.write_text(json.dumps(document))
    temporary.replace(path)


class Board:
    """The state of the task, shared by the worker's threads and published by one of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lock = threading.RLock()
        self.tables: dict[Key, dict[str, Any]] = {}
        self.status: dict[str, Any] = {
            "state": "starting", "pid": os.getpid(), "stop_reason": None, "last_failure_message": None,
            "full_load_percent": 0, "full_load_started": None, "full_load_finished": None,
            "recovery_checkpoint": None, "slot": None, "publications": [],
        }  # fmt: skip
        self.metrics: dict[str, float] = dict.fromkeys(_METRICS, 0)
        self.loaded_bytes = 0
        self.measure: Callable[[], None] | None = None  #: sets metrics, called before each publication
        self._rates = (time.monotonic(), 0, 0, 0, 0)
        self._log = (directory / "log.txt").open("a", buffering=1)
        self._over = threading.Event()
        self._publisher = threading.Thread(target=self._publish_for_ever, name="status", daemon=True)

    def start(self) -> None:
        """Publish from now on, several times a second."""
        self._publisher.start()

    def finish(self, state: str, reason: str, message: str | None) -> None:
        """The last word: the final state, and nothing after it."""
        self._over.set()
        self._publisher.join()
        self.set(state=state, stop_reason=f"Stop Reason {reason}", last_failure_message=message)
        self.publish()

    def set(self, **values: Any) -> None:
        """Change fields of the status; a change of state is published at once."""
        with self.lock:
            self.status.update(values)
        if "state" in values:
            self.publish()

    def enter(self, tables: Iterable[Table], known: dict[Key, dict[str, Any]]) -> None:
        """Enter the tables of the task, with what a checkpoint knows of them."""
        with self.lock:
            for table in tables:
                key = (table.schema, table.name)
                fresh = {
                    "schema": table.schema, "table": table.name, "state": "Before load", **dict.fromkeys(_COUNTERS, 0),
                    "full_load_start": None, "full_load_end": None, "full_load_reloaded": False, "last_update": None,
                    "validation_state": "Not enabled", "validation_details": None, "suspended": False,
                }  # fmt: skip
                self.tables[key] = fresh | known.get(key, {})

    def table(self, table: Table, **values: Any) -> None:
        """Change fields of a table; a change of its state is published at once."""
        with self.lock:
            self.tables[table.schema, table.name].update(values, last_update=now())
            if "state" in values:
                self.publish()

    def state_of(self, table: Table) -> str:
        """The state of a table."""
        return str(self.tables[table.schema, table.name]["state"])

    def count(self, table: Table, **amounts: int) -> None:
        """Add to counters of a table."""
        with self.lock:
            entry = self.tables[table.schema, table.name]
            for name, amount in amounts.items():
                entry[name] += amount
            entry["last_update"] = now()

    def log(self, component: str, level: str, message: str) -> None:
        """A line of the task's log; level is I, W or E."""
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
        self._log.write(f"{stamp} [{component:<15}]{level}: {' '.join(message.split())}\n")

    def publish(self) -> None:
        """Write status.json."""
        if self.measure is not None:
            self.measure()
        with self.lock:
            tables = [dict(entry) for entry in self.tables.values()]
            self._add_up(tables)
            document = {**self.status, "tables": tables, "metrics": dict(self.metrics)}
            replace_json(self.directory / "status.json", document)

    def _add_up(self, tables: list[dict[str, Any]]) -> None:
        before, *counts = self._rates
        passed = time.monotonic() - before
        captured, applied, rows = (
            sum(entry[name] for entry in tables for name in names)
            for names in (
                ("inserts", "updates", "deletes"),
                ("applied_inserts", "applied_updates", "applied_deletes"),
                ("full_load_rows",),
            )
        )
        if passed >= 1:
            current = (captured, applied, rows, self.loaded_bytes)
            rates = [max(0, round((a - b) / passed)) for a, b in zip(current, counts, strict=True)]
            self._rates = (time.monotonic(), *current)
            self.metrics["CDCThroughputRowsSource"], self.metrics["CDCThroughputRowsTarget"] = rates[:2]
            self.metrics["FullLoadThroughputRowsTarget"] = rates[2]
            self.metrics["FullLoadThroughputBandwidthTarget"] = rates[3] // 1024  # kB/s
        for metric, name in (("Failed", "failed"), ("Suspended", "suspended"), ("Pending", "pending")):
            self.metrics[f"Validation{metric}OverallCount"] = sum(e[f"validation_{name}"] for e in tables)

    def _publish_for_ever(self) -> None:
        while not self._over.wait(EVERY_SECONDS):
            self.publish()


class Checkpoint:
    """The worker's memory across starts. It is written after each commit on the target."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "checkpoint.json"
        try:
            self.known: dict[str, Any] = json.loads(self._path.read_text())
        except FileNotFoundError:
            self.known = {}
        self.known.setdefault("tables", {})
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Begin anew; which slot was made is kept until another takes its place."""
        self.known = {"tables": {}, "slot": self.known.get("slot"), "own_slot": self.known.get("own_slot")}
        self.save()

    def save(self, board: Board | None = None, **values: Any) -> None:
        """Remember values and, with a board, the tables' entries."""
        with self._lock:
            self.known.update(values)
            if board is not None:
                with board.lock:
                    entries = {json.dumps(key): dict(entry) for key, entry in board.tables.items()}
                for key, entry in entries.items():
                    self.known["tables"].setdefault(key, {}).update(entry)
            replace_json(self._path, self.known)

    def note(self, table: Table, **values: Any) -> None:
        """Remember something about one table that the status does not show."""
        with self._lock:
            self.known["tables"].setdefault(json.dumps([table.schema, table.name]), {}).update(values)
            replace_json(self._path, self.known)

    def of(self, table: Table) -> dict[str, Any]:
        """What is remembered about one table."""
        return dict(self.known["tables"].get(json.dumps([table.schema, table.name]), {}))
