"""The gate `approve_cleanup`: whether to give up the way back and remove everything of the migration."""

from __future__ import annotations

from datetime import datetime

from crossfade.cleanup import record_cleanup_approval
from crossfade.cleanup_gate import gate_body
from crossfade.migration import Migration
from crossfade_airflow.operators.gate import GateOperator


class CleanupApprovalOperator(GateOperator):
    """Ask whether to clean up. See `GateOperator` for its parameters and what all gates have in common."""

    def question(self, plan: str) -> str:
        return f"Clean up {plan}? There is no way back afterwards"

    def show(self, migration: Migration, *, run_id: str, declared: list[str]) -> str:
        return gate_body(migration, run_id=run_id, declared=declared)

    def record(self, migration: Migration, *, run_id: str, approver: str, approved_at: datetime) -> None:
        record_cleanup_approval(migration, run_id=run_id, approver=approver, approved_at=approved_at)

    def after_rejection(self) -> str:
        return (
            "Nothing was removed: the application stays on the target and its writes go on flowing back to the source, "
            "so that a rollback is possible. To clean up later, trigger this DAG again"
        )
