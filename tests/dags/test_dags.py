"""What Airflow sees of the repository's DAG folder."""

import sys
from itertools import pairwise

import pytest

MIGRATE = "shop.migrate"
IN_ORDER = (
    "assess",
    "prepare",
    "load",
    "harden",
    "catch_up.slot_lag",
    "validate",
    "rehearse",
    "approve_cutover",
    "cutover",
    "reconcile",
)


def test_every_file_loads(repository):
    assert repository.import_errors == {}
    assert repository.files == {
        "shop.migrate": "shop.py",
        "abort": "abort.py",
        "example_own_dag": "example_own_dag.py",
    }


def test_the_graph_is_one_line_from_assess_to_reconcile(repository):
    tasks = repository.tasks(MIGRATE)
    assert set(tasks) == {*IN_ORDER, "catch_up.caught_up"}
    for before, after in pairwise(IN_ORDER):
        assert after in tasks[before]["downstream_task_ids"]
    assert "validate" in tasks["catch_up.caught_up"]["downstream_task_ids"]
    assert not tasks["reconcile"].get("downstream_task_ids")


def test_only_what_must_not_run_twice_by_itself_has_no_retries(repository):
    retries = {name: task.get("retries", 0) for name, task in repository.tasks(MIGRATE).items()}
    assert {name for name, count in retries.items() if count == 0} == {"approve_cutover", "cutover"}


def test_a_gate_that_waits_for_days_is_not_ended_by_an_execution_timeout(repository):
    dag = repository.dags[MIGRATE]
    assert "execution_timeout" not in str(dag["default_args"])
    assert "execution_timeout" not in repository.tasks(MIGRATE)["approve_cutover"]


def test_the_gate_rejects_by_default_and_never_approves(repository):
    gate = repository.tasks(MIGRATE)["approve_cutover"]
    assert gate.get("trigger_rule", "all_success") == "all_success"
    assert repository.tasks(MIGRATE)["cutover"].get("trigger_rule", "all_success") == "all_success"


def test_no_task_runs_although_an_earlier_one_failed(repository):
    """An all_done leaf would turn a failed run into a success."""
    for dag in repository.dags:
        for task in repository.tasks(dag).values():
            assert task.get("trigger_rule", "all_success") == "all_success" or task.get("is_teardown")


def test_one_run_of_a_migration_at_a_time_and_only_by_hand(repository):
    dag = repository.dags[MIGRATE]
    assert dag["max_active_runs"] == 1
    assert not dag["catchup"]
    assert "NullTimetable" in str(dag["timetable"])


def test_the_way_out_is_never_paused_and_a_triggered_migration_does_not_stay_queued(repository):
    assert repository.dags["abort"]["is_paused_upon_creation"] is False
    assert repository.dags[MIGRATE]["is_paused_upon_creation"] is False


@pytest.mark.parametrize("dag", ["shop.migrate", "abort", "example_own_dag"])
def test_every_task_says_what_it_does_and_what_to_do_when_it_fails(repository, dag):
    assert repository.dags[dag]["doc_md"]
    for name, task in repository.tasks(dag).items():
        assert len(task.get("doc_md", "")) > 60, name
        if dag == MIGRATE:
            assert "*When it fails" in task["doc_md"], name


def test_stop_after_offers_every_task_but_the_last(repository):
    stop_after = dict(repository.dags[MIGRATE]["params"])["stop_after"]
    values = stop_after["schema"]["__var"]["enum"]
    assert values[0] is None
    assert values[1:] == [name.split(".")[0] for name in IN_ORDER[:-1]]


def test_tasks_wait_in_no_pool_that_may_be_missing(repository):
    for dag in repository.dags:
        for task in repository.tasks(dag).values():
            assert task.get("pool", "default_pool") == "default_pool"


def test_the_plugin_folder_replaces_no_module(repository):
    """Airflow executes every .py below plugins/ that is not ignored under its bare stem."""
    assert repository.plugin_errors == {}
    for name, file in repository.plugin_modules.items():
        assert name not in sys.stdlib_module_names, file
        assert name == "crossfade_plugin" or name.startswith(("crossfade_airflow", "crossfade_plugin")), file
