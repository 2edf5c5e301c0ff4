"""The task `check_lobs`: have large objects outgrown their limits?"""

from __future__ import annotations

from crossfade.engines.dms import phases
from crossfade.migration import Migration
from crossfade_airflow.operators.dms_phase import DmsPhaseOperator


class CheckLobsOperator(DmsPhaseOperator):
    """Measure the large objects again: one that AWS DMS has cut, or would cut, fails the task, named by its column."""

    def carry_out(self, migration: Migration) -> None:
        phases.check_lobs(migration)
        self.log.info("every large object is within its limit")
