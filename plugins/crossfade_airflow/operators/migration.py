"""What every phase after `prepare` shares: the migration is found in the journal on the target, not in a YAML file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, RetryPolicy

from crossfade.migration import Migration
from crossfade_airflow.migrations import pinned_migration
from crossfade_airflow.retries import RETRY_ONLY_TRANSIENT


class MigrationOperator(BaseOperator):  # type: ignore[misc]  # Airflow is not type-checked
    """
    One phase of a migration that `PrepareOperator` has entered in the journal.

    :param plan: name of the plan: its file's name without the ending
    :param target_conn_id: connection to the plan's target, whose journal holds the plan
    """

    template_fields: Sequence[str] = ("plan", "target_conn_id")

    def __init__(
        self, *, plan: str, target_conn_id: str, retry_policy: RetryPolicy | None = None, **kwargs: Any
    ) -> None:
        super().__init__(retry_policy=retry_policy or RETRY_ONLY_TRANSIENT, **kwargs)
        self.plan = plan
        self.target_conn_id = target_conn_id

    def migration(self) -> Migration:
        """The migration as the journal on its target holds it."""
        return pinned_migration(self.plan, self.target_conn_id)
