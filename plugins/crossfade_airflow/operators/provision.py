"""The task `provision`: what AWS DMS needs before it can be given a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.engines.dms import phases
from crossfade_airflow.operators.migration import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ProvisionOperator(MigrationOperator):
    """
    Check or make the plan's replication instance and endpoints, and test both connections; safe to run again.

    Returns their ARNs and the name of the replication task to come.
    """

    def execute(self, context: Context) -> dict[str, str]:
        provisioned = phases.provision(self.migration())
        return {
            "instance_arn": provisioned.instance_arn,
            "source_arn": provisioned.source_arn,
            "target_arn": provisioned.target_arn,
            "task": provisioned.task,
        }
