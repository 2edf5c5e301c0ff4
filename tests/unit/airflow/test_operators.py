from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk import RetryAction
from airflow.sdk.exceptions import AirflowSkipException, TaskAwaitingInput

from crossfade.engines.dms.lobs import LobLimit
from crossfade.errors import FatalError, PlanError, PreconditionError, TransientError
from crossfade_airflow.labels import of_tables
from crossfade_airflow.operators import approve_cutover, approve_rollback
from crossfade_airflow.operators import gate as gates
from crossfade_airflow.operators.abort import AbortOperator
from crossfade_airflow.operators.approve_cutover import CutoverApprovalOperator
from crossfade_airflow.operators.approve_rollback import RollbackApprovalOperator
from crossfade_airflow.operators.cutover import CutoverOperator
from crossfade_airflow.operators.gate import ApprovedByNobody
from crossfade_airflow.operators.load_wave import LoadWaveOperator
from crossfade_airflow.operators.reload_tables import ReloadTablesOperator
from crossfade_airflow.operators.rollback import RollbackOperator
from crossfade_airflow.operators.size_lobs import as_text
from crossfade_airflow.retries import RETRY_ONLY_TRANSIENT
from crossfade_dags.stop_after import skip_when_stopped

OF_PLAN = {"plan": "shop", "target_conn_id": "shop_target"}


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (TransientError("x"), RetryAction.RETRY),
        (PreconditionError("x"), RetryAction.FAIL),
        (PlanError(file="f", key="k", problem="p"), RetryAction.FAIL),
        (FatalError("x"), RetryAction.FAIL),
        (RuntimeError("x"), RetryAction.DEFAULT),
    ],
)
def test_only_what_may_pass_by_itself_is_retried(error, action):
    assert RETRY_ONLY_TRANSIENT.evaluate(error, 1, 2).action is action


@pytest.mark.parametrize("kind", [CutoverApprovalOperator, CutoverOperator, RollbackApprovalOperator, RollbackOperator])
def test_gates_cutover_and_rollback_refuse_to_be_retried_whatever_the_dag_says(kind):
    assert kind(task_id="t", retries=5, **OF_PLAN).retries == 0


def test_every_operator_retries_only_what_may_pass():
    assert LoadWaveOperator(task_id="t", wave=1, **OF_PLAN).retry_policy is RETRY_ONLY_TRANSIENT


def test_a_wave_is_called_by_its_tables():
    assert of_tables(2, ["public.a", "public.b"]) == "2: public.a, public.b"
    assert of_tables(1, [f"public.t{n}" for n in range(9)]) == "1: public.t0, public.t1, public.t2 and 6 more"


@pytest.fixture(params=["cutover", "rollback"])
def gate(request, monkeypatch):
    """A gate whose migration is fake; what it records is in `gate.recorded`."""
    recorded = []

    def record(m, **kwargs):
        recorded.append((m.name, kwargs))

    monkeypatch.setattr(gates, "pinned_migration", lambda plan, target: SimpleNamespace(name=plan))
    if request.param == "cutover":
        monkeypatch.setattr(approve_cutover, "record_approval", record)
        operator = CutoverApprovalOperator(task_id="approve", **OF_PLAN)
    else:
        monkeypatch.setattr(approve_rollback, "record_rollback_approval", record)
        operator = RollbackApprovalOperator(task_id="approve", **OF_PLAN)
    operator.recorded = recorded
    return operator


def answer(option, user="alice"):
    at = datetime(2026, 5, 1, tzinfo=UTC)
    who = {"id": user, "name": user} if user else None
    return {"chosen_options": [option], "params_input": {}, "responded_at": at, "responded_by_user": who}


def test_an_approval_is_recorded_with_who_and_when(gate):
    gate.execute_complete({"run_id": "r1"}, answer("Approve"))
    at = datetime(2026, 5, 1, tzinfo=UTC)
    assert gate.recorded == [("shop", {"run_id": "r1", "approver": "alice", "approved_at": at})]


def test_a_rejection_records_nothing_and_says_how_to_go_on(gate, caplog):
    gate.execute_complete({"run_id": "r1"}, answer("Reject"))
    assert gate.recorded == []
    assert "Nothing was changed" in gate._rejected(answer("Reject"))
    assert "rejected by alice" in gate._rejected(answer("Reject"))
    assert "not answered in time" in gate._rejected(answer("Reject", user=None))


def test_an_approval_without_a_person_is_refused(gate):
    with pytest.raises(ApprovedByNobody):
        gate.execute_complete({"run_id": "r1"}, answer("Approve", user=None))
    assert gate.recorded == []


def test_an_unknown_way_to_abort_is_refused_before_anything_is_touched(monkeypatch):
    operator = AbortOperator(task_id="t", source_conn_id="shop_source", action="drop_everything", **OF_PLAN)
    monkeypatch.setattr(operator, "migration", lambda: pytest.fail("touched"))
    with pytest.raises(ValueError, match="drop_everything"):
        operator.execute({})


@pytest.mark.parametrize(
    ("stop_after", "task", "skipped"),
    [
        (None, "cutover", False),
        ("validate", "validate", False),
        ("validate", "rehearse", True),
        ("load", "catch_up.slot_lag", True),
        ("catch_up", "catch_up.slot_lag", False),
        ("validate", "check_lobs", False),
        ("check_lobs", "rehearse", True),
    ],
)
def test_stop_after_skips_what_comes_later(stop_after, task, skipped):
    hook = skip_when_stopped((("load",), ("catch_up",), ("validate", "check_lobs"), ("rehearse",), ("cutover",)))
    context = {"params": {"stop_after": stop_after}, "task": SimpleNamespace(task_id=task)}
    if skipped:
        with pytest.raises(AirflowSkipException, match=stop_after):
            hook(context)
    else:
        hook(context)


def test_the_gate_asks_those_whom_the_pinned_plan_names(gate, monkeypatch):
    cutover = SimpleNamespace(approvers=("alice", "bob"), approval_timeout=timedelta(days=7))
    migration = SimpleNamespace(plan=SimpleNamespace(cutover=cutover))
    monkeypatch.setattr(gates, "pinned_migration", lambda plan, target: migration)
    for module in (approve_cutover, approve_rollback):
        monkeypatch.setattr(module, "gate_body", lambda m, run_id, declared: f"all is well in {run_id}")
    asked = {}
    monkeypatch.setattr(
        "airflow.providers.standard.operators.hitl.upsert_hitl_detail", lambda **kwargs: asked.update(kwargs)
    )
    with pytest.raises(TaskAwaitingInput):
        gate.execute({"run_id": "r1", "task_instance": SimpleNamespace(id="ti")})
    assert asked["body"] == "all is well in r1"
    assert [user["id"] for user in asked["assigned_users"]] == ["alice", "bob"]
    assert asked["defaults"] == ["Reject"]
    assert gate.response_timeout == timedelta(days=7)


def test_the_sizes_of_large_objects_are_shown_as_a_table_the_largest_first():
    of_one = {"schema": "public", "columns": 1}
    limits = [
        LobLimit(name="notes", mode="limited", limit_kb=16, largest_column="text", largest_bytes=200, **of_one),
        LobLimit(name="files", mode="inline", limit_kb=64, largest_column="data", largest_bytes=3 * 2**20, **of_one),
        LobLimit(name="scans", mode="full", limit_kb=0, largest_column="page", largest_bytes=2 * 2**20, **of_one),
    ]
    assert as_text(limits).splitlines() == [
        "table         largest value  column  mode     limit",
        "public.files  3.0 MB         data    inline   none; above 64.0 kB one by one",
        "public.scans  2.0 MB         page    full     none; all one by one",
        "public.notes  200 B          text    limited  16.0 kB",
    ]


@pytest.mark.parametrize("given", [[], [["public"]], ["public.orders"], [["public", ""]], [["a", "b", "c"]]])
def test_tables_to_reload_that_are_none_are_refused_before_anything_is_asked(given, monkeypatch):
    operator = ReloadTablesOperator(task_id="t", tables=given, **OF_PLAN)
    monkeypatch.setattr(operator, "migration", lambda: pytest.fail("asked"))
    with pytest.raises(PreconditionError, match="Nothing was changed"):
        operator.execute({})
