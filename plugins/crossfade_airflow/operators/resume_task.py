"""The task `resume_task`: after the load, the changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.engines.dms import phases
from crossfade_airflow.operators.migration import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ResumeTaskOperator(MigrationOperator):
    """
    Let the plan's replication task go on with changes, from where it stopped; nothing where it runs.

    Returns the name of its replication slot on the source, for `ReplicationSlotLagSensor`.
    """

    def execute(self, context: Context) -> str:
        slot = phases.resume_task(self.migration())
        self.log.info("the replication task reads from the slot %s", slot)
        return slot
