"""The task `map_tables`: what the replication task is to do, before AWS sees it."""

from __future__ import annotations

import json
from typing import Any

from crossfade.engines.dms import phases
from crossfade.migration import Migration
from crossfade_airflow.operators.dms_phase import DmsPhaseOperator


class MapTablesOperator(DmsPhaseOperator):
    """
    Compute table mappings and task settings of the plan's replication task, and refuse what would lose data.

    Returns the task's definition, for `CreateTaskOperator`: ``identifier``, ``instance_arn``, ``source_arn``,
    ``target_arn``, ``table_mappings`` and ``task_settings``.
    """

    def carry_out(self, migration: Migration) -> dict[str, Any]:
        definition = phases.define_task(migration)
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

    def done_before(self, slots: list[str]) -> dict[str, Any]:
        return {}
