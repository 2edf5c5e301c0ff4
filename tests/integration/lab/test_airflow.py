"""A real Airflow starts, runs a DAG with a gate, refuses who may not answer it, and leaves no process behind."""

from collections.abc import Iterator

import pytest

from crossfade_lab import testing
from crossfade_lab.airflow import AirflowStandalone

DAG = """
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import dag, task


@dag(dag_id="lab.gate", schedule=None)
def gate():
    @task
    def before():
        print("the task before")
        return 41

    @task
    def after(number):
        return number + 1

    before() >> ApprovalOperator(task_id="gate", subject="Go on?") >> after.expand(number=[1, 2])


gate()
"""

pytestmark = [pytest.mark.e2e, pytest.mark.slow]  # a second Airflow beside that of tests/e2e


@pytest.fixture(scope="module")
def airflow() -> Iterator[AirflowStandalone]:
    with testing.server(18) as metadata, testing.scratch_directory() as directory:
        for folder in ("dags", "plugins"):
            (directory / folder).mkdir()
        (directory / "dags" / "gate.py").write_text(DAG)
        instance = AirflowStandalone(
            directory / "home",
            metadata,
            dags=directory / "dags",
            plugins=directory / "plugins",
            connections={"somewhere": {"conn_type": "postgres", "host": "localhost"}},
        )
        with instance:
            yield instance
        assert not instance.running


def test_an_operator_runs_a_dag_through_its_gate_and_a_viewer_cannot(airflow: AirflowStandalone) -> None:
    operator, viewer = airflow.client(), airflow.client("viewer")
    operator.wait_for_dag("lab.gate")
    assert operator.import_errors() == {}
    run = operator.trigger("lab.gate")
    operator.wait_for_task("lab.gate", run, "gate", states={"awaiting_input"}, seconds=180)
    assert operator.gate("lab.gate", run, "gate")["subject"] == "Go on?"
    path = f"/dags/lab.gate/dagRuns/{run}/taskInstances/gate/-1/hitlDetails"
    assert viewer.raw("PATCH", path, json={"chosen_options": ["Approve"]}).status_code == 403
    operator.answer("lab.gate", run, "gate")
    assert operator.wait_for_run("lab.gate", run, seconds=180) == "success"
    assert operator.xcom("lab.gate", run, "before") == 41
    assert operator.xcom("lab.gate", run, "after", map_index=1) == 3
    assert "the task before" in operator.log("lab.gate", run, "before")
    assert viewer.task_states("lab.gate", run)["after[0]"] == "success"


def test_cleared_tasks_run_again_and_states_can_be_set(airflow: AirflowStandalone) -> None:
    operator = airflow.client()
    run = operator.trigger("lab.gate")
    operator.wait_for_task("lab.gate", run, "gate", states={"awaiting_input"}, seconds=180)
    operator.set_state("lab.gate", run, "gate", "success")
    operator.wait_for_run("lab.gate", run, seconds=180)
    assert set(operator.clear("lab.gate", run, ["after"])) == {"after"}
    assert operator.wait_for_run("lab.gate", run, seconds=180) == "success"
