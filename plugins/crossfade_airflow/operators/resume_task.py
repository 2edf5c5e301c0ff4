"""The task `resume_task`: after the load, the changes."""

from __future__ import annotations

from crossfade.engines.dms import phases
from crossfade.migration import Migration
from crossfade_airflow.operators.dms_phase import DmsPhaseOperator


class ResumeTaskOperator(DmsPhaseOperator):
    """
    Let the plan's replication task go on with changes, from where it stopped; nothing where it runs.

    Returns the name of its replication slot on the source, for `ReplicationSlotLagSensor`; since a rollback the names
    of the slots through which rows go now.
    """

    def carry_out(self, migration: Migration) -> str:
        slot = phases.resume_task(migration)
        self.log.info("the replication task reads from the slot %s", slot)
        return slot

    def done_before(self, slots: list[str]) -> list[str]:
        return slots
