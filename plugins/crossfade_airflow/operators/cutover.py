"""The task `cutover`: the critical section, whole, in one task."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from crossfade.cutover import order
from crossfade_airflow.operators.migration import MigrationOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class CutoverOperator(MigrationOperator):
    """
    Move the application to the target: pause, fence, drain, sequences, way back, decide, open.

    Refuses without an approval in the journal for this run, this plan and its newest validation. It never retries: when
    it fails, the application is back on the side that the decision names, and a second attempt is a person's decision.
    """

    def __init__(self, **kwargs: Any) -> None:
        kwargs["retries"] = 0
        super().__init__(**kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        summary = order.run(self.migration(), run_id=context["run_id"])
        return {"paused_ms": summary.paused_ms, "steps": [asdict(step) for step in summary.steps]}
