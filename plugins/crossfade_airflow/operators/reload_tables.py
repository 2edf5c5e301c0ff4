"""Single tables loaded again by AWS DMS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from crossfade.engines.dms import phases
from crossfade.errors import PreconditionError
from crossfade_airflow.operators.identifiers import table
from crossfade_airflow.operators.migration import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ReloadTablesOperator(MigrationOperator):
    """
    Have the plan's replication task load single tables again while it runs: those that are suspended or in error.

    Refused when the target is no longer ours to write to. Returns how many; AWS DMS does it in its own time.

    :param tables: each as a list of schema and table, as stored in the catalog, not quoted
    """

    template_fields: Sequence[str] = (*MigrationOperator.template_fields, "tables")

    def __init__(self, *, tables: Sequence[Sequence[str]], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tables = tables

    def execute(self, context: Context) -> int:
        tables = [table(given) for given in self.tables]
        if not tables:
            raise PreconditionError("no table was given to load again. Nothing was changed")
        phases.reload_tables(self.migration(), tables)
        return len(tables)
