"""The task `cleanup`: everything of a migration is removed from both sides."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from crossfade.cleanup import cleanup, require_approval
from crossfade.migration import Migration
from crossfade_airflow.migrations import found_migration
from crossfade_airflow.operators.migration import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class CleanupOperator(MigrationOperator):
    """
    Remove streams, the way back, what was made in AWS, and the journal; its rows are kept in this task's log.

    Refuses without an approval of this run in the journal. It never retries by itself: what failed is read by a person,
    and clearing it goes on where it stopped. Returns ``removed``, ``notes``, and ``reopening``: the SQL that would open
    the source to applications again.

    :param source_conn_id: connection to the plan's source, which knows of a cutover after the target's journal has gone
    :param reopen_source: whoever could connect to the source before the cutover may again; as a template: ``True``
    :param poolers_are_permanent: somebody sees to it that poolers lead to the target when they are started again
    """

    template_fields: Sequence[str] = (
        *MigrationOperator.template_fields,
        "source_conn_id",
        "reopen_source",
        "poolers_are_permanent",
    )

    def __init__(
        self,
        *,
        source_conn_id: str,
        reopen_source: bool | str = False,
        poolers_are_permanent: bool | str = False,
        **kwargs: Any,
    ) -> None:
        kwargs["retries"] = 0
        super().__init__(**kwargs)
        self.source_conn_id = source_conn_id
        self.reopen_source = reopen_source
        self.poolers_are_permanent = poolers_are_permanent

    def execute(self, context: Context) -> dict[str, Any]:
        migration, run_id = self.migration(), context["run_id"]
        require_approval(migration, run_id)
        report = cleanup(
            migration,
            run_id=run_id,
            reopen_source=_yes(self.reopen_source),
            poolers_are_permanent=_yes(self.poolers_are_permanent),
        )
        for side, tables in report.journal.items():
            for table, rows in tables.items():
                self.log.info("journal of the %s, %s: %s", side, table, json.dumps(rows, ensure_ascii=False))
        for note in report.notes:
            self.log.warning("%s", note)
        for statement in report.reopening:
            self.log.info("the source stays closed; this would open it again: %s", statement)
        return {"removed": report.removed, "notes": report.notes, "reopening": report.reopening}

    def migration(self) -> Migration:
        """As the target's journal holds it; where an earlier try has removed that, as the source kept it."""
        return found_migration(self.plan, self.target_conn_id, self.source_conn_id)


def _yes(value: bool | str) -> bool:
    """What a parameter says, be it a template's text."""
    return str(value) == "True"
