"""The task `create_task`: the replication task in AWS DMS."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from crossfade.engines.dms import phases
from crossfade.migration import Migration
from crossfade_airflow.operators.dms_phase import DmsPhaseOperator


class CreateTaskOperator(DmsPhaseOperator):
    """
    Make the plan's replication task, or make the one that is there the same; safe to run again. Returns its ARN.

    It stands where the amazon provider's `DmsCreateTaskOperator` could not: that one fails where the task exists.

    :param definition: what `MapTablesOperator` returned; shown in the UI under Rendered Templates
    """

    template_fields: Sequence[str] = (*DmsPhaseOperator.template_fields, "definition")
    template_fields_renderers: ClassVar[dict[str, str]] = {"definition": "json"}

    def __init__(self, *, definition: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.definition = definition

    def carry_out(self, migration: Migration) -> str:
        definition = phases.TaskDefinition(
            identifier=self.definition["identifier"],
            instance_arn=self.definition["instance_arn"],
            source_arn=self.definition["source_arn"],
            target_arn=self.definition["target_arn"],
            mappings=json.dumps(self.definition["table_mappings"]),
            settings=json.dumps(self.definition["task_settings"]),
        )
        task = phases.create_task(migration, definition)
        self.log.info("replication task %s is %s: %s", task.identifier, task.status, task.arn)
        return task.arn

    def done_before(self, slots: list[str]) -> str:
        return ""
