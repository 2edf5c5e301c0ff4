"""The task `reconcile`: is the move complete, now that the target serves?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.validation.run import reconcile
from crossfade_airflow.operators.migration import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ReconcileOperator(MigrationOperator):
    """Compare definitions and sequences once more and look where clients are led. Returns what was confirmed."""

    def execute(self, context: Context) -> list[str]:
        confirmed = reconcile(self.migration())
        for line in confirmed:
            self.log.info("%s", line)
        return confirmed
