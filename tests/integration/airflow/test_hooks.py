"""In a real Airflow: DAGs that are hooks around a cutover, told what is happening; and a window that opens soon."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from crossfade import control
from crossfade.connect import Endpoint
from crossfade.journal import Journal
from crossfade.plan import parse_plan
from crossfade.routers.base import Side
from crossfade_lab import testing
from crossfade_lab.airflow import AirflowStandalone
from crossfade_lab.airflow_client import AirflowClient

pytestmark = [pytest.mark.e2e, pytest.mark.slow]  # a second Airflow beside that of tests/e2e

REPOSITORY = Path(__file__).parents[3]
HOOK = """
from airflow.sdk import dag, task

def make(name, fails):
    @dag(dag_id=name, schedule=None)
    def hook():
        @task
        def run():
            if fails:
                raise ValueError("as asked")
        run()
    hook()

make("stop_workers", False)
make("start_workers", False)
make("flaky", True)
"""
AROUND = """
from airflow.sdk import DAG, task
from crossfade.plan import load_plan
from crossfade_airflow.operators.hook_dag import unusable_dags
from crossfade_airflow.sensors import CutoverWindowSensor
from crossfade_dags.hooks import with_hooks

plan = load_plan("shop.yaml")
with DAG("shop.around", schedule=None, params={"fails": False}):
    @task
    def gate(**context):
        return unusable_dags(load_plan("misspelled.yaml"), context)

    @task
    def cutover(params=None):
        if params["fails"]:
            raise ValueError("as asked")

    @task
    def reconcile():
        pass

    asked, moved = gate(), cutover()
    CutoverWindowSensor(task_id="window", plan="shop", target_conn_id="target") >> asked
    with_hooks(plan, asked, moved)
    moved >> reconcile()
"""
PLAN = {
    "source": "source",
    "target": "target",
    "routers": [{"kind": "pgbouncer", "admin": "a", "database": "d", "switch": {"file": "f"}}],
    "cutover": {
        "approvers": ["alice"],
        "application_roles": ["shop_app"],
        "hooks": {
            "before": [{"dag": "flaky", "on_failure": "go_on"}, {"dag": "stop_workers", "conf": {"wait": 1}}],
            "after": [{"dag": "start_workers"}],
            "undone": [{"dag": "start_workers"}],
        },
    },
}


def pin(endpoint: Endpoint, window: str | None) -> None:
    """Put the plan, with that window, into the journal."""
    cutover = {**PLAN["cutover"], "window": window}  # type: ignore[dict-item]
    with endpoint.session("test") as conn:
        control.install(conn, Side.TARGET)
        Journal(conn).pin(parse_plan({**PLAN, "cutover": cutover}, name="shop"))


@pytest.fixture(scope="module")
def journal() -> Iterator[Endpoint]:
    with testing.server(18) as server:
        yield Endpoint.from_dsn("target", server.dsn())


@pytest.fixture(scope="module")
def operator(journal: Endpoint) -> Iterator[AirflowClient]:
    with testing.server(18) as metadata, testing.scratch_directory() as directory:
        dags, plans = directory / "dags", directory / "plans"
        plans.mkdir()
        shutil.copytree(REPOSITORY / "dags" / "crossfade_dags", dags / "crossfade_dags")
        shutil.copy(REPOSITORY / "dags" / ".airflowignore", dags)
        (dags / "hook.py").write_text(HOOK)
        (dags / "around.py").write_text(AROUND)
        (plans / "shop.yaml").write_text(yaml.safe_dump(PLAN))
        hooks = {"before": [{"dag": "stop_workers"}, {"dag": "stop_wrokers"}]}
        misspelled = {**PLAN["cutover"], "hooks": hooks}  # type: ignore[dict-item]
        (plans / "misspelled.yaml").write_text(yaml.safe_dump({**PLAN, "cutover": misspelled}))
        target = {
            "conn_type": "postgres",
            "host": journal.host,
            "port": journal.port,
            "schema": journal.dbname,
            "login": journal.user,
            "password": journal.password,
        }
        airflow = AirflowStandalone(
            directory / "home",
            metadata,
            dags=dags,
            connections={"target": target, "source": target},
            environment={"CROSSFADE_PLANS": str(plans)},
        )
        with airflow:
            client = airflow.client()
            for dag in ("shop.around", "stop_workers", "start_workers", "flaky"):
                client.wait_for_dag(dag)
            assert client.import_errors() == {}
            yield client


def told(operator: AirflowClient, dag: str) -> list[dict[str, object]]:
    """The conf of every run of that DAG, oldest first."""
    runs = operator.call("GET", f"/dags/{dag}/dagRuns?order_by=start_date")["dag_runs"]
    return [run["conf"] for run in runs]


def test_hooks_around_a_cutover_that_ends_well_once_its_window_has_opened(
    operator: AirflowClient, journal: Endpoint
) -> None:
    opens = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
    pin(journal, f"Mon-Sun {opens:%H:%M}-{opens + timedelta(minutes=60):%H:%M} UTC")
    run = operator.trigger("shop.around")
    assert operator.wait_for_run("shop.around", run) == "success"
    states = operator.task_states("shop.around", run)
    assert states.pop("hooks_undone.1_start_workers") == "skipped"
    assert set(states.values()) == {"success"}, states
    tasks = {task["task_id"]: task for task in operator.task_instances("shop.around", run)}
    assert datetime.fromisoformat(tasks["gate"]["start_date"].replace("Z", "+00:00")) >= opens
    (unusable,) = operator.xcom("shop.around", run, "gate")
    assert unusable.startswith("the DAG stop_wrokers, a hook of the plan, cannot be found")
    (stopped,) = told(operator, "stop_workers")
    assert stopped["wait"] == 1
    assert stopped["crossfade"] == {"plan": "shop", "event": "before", "direction": "forward", "rehearsal": False}
    (started,) = told(operator, "start_workers")
    assert started["crossfade"]["event"] == "after"  # type: ignore[index]
    assert len(told(operator, "flaky")) == 1, "its failure was to be gone on from"


def test_where_the_cutover_fails_what_was_begun_is_taken_back_and_the_run_stays_failed(
    operator: AirflowClient, journal: Endpoint
) -> None:
    pin(journal, None)
    stopped = len(told(operator, "stop_workers"))
    run = operator.trigger("shop.around", {"fails": True})
    assert operator.wait_for_run("shop.around", run) == "failed"
    states = operator.task_states("shop.around", run)
    assert states["cutover"] == "failed"
    assert states["hooks_undone.1_start_workers"] == "success"
    assert len(told(operator, "stop_workers")) == stopped + 1
    assert states["hooks_after.1_start_workers"] == states["reconcile"] == "upstream_failed"
    assert told(operator, "start_workers")[-1]["crossfade"]["event"] == "undone"  # type: ignore[index]
