"""The tasks `start_way_back` and `start_way_forward`: AWS DMS goes the other way, once clients have gone on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.engines.dms.starting import start_armed
from crossfade_airflow.operators.migration import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class StartWayBackOperator(MigrationOperator):
    """
    Start the replication task that the cutover or rollback has armed, at the position of its slot.

    For plans with ``rollback.way_back: dms``. Waits until the task of the other direction has stopped, so that nothing
    is carried in a circle. Returns the identifier of the task that was started, for `WayBackProvedSensor`.
    """

    def execute(self, context: Context) -> str:
        return start_armed(self.migration())
