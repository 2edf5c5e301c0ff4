"""The task `confirm`: is the application back on the source, whole?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.validation.returned import confirm_return
from crossfade_airflow.operators.migration import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ConfirmReturnOperator(MigrationOperator):
    """Compare definitions and sequences, look where clients are led, prove the stream. Returns what was confirmed."""

    def execute(self, context: Context) -> list[str]:
        confirmed = confirm_return(self.migration())
        for line in confirmed:
            self.log.info("%s", line)
        return confirmed
