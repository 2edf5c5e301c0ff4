"""Columns of the target made nullable for as long as AWS DMS may write NULL into them first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crossfade.engines.dms import phases
from crossfade.journal import Journal
from crossfade.migration import Migration
from crossfade.routers.base import Side
from crossfade.schema.not_null import drop_not_null
from crossfade_airflow.operators.dms_phase import DmsPhaseOperator
from crossfade_airflow.operators.identifiers import column


class DropNotNullOperator(DmsPhaseOperator):
    """
    Drop NOT NULL on exactly the columns of the target that need it, each entered in the journal's ledger first.

    Returns how many were NOT NULL. Refused when the target is no longer ours to write to; safe to run again.
    `RestoreNotNullOperator` undoes it.

    :param plan: name of the plan: its file's name without the ending
    :param target_conn_id: connection to the plan's target, whose journal holds the plan and the ledger
    :param columns: each as a list of schema, table and column, as stored in the catalog, not quoted. Default: the
        columns of the plan's tables that are large objects to DMS
    """

    template_fields: Sequence[str] = (*DmsPhaseOperator.template_fields, "columns")

    def __init__(self, *, columns: Sequence[Sequence[str]] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.columns = columns

    def check_parameters(self) -> None:
        self._names()

    def _names(self) -> list[tuple[str, str, str]]:
        return [column(given) for given in self.columns or ()]

    def carry_out(self, migration: Migration) -> int:
        if self.columns is None:
            return phases.drop_not_null(migration)
        columns = self._names()
        with migration.session(Side.TARGET, "not_null") as conn:
            record = Journal(conn).writable(migration.plan.name, self.task_id)
            return drop_not_null(conn, record.id, columns, self.log.info)

    def done_before(self, slots: list[str]) -> int:
        return 0
