"""The gate `approve_rollback`: whether to move the application back to the source."""

from __future__ import annotations

from datetime import datetime

from crossfade.cutover.rollback_gate import gate_body
from crossfade.migration import Migration
from crossfade.phases import record_rollback_approval
from crossfade_airflow.operators.gate import GateOperator


class RollbackApprovalOperator(GateOperator):
    """Ask whether to go back. See `GateOperator` for its parameters and what all gates have in common."""

    def question(self, plan: str) -> str:
        return f"Roll {plan} back?"

    def show(self, migration: Migration, *, run_id: str, declared: list[str]) -> str:
        return gate_body(migration, run_id=run_id, declared=declared)

    def record(self, migration: Migration, *, run_id: str, approver: str, approved_at: datetime) -> None:
        record_rollback_approval(migration, run_id=run_id, approver=approver, approved_at=approved_at)

    def after_rejection(self) -> str:
        return (
            "Nothing was changed: the application stays on the target and its writes go on flowing back to the source. "
            "To roll back later, trigger this DAG again"
        )
