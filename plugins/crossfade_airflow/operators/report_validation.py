"""The task `report` of a validation: its verdict, and a page with all that was found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from crossfade.validation.run import conclude
from crossfade.validation.verdicts import require_ok
from crossfade_airflow.operators.migration import MigrationOperator
from crossfade_airflow.validation_reports import ValidationReportLink, publish

if TYPE_CHECKING:
    from airflow.sdk import Context


class ReportValidationOperator(MigrationOperator):
    """
    Save the report of a validation, and fail on a difference, or where something could not be compared.

    To be run whatever became of the tasks before it. Returns verdict and path of the report.

    :param validation: as `BeginValidationOperator` pushes it
    """

    template_fields: Sequence[str] = (*MigrationOperator.template_fields, "validation")
    operator_extra_links = (ValidationReportLink(),)

    def __init__(self, *, validation: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.validation = validation

    def execute(self, context: Context) -> dict[str, str]:
        report = conclude(self.migration(), self.validation)
        told = publish(report, context)
        require_ok(report)
        return told
