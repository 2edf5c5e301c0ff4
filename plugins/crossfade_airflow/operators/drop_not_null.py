"""Columns of the target made nullable for as long as AWS DMS may write NULL into them first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from crossfade.errors import PreconditionError
from crossfade.journal import Journal
from crossfade.routers.base import Side
from crossfade.schema.not_null import Column, drop_not_null
from crossfade_airflow.operators.migration import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class DropNotNullOperator(MigrationOperator):
    """
    Drop NOT NULL on exactly the given columns of the target, each entered in the journal's ledger first.

    Returns how many were NOT NULL. Refused when the target is no longer ours to write to; safe to run again.
    `RestoreNotNullOperator` undoes it.

    :param plan: name of the plan: its file's name without the ending
    :param target_conn_id: connection to the plan's target, whose journal holds the plan and the ledger
    :param columns: each as a list of schema, table and column, as stored in the catalog, not quoted
    """

    template_fields: Sequence[str] = (*MigrationOperator.template_fields, "columns")

    def __init__(self, *, columns: Sequence[Sequence[str]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.columns = columns

    def execute(self, context: Context) -> int:
        columns = [_column(given) for given in self.columns]
        migration = self.migration()
        with migration.session(Side.TARGET, "not_null") as conn:
            record = Journal(conn).writable(migration.plan.name, self.task_id)
            return drop_not_null(conn, record.id, columns, self.log.info)


def _column(given: Sequence[str]) -> Column:
    """Raises `PreconditionError` where it is not schema, table and column."""
    if isinstance(given, str) or len(given) != 3 or not all(isinstance(part, str) and part for part in given):
        raise PreconditionError(
            f"{given!r} is not a column. Give each as a list of three: schema, table, column, "
            'for example ["public", "orders", "note"]. Nothing was changed'
        )
    schema, table, column = given
    return schema, table, column
