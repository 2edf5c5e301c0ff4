"""The task of the DAG `abort`: the way out, at any time."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from crossfade.cutover import recovery
from crossfade.cutover.abandon import abandon
from crossfade.migration import Migration
from crossfade_airflow.migrations import found_migration
from crossfade_airflow.operators.migration import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class AbortAction(StrEnum):
    """How far to go back."""

    RESTORE_TRAFFIC = "restore_traffic"  #: open the side that has authority; the migration can go on
    ABANDON = "abandon"  #: besides, drop streams and slots and forget the migration


class AbortOperator(MigrationOperator):
    """
    Restore traffic on the side that has authority, whatever happened before; safe to call at any time and again.

    :param source_conn_id: connection to the plan's source, which knows of a cutover even where the target is dead
    :param action: ``restore_traffic`` or ``abandon``
    """

    template_fields: Sequence[str] = (*MigrationOperator.template_fields, "source_conn_id", "action")

    def __init__(self, *, source_conn_id: str, action: str = AbortAction.RESTORE_TRAFFIC, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.source_conn_id = source_conn_id
        self.action = action

    def execute(self, context: Context) -> str:
        action = AbortAction(self.action)
        migration = self.migration()
        outcome = abandon(migration) if action is AbortAction.ABANDON else recovery.settle(migration).sentence
        self.log.info("%s", outcome)
        return outcome

    def migration(self) -> Migration:
        """The migration as the target's journal holds it; failing that, as the source kept it with its last cutover."""
        return found_migration(self.plan, self.target_conn_id, self.source_conn_id)
