"""The task `provision`: what AWS DMS needs before it can be given a task."""

from __future__ import annotations

from crossfade.engines.dms import phases
from crossfade.migration import Migration
from crossfade_airflow.operators.dms_phase import DmsPhaseOperator


class ProvisionOperator(DmsPhaseOperator):
    """
    Check or make the plan's replication instance and endpoints, and test both connections; safe to run again.

    Returns their ARNs and the name of the replication task to come.
    """

    def carry_out(self, migration: Migration) -> dict[str, str]:
        provisioned = phases.provision(migration)
        return {
            "instance_arn": provisioned.instance_arn,
            "source_arn": provisioned.source_arn,
            "target_arn": provisioned.target_arn,
            "task": provisioned.task,
        }

    def done_before(self, slots: list[str]) -> dict[str, str]:
        return {}
