"""What cutover and rollback share: the critical section, whole, in one task."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from crossfade.cutover import order
from crossfade.routers.base import Direction
from crossfade_airflow.operators.migration import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class CriticalSectionOperator(MigrationOperator):
    """
    Run the critical section: pause, fence, drain, sequences, way back, decide, open. The log has its steps as a table.

    Refuses without an approval of this run in the journal. It never retries: when it fails, the application is on the
    side that the decision names, and a second attempt is a person's decision. Returns ``paused_ms``, how long clients
    were held, and ``steps``, each with name, start, milliseconds and outcome.
    """

    direction: ClassVar[Direction]

    def __init__(self, **kwargs: Any) -> None:
        kwargs["retries"] = 0
        super().__init__(**kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        summary = order.run(self.migration(), run_id=context["run_id"], direction=self.direction)
        return {"paused_ms": summary.paused_ms, "steps": [asdict(step) for step in summary.steps]}
