"""The task of ``<plan>.validate``: the validation of a migration that is under way, every night."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from crossfade.journal import NoMigration
from crossfade.validation.result import Mode
from crossfade.validation.run import NothingToValidate, examine, require_ok
from crossfade_airflow.connections import UnusableConnection
from crossfade_airflow.operators.migration import MigrationOperator
from crossfade_airflow.validation_reports import ValidationReportLink, publish

if TYPE_CHECKING:
    from airflow.sdk import Context


class NightlyValidateOperator(MigrationOperator):
    """
    Compare both sides, in whichever direction rows are carried now; skip where no migration of the plan is under way.

    Pushes verdict and path of the report. Fails on a difference.

    :param mode: ``full``, ``sample`` or ``quick``
    :param repair: ``True`` to replace rows that differ, on the side that does not serve
    """

    template_fields: Sequence[str] = (*MigrationOperator.template_fields, "mode", "repair")
    operator_extra_links = (ValidationReportLink(),)

    def __init__(self, *, mode: str, repair: str | bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mode = mode
        self.repair = repair

    def execute(self, context: Context) -> dict[str, str]:
        try:
            migration = self.migration()
            report = examine(
                migration,
                run_id=context["run_id"],
                mode=Mode(self.mode),
                repairing=str(self.repair) == "True",
            )
        except (NoMigration, NothingToValidate) as error:
            raise AirflowSkipException(str(error)) from None
        except UnusableConnection as error:
            if error.problem != "does not exist":
                raise
            raise AirflowSkipException(f"nothing can be under way: {error}") from None
        told = publish(report, context)
        require_ok(report)
        return told
