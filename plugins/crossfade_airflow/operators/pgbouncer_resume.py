"""Let the clients go on that PgBouncer holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade_airflow.operators.pgbouncer import PgBouncerOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class PgBouncerResumeOperator(PgBouncerOperator):
    """RESUME on every instance; nothing where nothing is paused. An instance that can't be reached stops no other."""

    def execute(self, context: Context) -> None:
        # not "with": opening raises for one instance that is down, and the others must be resumed all the same
        fleet = self.fleet()
        try:
            fleet.resume()
        finally:
            fleet.close()
