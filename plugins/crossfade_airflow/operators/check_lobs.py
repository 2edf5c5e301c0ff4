"""The task `check_lobs`: have large objects outgrown their limits?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.engines.dms import phases
from crossfade_airflow.operators.migration import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class CheckLobsOperator(MigrationOperator):
    """Measure the large objects again: one that AWS DMS has cut, or would cut, fails the task, named by its column."""

    def execute(self, context: Context) -> None:
        phases.check_lobs(self.migration())
        self.log.info("every large object is within its limit")
