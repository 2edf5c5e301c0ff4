"""What every phase of AWS DMS shares: after a rollback it finds that there is nothing to do for it."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any

from crossfade.engines.dms.native import NOTHING_TO_DO, native_slots
from crossfade.migration import Migration
from crossfade_airflow.operators.migration import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class DmsPhaseOperator(MigrationOperator):
    """
    One phase of a migration that AWS DMS carries out.

    Since a rollback rows go the way that it has armed: this then succeeds at once, with one line in the log. So the
    DAG of a migration may be run again, and every task before the validation finds its work done.
    """

    def execute(self, context: Context) -> Any:
        self.check_parameters()
        migration = self.migration()
        if slots := native_slots(migration):
            self.log.info(NOTHING_TO_DO)
            return self.done_before(slots)
        return self.carry_out(migration)

    def check_parameters(self) -> None:  # most phases have none of their own
        """Raise `PreconditionError` for parameters that could not be meant, before anything is asked."""

    @abc.abstractmethod
    def carry_out(self, migration: Migration) -> Any:
        """The phase itself; what it returns becomes the XCom."""

    def done_before(self, slots: list[str]) -> Any:
        """What is returned after a rollback. :param slots: of the source, through which rows go now"""
        return None
