"""The task `assess`: everything that would go wrong later, found before anything is changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, RetryPolicy

from crossfade.assess import assess
from crossfade.errors import PreconditionError
from crossfade.plan import load_plan
from crossfade_airflow.connections import aws_client, resolver, ssh_endpoint
from crossfade_airflow.retries import RETRY_ONLY_TRANSIENT

if TYPE_CHECKING:
    from airflow.sdk import Context


class BlockersFound(PreconditionError):
    """The assessment found what must be put right first."""

    def __init__(self, *, plan: str, blockers: Sequence[object]) -> None:
        lines = "\n".join(f"- {blocker}" for blocker in blockers)
        super().__init__(
            f"{len(blockers)} blocker(s) for the plan {plan!r}; nothing was changed. "
            f"Apply the remedies in the report above, then clear this task:\n{lines}"
        )


class AssessOperator(BaseOperator):  # type: ignore[misc]  # Airflow is not type-checked
    """
    Check both databases, the router and the plan; change nothing. Blockers fail the task.

    :param plan_file: the plan's file, as `crossfade.plan.load_plan` takes it
    """

    template_fields: Sequence[str] = ("plan_file",)

    def __init__(self, *, plan_file: str, retry_policy: RetryPolicy | None = None, **kwargs: Any) -> None:
        super().__init__(retry_policy=retry_policy or RETRY_ONLY_TRANSIENT, **kwargs)
        self.plan_file = plan_file

    def execute(self, context: Context) -> dict[str, Any]:
        plan = load_plan(self.plan_file)
        report = assess(plan, resolver(plan.name), aws_client, ssh_endpoint)
        self.log.info("%s", report.to_markdown())
        if report.blockers:
            raise BlockersFound(plan=plan.name, blockers=report.blockers)
        return {"plan": plan.name, "hash": plan.hash, "summary": report.summary}
