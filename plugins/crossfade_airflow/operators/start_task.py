"""The task `start_task`: the full load begins, or goes on."""

from __future__ import annotations

from typing import Any

from crossfade.engines.dms import phases
from crossfade.migration import Migration
from crossfade_airflow.operators.dms_phase import DmsPhaseOperator


class StartTaskOperator(DmsPhaseOperator):
    """
    Start the plan's replication task, or let it go on where it stopped: what is loaded is never loaded again.

    Returns without waiting for it; returns the state that it found. It stands where the amazon provider's
    `DmsStartTaskOperator` could not: that one has to be told whether to start, to resume or to load again.
    """

    def carry_out(self, migration: Migration) -> dict[str, Any]:
        task = phases.start_task(migration)
        return {"task": task.identifier, "found": task.status, "percent": task.percent}

    def done_before(self, slots: list[str]) -> dict[str, Any]:
        return {}
