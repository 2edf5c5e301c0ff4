"""The task `harden`: what the target's schema still lacks once the rows are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade import phases
from crossfade_airflow.operators.migration import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class HardenOperator(MigrationOperator):
    """Create the remaining constraints and triggers on the target, and gather its statistics."""

    def execute(self, context: Context) -> None:
        phases.harden(self.migration())
