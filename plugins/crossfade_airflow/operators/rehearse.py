"""The task `rehearse`: the cutover, dry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crossfade.cutover.rehearsal import rehearse
from crossfade_airflow.operators.migration import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class RehearseOperator(MigrationOperator):
    """Go through the cutover without its effects: what would block it now, and how long it would hold clients."""

    def execute(self, context: Context) -> dict[str, Any]:
        rehearsal = rehearse(self.migration())
        for blocker in rehearsal.blockers:
            self.log.warning("would block the cutover now: %s", blocker)
        return {
            "predicted_ms": rehearsal.predicted_ms,
            "drain_ms": rehearsal.drain_ms,
            "blockers": list(rehearsal.blockers),
        }
