"""What others ask of a running worker: commands of the API plane, and faults that a test injects."""

from __future__ import annotations

import json
import signal
import threading
import time
from pathlib import Path
from typing import Any

from crossfade_lab.aws.replication.failures import StopRequested, TaskFailed

EVERY_SECONDS = 0.2


class Orders:
    """`command.json` and `faults.json`, read several times a second."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._signalled = threading.Event()
        self._read_at = 0.0
        self._command: dict[str, Any] = {}
        self._faults: dict[str, Any] = {}
        self._done: set[int] = set()
        self._lock = threading.Lock()

    def listen(self) -> None:
        """Take SIGTERM for a request to stop. To be called in the main thread."""
        signal.signal(signal.SIGTERM, lambda *_: self._signalled.set())

    def check(self) -> None:
        """Raise `StopRequested` or, for an injected failure, `TaskFailed`."""
        faults = self.faults
        if faults.get("storage_full"):
            raise TaskFailed(
                "The replication instance is out of storage: no space left on device while writing sorter files. "
                "Allocate more storage to the instance, then resume the task",
                "FATAL_ERROR",
            )
        if message := faults.get("fail"):
            raise TaskFailed(str(message), str(faults.get("reason", "RECOVERABLE_ERROR")))
        if self.stopping:
            raise StopRequested

    @property
    def stopping(self) -> bool:
        self._refresh()
        return self._signalled.is_set() or bool(self._command.get("stop"))

    @property
    def faults(self) -> dict[str, Any]:
        self._refresh()
        return self._faults

    @property
    def stalled(self) -> bool:
        """Whether the task is to hold what it has and do nothing."""
        return bool(self.faults.get("stall"))

    def reloads(self) -> list[dict[str, Any]]:
        """Requests to reload that were not handed out before."""
        self._refresh()
        with self._lock:
            fresh = [request for request in self._command.get("reload") or [] if request["id"] not in self._done]
            self._done.update(request["id"] for request in fresh)
            return fresh

    def _refresh(self) -> None:
        with self._lock:
            if time.monotonic() - self._read_at < EVERY_SECONDS:
                return
            self._read_at = time.monotonic()
            self._command = _read(self._directory / "command.json")
            self._faults = _read(self._directory / "faults.json")


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is none."""
    try:
        return dict(json.loads(path.read_text() or "{}"))
    except FileNotFoundError:
        return {}
