"""Single tables loaded again by AWS DMS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crossfade.engines.dms import phases
from crossfade.errors import PreconditionError
from crossfade.migration import Migration
from crossfade_airflow.operators.dms_phase import DmsPhaseOperator
from crossfade_airflow.operators.identifiers import table


class ReloadTablesOperator(DmsPhaseOperator):
    """
    Have the plan's replication task load single tables again while it runs: those that are suspended or in error.

    Refused when the target is no longer ours to write to. Returns how many; AWS DMS does it in its own time. Since a
    rollback none are: the task that loads is over, and a table that differs has to be put right by hand.

    :param tables: each as a list of schema and table, as stored in the catalog, not quoted
    """

    template_fields: Sequence[str] = (*DmsPhaseOperator.template_fields, "tables")

    def __init__(self, *, tables: Sequence[Sequence[str]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tables = tables

    def check_parameters(self) -> None:
        if not self._names():
            raise PreconditionError("no table was given to load again. Nothing was changed")

    def _names(self) -> list[tuple[str, str]]:
        return [table(given) for given in self.tables]

    def carry_out(self, migration: Migration) -> int:
        tables = self._names()
        phases.reload_tables(migration, tables)
        return len(tables)

    def done_before(self, slots: list[str]) -> int:
        return 0
