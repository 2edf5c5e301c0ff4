"""The gate `approve_cutover`: whether to move the application to the target."""

from __future__ import annotations

from datetime import datetime

from crossfade.cutover.rehearsal import gate_body
from crossfade.migration import Migration
from crossfade.phases import record_approval
from crossfade_airflow.operators.gate import GateOperator


class CutoverApprovalOperator(GateOperator):
    """Ask whether to cut over. See `GateOperator` for its parameters and what all gates have in common."""

    def question(self, plan: str) -> str:
        return f"Cut {plan} over?"

    def show(self, migration: Migration, *, run_id: str, declared: list[str]) -> str:
        return gate_body(migration, run_id=run_id, declared=declared)

    def record(self, migration: Migration, *, run_id: str, approver: str, approved_at: datetime) -> None:
        record_approval(migration, run_id=run_id, approver=approver, approved_at=approved_at)

    def after_rejection(self) -> str:
        return (
            "Nothing was changed: the application stays on the source and the streams keep the target current. "
            "To cut over later, trigger this DAG again: what is copied stays copied. To give the migration up, trigger "
            f"the DAG 'abort' with plan={self.plan} and action=abandon: until then its slots keep WAL on the source"
        )
