"""Wait until a replication task of AWS DMS has loaded every table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.engines.dms import phases, reloading
from crossfade.migration import Migration
from crossfade_airflow.sensors.dms_task import DmsTaskSensor
from crossfade_airflow.triggers.dms_full_load import DmsFullLoadTrigger
from crossfade_airflow.triggers.sampling import Outcome

if TYPE_CHECKING:
    from airflow.sdk import Context


class DmsFullLoadSensor(DmsTaskSensor):
    """
    Wait until the task has stopped at its consistent point: all tables loaded, changes made meanwhile applied.

    That is what FullLoadSettings.StopTaskCachedChangesApplied makes it do. Fails at once where the task fails, or goes
    on without tables that are in error or suspended: they are named. The log shows how far every table is. With a plan,
    the journal is told what was loaded, and a task that is past that point and streams need not stop again.
    """

    def go_on(self, migration: Migration) -> None:
        phases.start_task(migration)

    def execute_complete(self, context: Context, event: Outcome) -> dict[str, float]:
        figures = super().execute_complete(context, event)
        if migration := self.migration():
            for table, rows in phases.load_finished(migration).items():
                self.log.info("%s: %s rows", table, f"{rows:,}")
        return figures

    def trigger(self, *, deadline: float) -> DmsFullLoadTrigger:
        return DmsFullLoadTrigger(loaded_before=self._loaded_before(), **self.sampling(deadline))

    def _loaded_before(self) -> bool:
        """Whether the plan's journal was told of the end of the load, as in a second run of its DAG."""
        if (migration := self.migration()) is None:
            return False
        with migration.journal() as journal:
            return journal.marked(journal.get(migration.plan.name).id, reloading.LOADED)
