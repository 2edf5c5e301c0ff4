"""The task `prepare`: the plan into the journal, the schema onto the target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, RetryPolicy

from crossfade import phases
from crossfade.engines.logical.waves import object_name
from crossfade.migration import Migration
from crossfade.plan import load_plan
from crossfade_airflow import labels
from crossfade_airflow.connections import aws_client, http_endpoint, resolver, ssh_endpoint
from crossfade_airflow.retries import RETRY_ONLY_TRANSIENT

if TYPE_CHECKING:
    from airflow.sdk import Context


class PrepareOperator(BaseOperator):  # type: ignore[misc]  # Airflow is not type-checked
    """
    Pin the plan in the journal and copy roles, extensions and the schema's tables onto the target.

    Returns one mapping a wave, for `LoadWaveOperator.partial(…).expand_kwargs(prepare.output)`. Its other XComs are
    ``streams`` (names of the slots and subscriptions to come) and ``migration`` (its id and the plan's hash).

    :param plan_file: the plan's file, as `crossfade.plan.load_plan` takes it
    """

    template_fields: Sequence[str] = ("plan_file",)

    def __init__(self, *, plan_file: str, retry_policy: RetryPolicy | None = None, **kwargs: Any) -> None:
        super().__init__(retry_policy=retry_policy or RETRY_ONLY_TRANSIENT, **kwargs)
        self.plan_file = plan_file

    def execute(self, context: Context) -> list[dict[str, Any]]:
        plan = load_plan(self.plan_file)
        prepared = phases.prepare(Migration(plan, resolver(plan.name), aws_client, ssh_endpoint, http_endpoint))
        ti = context["ti"]
        ti.xcom_push("streams", [object_name(plan.name, wave.number) for wave in prepared.waves])
        ti.xcom_push("migration", {"id": prepared.migration_id, "hash": plan.hash})
        return [{"wave": wave.number, "tables": labels.of_tables(wave.number, wave.tables)} for wave in prepared.waves]
