"""What all gates share: a person says yes, and the journal remembers who, when and to what."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator

from crossfade.errors import PreconditionError
from crossfade.migration import Migration
from crossfade.plan import load_plan
from crossfade_airflow.migrations import pinned_migration

if TYPE_CHECKING:
    from airflow.sdk import Context


class ApprovedByNobody(PreconditionError):
    """The gate was answered with an approval that carries no person."""


class GateOperator(ApprovalOperator):  # type: ignore[misc]  # Airflow is not type-checked
    """
    Ask the plan's approvers, and record their yes in the journal, where the task looks for it that acts on it.

    Who is asked, for how long, and what they are shown comes from the migration at the moment the gate opens.
    A rejection, or no answer in time, skips what follows and changes nothing. It never retries: that would ask again.

    :param plan: name of the plan
    :param target_conn_id: connection to the plan's target, whose journal holds the plan
    :param plan_file: the plan's file; how it differs from what the journal holds is shown, and changes nothing
    :param subject: what is asked, in one line
    """

    template_fields: Sequence[str] = ("plan", "target_conn_id", "plan_file", "subject")

    def __init__(
        self,
        *,
        plan: str,
        target_conn_id: str,
        plan_file: str | None = None,
        subject: str | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs |= {"retries": 0, "defaults": self.REJECT}
        super().__init__(subject=subject or self.question(plan), **kwargs)
        self.plan = plan
        self.target_conn_id = target_conn_id
        self.plan_file = plan_file

    @abc.abstractmethod
    def question(self, plan: str) -> str:
        """What is asked, in one line."""

    @abc.abstractmethod
    def show(self, migration: Migration, *, run_id: str, declared: list[str]) -> str:
        """
        What a person needs to decide, as Markdown.

        :param declared: how the YAML differs from the pinned plan
        """

    @abc.abstractmethod
    def record(self, migration: Migration, *, run_id: str, approver: str, approved_at: datetime) -> None:
        """Enter the yes in the journal."""

    @abc.abstractmethod
    def after_rejection(self) -> str:
        """What a rejection leaves as it is, and how to go on."""

    def execute(self, context: Context) -> None:
        migration = pinned_migration(self.plan, self.target_conn_id)
        cutover = migration.plan.cutover
        declared = migration.plan.difference(load_plan(self.plan_file)) if self.plan_file else []
        self.body = self.show(migration, run_id=context["run_id"], declared=declared)
        self.assigned_users = [{"id": user, "name": user} for user in cutover.approvers]
        self.response_timeout = cutover.approval_timeout
        self.log.info("asking %s, for %s:\n%s", ", ".join(cutover.approvers), cutover.approval_timeout, self.body)
        super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        if event.get("chosen_options") == [self.APPROVE]:
            self._record(context, event)
        elif "error" not in event:
            self.log.warning("%s", self._rejected(event))
        return super().execute_complete(context, event)

    def _record(self, context: Context, event: dict[str, Any]) -> None:
        user = event["responded_by_user"]
        if not user:
            raise ApprovedByNobody
        migration = pinned_migration(self.plan, self.target_conn_id)
        self.record(migration, run_id=context["run_id"], approver=user["id"], approved_at=event["responded_at"])
        self.log.info("approved by %s at %s; recorded in the journal", user["id"], event["responded_at"])

    def _rejected(self, event: dict[str, Any]) -> str:
        user = event["responded_by_user"]
        by = f"rejected by {user['id']}" if user else "not answered in time, which counts as a rejection"
        return f"{by}. {self.after_rejection()}"
