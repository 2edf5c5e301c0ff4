"""The task `finish` after a cutover: the engine's end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.validation.run import finish
from crossfade_airflow.operators.migration import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class FinishCopyOperator(MigrationOperator):
    """Drop what carried rows to the target before the cutover, and restore what it had lent."""

    def execute(self, context: Context) -> None:
        finish(self.migration())
