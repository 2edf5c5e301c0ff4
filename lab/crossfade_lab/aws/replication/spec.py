"""What a task is asked to do: the document `spec.json`, typed where the worker relies on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossfade_lab.aws.replication.failures import TaskFailed


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """One side of a task: where it is, and its endpoint settings under the API's names."""

    host: str
    port: int
    dbname: str
    user: str
    password: str
    sslmode: str
    settings: Mapping[str, Any]

    def flag(self, name: str, default: bool) -> bool:
        """A setting that DMS takes as true/false, Y/N or 1/0."""
        value = self.settings.get(name)
        return default if value is None else str(value).lower() in ("true", "y", "yes", "1")

    def seconds(self, name: str, default: int) -> int:
        """A setting that counts seconds."""
        return int(self.settings.get(name) or default)


@dataclass(frozen=True, kw_only=True, slots=True)
class Spec:
    """One start of a task."""

    task: str
    resource_id: str
    migration_type: str  #: full-load, cdc, full-load-and-cdc
    start_type: str  #: start-replication, resume-processing, reload-target
    cdc_start_position: str | None
    cdc_stop_position: str | None
    source: Endpoint
    target: Endpoint
    rules: tuple[Mapping[str, Any], ...]
    settings: Mapping[str, Any]
    storage_mb: int
    slot_name: str | None = None

    @property
    def loads(self) -> bool:
        return self.migration_type != "cdc"

    @property
    def streams(self) -> bool:
        return self.migration_type != "full-load"

    def section(self, name: str) -> Mapping[str, Any]:
        """A section of the task settings; empty where it is null."""
        return self.settings.get(name) or {}


def read_spec(directory: Path) -> Spec:
    """The specification in a task directory.

    :raises TaskFailed: it is missing or incomplete
    """
    try:
        given = json.loads((directory / "spec.json").read_text())
        return Spec(
            task=given["task"],
            resource_id=given["resource_id"],
            migration_type=given["migration_type"],
            start_type=given["start_type"],
            cdc_start_position=given.get("cdc_start_position"),
            cdc_stop_position=given.get("cdc_stop_position"),
            source=_endpoint(given["source"]),
            target=_endpoint(given["target"]),
            rules=tuple(given["table_mappings"]["rules"]),
            settings=given["settings"],
            storage_mb=int(given.get("storage_mb", 51200)),
            slot_name=given.get("slot_name"),
        )
    except (OSError, KeyError, ValueError) as error:
        raise TaskFailed(f"{directory / 'spec.json'} cannot be used: {type(error).__name__}: {error}") from error


def _endpoint(given: Mapping[str, Any]) -> Endpoint:
    return Endpoint(
        host=given["host"],
        port=int(given["port"]),
        dbname=given["dbname"],
        user=given["user"],
        password=given["password"],
        sslmode=given.get("sslmode", "prefer"),
        settings=given.get("settings") or {},
    )
