"""The operator of hooks that are DAGs, and what a rehearsal says of them. What answers for Airflow is faked."""

from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import (
    AirflowRuntimeError,
    AirflowSkipException,
    DagRunTriggerException,
    ErrorType,
    TaskDeferred,
)
from airflow.sdk.execution_time.comms import ErrorResponse

from crossfade.plan import parse_plan
from crossfade_airflow.operators import hook_dag
from crossfade_airflow.operators.hook_dag import HookDagOperator, unusable_dags


class KnownDags:
    """Stands for the task instance: which DAGs there are, whether they are paused, and which runs they have."""

    dag_id, run_id, task_id = "shop.migrate", "manual", "hooks_before.1_stop_workers"

    def __init__(self, *, runs=(), try_number=1, **paused):
        self.paused, self.runs, self.try_number = paused, runs, try_number

    def get_dr_count(self, *, dag_id, run_ids):
        return len({(dag_id, run_id) for run_id in run_ids} & set(self.runs))

    def get_dag(self, dag_id):
        if dag_id not in self.paused:
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.GENERIC_ERROR, detail={"status_code": 404}))
        return SimpleNamespace(is_paused=self.paused[dag_id])

    def xcom_push(self, **_):
        """Nothing is kept."""


def operator(**changes):
    given = {"plan": "shop", "target_conn_id": "shop_target", "event": "before", "trigger_dag_id": "stop_workers"}
    return HookDagOperator(task_id="t", **{**given, **changes})


def triggered(task, **dags):
    """With what Airflow is asked to run the DAG."""
    with pytest.raises(DagRunTriggerException) as caught:
        task.execute({"ti": KnownDags(**(dags or {"stop_workers": False}))})
    return caught.value


def test_the_dag_is_told_what_is_happening_and_waited_for_without_a_worker():
    asked = triggered(operator(direction="back", conf={"rows": 1}))
    assert asked.trigger_dag_id == "stop_workers"
    assert asked.conf["rows"] == 1
    assert asked.conf["crossfade"] == {"plan": "shop", "event": "before", "direction": "back", "rehearsal": False}
    assert (asked.wait_for_completion, asked.deferrable) == (True, True)
    assert asked.failed_states == ["failed"]
    assert asked.dag_run_id


def test_a_try_that_begins_anew_waits_for_the_run_it_has_triggered():
    task = operator()
    run = triggered(task).dag_run_id
    with pytest.raises(TaskDeferred) as caught:
        task.execute({"ti": KnownDags(stop_workers=False, runs=[("stop_workers", run)])})
    assert caught.value.trigger.run_ids == [run]
    assert caught.value.trigger.dag_id == "stop_workers"
    assert caught.value.method_name == "execute_complete"
    assert triggered(task, stop_workers=False, runs=[("stop_workers", run)], try_number=2).dag_run_id != run


def test_one_that_is_to_go_on_takes_any_end():
    asked = triggered(operator(go_on=True))
    assert (asked.allowed_states, asked.failed_states) == (["success", "failed"], [])


def test_it_never_runs_its_dag_twice_by_itself():
    assert operator(retries=5).retries == 0


def test_a_paused_dag_which_would_wait_for_ever_fails_it():
    with pytest.raises(Exception, match="paused"):
        operator().execute({"ti": KnownDags(stop_workers=True)})


def test_undone_is_for_cutovers_that_came_to_nothing(monkeypatch):
    asked = []
    monkeypatch.setattr(hook_dag, "pinned_migration", lambda *names: names)

    def came_to_nothing(migration, *, direction):
        asked.append((migration, direction.value))
        return nothing

    monkeypatch.setattr(hook_dag, "came_to_nothing", came_to_nothing)
    nothing = True
    triggered(operator(event="undone"))
    nothing = False
    with pytest.raises(AirflowSkipException, match="after its decision"):
        operator(event="undone", direction="back").execute({"ti": KnownDags(stop_workers=False)})
    assert asked == [(("shop", "shop_target"), "forward"), (("shop", "shop_target"), "back")]


def test_a_rehearsal_names_dags_that_are_unknown_or_paused():
    plan = parse_plan(
        {
            "source": "a",
            "target": "b",
            "routers": [{"kind": "pgbouncer", "admin": "a", "database": "d", "switch": {"file": "f"}}],
            "cutover": {
                "approvers": ["alice"],
                "application_roles": ["app"],
                "hooks": {
                    "before": [{"dag": "there"}, {"dag": "asleep"}, {"sql": "select 1"}],
                    "undone": [{"dag": "missing"}, {"dag": "asleep"}],
                },
            },
        },
        name="shop",
    )
    asleep, missing = unusable_dags(plan, {"ti": KnownDags(there=False, asleep=True)})
    assert "asleep, a hook of the plan, is paused" in asleep
    assert "missing, a hook of the plan, cannot be found" in missing
