"""The mapped task `rows` of a validation: one batch of tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from crossfade.validation.run import compare
from crossfade.validation.verdicts import require_equal
from crossfade_airflow.operators.migration import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class CompareTablesOperator(MigrationOperator):
    """
    Compare the rows of a batch of tables while they change. Fails where some differ; the log names them by key.

    A task that was killed goes on with the parts that are left when it is run again; one that failed compares the
    tables again that were not found equal.

    :param validation: as `BeginValidationOperator` pushes it
    :param batch: as `BeginValidationOperator` returns it
    :param tables: what a mapped task is called in the UI, with ``map_index_template="{{ task.tables }}"``
    :param repair: ``True`` to replace rows that differ, on the side that does not serve
    """

    template_fields: Sequence[str] = (*MigrationOperator.template_fields, "validation", "repair")

    def __init__(
        self, *, validation: str, batch: int, tables: str = "", repair: str | bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.validation = validation
        self.batch = batch
        self.tables = tables
        self.repair = repair

    def execute(self, context: Context) -> dict[str, Any]:
        found = compare(self.migration(), self.validation, self.batch, repairing=str(self.repair) == "True")
        require_equal(found)
        return {"tables": len(found), "rows": sum(each.rows[0] for each in found)}
