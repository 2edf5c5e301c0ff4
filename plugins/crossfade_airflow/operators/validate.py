"""The task `validate`: do both databases hold the same rows?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crossfade.validation.run import validate
from crossfade_airflow.operators.migration import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ValidateOperator(MigrationOperator):
    """Compare the values of every row on both sides, while both change. A difference fails the task, named by key."""

    def execute(self, context: Context) -> dict[str, Any]:
        validation = validate(self.migration(), run_id=context["run_id"])
        return {"validation": str(validation.id), "tables": validation.tables, "rows": validation.rows}
