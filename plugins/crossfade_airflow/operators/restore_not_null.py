"""Columns of the target made NOT NULL again when AWS DMS has written its last change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.journal import Journal
from crossfade.routers.base import Side
from crossfade.schema.not_null import restore_not_null
from crossfade_airflow.operators.migration import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class RestoreNotNullOperator(MigrationOperator):
    """
    Make every column NOT NULL again that `DropNotNullOperator` entered in the ledger, without a long lock.

    Returns how many. Runs also when the target serves applications: it writes no row, and keeps nobody from writing
    while rows are read. Not while DMS still applies changes with large objects: it would be refused its NULLs.
    """

    def execute(self, context: Context) -> int:
        migration = self.migration()
        with migration.session(Side.TARGET, "not_null") as conn:
            record = Journal(conn).get(migration.plan.name)
            return restore_not_null(conn, record.id, self.log.info)
