"""The task `rehearse`: the cutover, dry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crossfade.cutover.rehearsal import rehearse
from crossfade_airflow.operators.hook_dag import unusable_dags
from crossfade_airflow.operators.migration import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class RehearseOperator(MigrationOperator):
    """
    Go through the cutover: what would block it now, whether the way back works, how long clients would be held.

    Where nothing blocks they are held once, for as long as the transactions under way take, and let go at once.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        migration = self.migration()
        rehearsal = rehearse(migration)
        blockers = [*rehearsal.blockers, *unusable_dags(migration.plan, context)]
        for blocker in blockers:
            self.log.warning("would block the cutover now: %s", blocker)
        return {
            "predicted_ms": rehearsal.predicted_ms,
            "drain_ms": rehearsal.drain_ms,
            "back_ms": rehearsal.back_ms,
            "held_ms": rehearsal.held_ms,
            "blockers": blockers,
        }
