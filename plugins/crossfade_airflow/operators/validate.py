"""The task `validate`: do both databases hold the same?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.validation.result import Mode
from crossfade.validation.run import examine, require_ok
from crossfade_airflow.operators.migration import MigrationOperator
from crossfade_airflow.validation_reports import ValidationReportLink, publish

if TYPE_CHECKING:
    from airflow.sdk import Context


class ValidateOperator(MigrationOperator):
    """
    Compare both sides while they change, save the report, and fail on a difference, named by key and column.

    A task that was killed goes on with the parts that are left when it is run again. Pushes verdict and path of the
    report.
    """

    operator_extra_links = (ValidationReportLink(),)

    def execute(self, context: Context) -> dict[str, str]:
        report = examine(self.migration(), run_id=context["run_id"], mode=Mode.FULL)
        told = publish(report, context)
        require_ok(report)
        return told
