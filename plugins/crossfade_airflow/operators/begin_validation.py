"""The task `begin` of a validation: what is compared, and in how many tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from crossfade.journal import NoMigration
from crossfade.validation.result import Mode
from crossfade.validation.run import begin
from crossfade.validation.verdicts import NothingToValidate
from crossfade_airflow import labels
from crossfade_airflow.connections import UnusableConnection
from crossfade_airflow.operators.migration import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class BeginValidationOperator(MigrationOperator):
    """
    Enter a validation in the journal, and share out the tables.

    Returns one mapping a batch of tables, for `CompareTablesOperator.partial(…).expand_kwargs(begin.output)`. Its other
    XCom is ``validation``, the id for the operators that follow. Killed and run again it finds what it began.

    :param mode: ``full``, ``sample`` or ``quick``
    :param skip_idle: skip where no migration of the plan is under way, as most nights; else it fails
    """

    template_fields: Sequence[str] = (*MigrationOperator.template_fields, "mode")

    def __init__(self, *, mode: str = "full", skip_idle: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mode = mode
        self.skip_idle = skip_idle

    def execute(self, context: Context) -> list[dict[str, Any]]:
        try:
            begun = begin(self.migration(), run_id=context["run_id"], mode=Mode(self.mode))
        except (NoMigration, NothingToValidate) as error:
            if not self.skip_idle:
                raise
            raise AirflowSkipException(str(error)) from None
        except UnusableConnection as error:
            if not self.skip_idle or error.problem != "does not exist":
                raise
            raise AirflowSkipException(f"nothing can be under way: {error}") from None
        context["ti"].xcom_push("validation", str(begun.id))
        return [
            {"validation": str(begun.id), "batch": batch, "tables": labels.of_tables(batch + 1, tables)}
            for batch, tables in enumerate(begun.batches)
        ]
