"""The task `map_tables`: what the replication task is to do, before AWS sees it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from crossfade.engines.dms import phases
from crossfade_airflow.operators.migration import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class MapTablesOperator(MigrationOperator):
    """
    Compute table mappings and task settings of the plan's replication task, and refuse what would lose data.

    Returns the task's definition, for `CreateTaskOperator`: ``identifier``, ``instance_arn``, ``source_arn``,
    ``target_arn``, ``table_mappings`` and ``task_settings``.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        definition = phases.define_task(self.migration())
        mappings = json.loads(definition.mappings)
        self.log.info("%s: %d rules of table mapping", definition.identifier, len(mappings["rules"]))
        return {
            "identifier": definition.identifier,
            "instance_arn": definition.instance_arn,
            "source_arn": definition.source_arn,
            "target_arn": definition.target_arn,
            "table_mappings": mappings,
            "task_settings": json.loads(definition.settings),
        }
