"""The task `checks` of a validation: everything that is compared beside rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from crossfade.validation.run import check
from crossfade.validation.verdicts import require_equal
from crossfade_airflow.operators.migration import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class CheckDefinitionsOperator(MigrationOperator):
    """
    Compare definitions, keys, constraints, roles, sequences, large objects, and look at replication.

    Fails where they differ, and where something could not be looked at; the report has it, too.

    :param validation: as `BeginValidationOperator` pushes it
    """

    template_fields: Sequence[str] = (*MigrationOperator.template_fields, "validation")

    def __init__(self, *, validation: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.validation = validation

    def execute(self, context: Context) -> dict[str, str]:
        found = check(self.migration(), self.validation)
        require_equal(found)
        return {each.name: str(each.verdict) for each in found}
