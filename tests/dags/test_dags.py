"""What Airflow sees of the repository's DAG folder."""

import shutil
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
PLANS = REPOSITORY / "include" / "migrations"

MIGRATE = "shop.migrate"
ROLLBACK = "shop.rollback"
DMS = "shop_dms.migrate"
VALIDATE = ("validate.begin", "validate.rows", "validate.report")
RECONCILE = ("reconcile.finish", "reconcile.begin", "reconcile.rows", "reconcile.report")
CHECKS = {"validate.checks", "reconcile.checks"}
IN_ORDER = (
    "assess",
    "prepare",
    "load",
    "harden",
    "catch_up.slot_lag",
    *VALIDATE,
    "rehearse",
    "window",
    "approve_cutover",
    "cutover",
    *RECONCILE,
)

IN_ORDER_WITH_DMS = (
    "assess",
    "prepare",
    "provision",
    "size_lobs",
    "drop_not_null",
    "load.map_tables",
    "load.create_task",
    "load.start_task",
    "load.task_running",
    "load.full_load",
    "harden",
    "resume_task",
    "catch_up.cdc_latency",
    *VALIDATE,
    "rehearse",
    "window",
    "approve_cutover",
    "cutover",
    *RECONCILE,
)
BESIDE_WITH_DMS = {"catch_up.slot_lag", "check_lobs", "cutover_guard", *CHECKS}


def test_every_file_loads(repository):
    assert repository.import_errors == {}
    assert repository.files == {
        "shop.migrate": "shop.py",
        "shop.rollback": "shop.py",
        "shop.cleanup": "shop.py",
        "shop.guard": "shop.py",
        "shop.validate": "shop.py",
        "shop_dms.migrate": "shop_dms.py",
        "shop_dms.rollback": "shop_dms.py",
        "shop_dms.cleanup": "shop_dms.py",
        "shop_dms.guard": "shop_dms.py",
        "shop_dms.validate": "shop_dms.py",
        "abort": "abort.py",
        "example_own_dag": "example_own_dag.py",
    }


def test_the_graph_is_one_line_from_assess_to_reconcile(repository):
    tasks = repository.tasks(MIGRATE)
    assert set(tasks) == {*IN_ORDER, "catch_up.caught_up", "cutover_guard", *CHECKS}
    for before, after in pairwise(IN_ORDER):
        assert after in tasks[before]["downstream_task_ids"]
    assert "validate.begin" in tasks["catch_up.caught_up"]["downstream_task_ids"]
    assert not tasks["reconcile.report"].get("downstream_task_ids")


def test_with_dms_the_same_line_has_its_tasks_in_between(repository):
    tasks = repository.tasks(DMS)
    assert set(tasks) == {*IN_ORDER_WITH_DMS, *BESIDE_WITH_DMS}
    for before, after in pairwise(IN_ORDER_WITH_DMS):
        assert after in tasks[before]["downstream_task_ids"]
    assert set(tasks["resume_task"]["downstream_task_ids"]) == {"catch_up.slot_lag", "catch_up.cdc_latency"}
    for last in ("catch_up.slot_lag", "catch_up.cdc_latency"):
        assert set(tasks[last]["downstream_task_ids"]) == {"validate.begin", "check_lobs"}
    assert tasks["check_lobs"]["downstream_task_ids"] == ["rehearse"]


@pytest.fixture(scope="session")
def everything(parse, tmp_path_factory):
    """The DAG of a plan with DMS that asks for all that is optional."""
    dags, plans = tmp_path_factory.mktemp("dags"), tmp_path_factory.mktemp("plans")
    shutil.copytree(REPOSITORY / "dags" / "crossfade_dags", dags / "crossfade_dags")
    shutil.copy(REPOSITORY / "dags" / ".airflowignore", dags)
    (dags / "full.py").write_text((REPOSITORY / "dags" / "shop_dms.py").read_text().replace("shop_dms", "full"))
    plan = yaml.safe_load((PLANS / "shop_dms.yaml").read_text())
    plan["dms"] |= {"validation": True, "assessment": {"role": "arn:aws:iam::1:role/a", "bucket": "results"}}
    plan["rollback"] = {"way_back": "dms"}
    plan["validate"] = {"schedule": "0 3 * * *", "mode": "sample"}
    (plans / "full.yaml").write_text(yaml.safe_dump(plan))
    found = parse(dags, plans)
    assert found.import_errors == {}
    return found


def test_a_way_back_by_dms_is_started_and_proved_after_the_cutover_and_after_a_rollback(everything):
    tasks = everything.tasks("full.migrate")
    assert "start_way_back" in tasks["cutover"]["downstream_task_ids"]
    assert tasks["start_way_back"]["downstream_task_ids"] == ["way_back_proved"]
    assert tasks["way_back_proved"]["downstream_task_ids"] == ["reconcile.finish"]
    assert tasks["way_back_proved"]["replication_task_id"] == "crossfade-full-back"
    back = everything.tasks("full.rollback")
    assert "start_way_forward" in back["rollback"]["downstream_task_ids"]
    assert back["start_way_forward"]["downstream_task_ids"] == ["way_forward_proved"]
    assert back["way_forward_proved"]["downstream_task_ids"] == ["confirm"]
    assert back["way_forward_proved"]["replication_task_id"] == "crossfade-full-again"


def test_what_is_optional_with_dms_has_its_place(everything):
    tasks = everything.tasks("full.migrate")
    assert tasks["load.create_task"]["downstream_task_ids"] == ["load.dms_assessment"]
    assert tasks["load.dms_assessment"]["downstream_task_ids"] == ["load.start_task"]
    assert "dms_validation" in tasks["catch_up.cdc_latency"]["downstream_task_ids"]
    assert tasks["dms_validation"]["downstream_task_ids"] == ["rehearse"]
    for name, task in tasks.items():
        assert "*When it fails" in task["doc_md"], name


def test_sensors_of_dms_watch_the_plans_task(everything):
    tasks = everything.tasks("full.migrate")
    for name in ("load.task_running", "load.full_load", "catch_up.cdc_latency", "dms_validation"):
        assert tasks[name]["replication_task_id"] == "crossfade-full"
        assert tasks[name]["plan"] == "full"
    assert tasks["catch_up.cdc_latency"]["stream"] == "full_1"


def test_the_slot_and_the_definition_come_from_the_tasks_that_know_them(everything):
    tasks = everything.tasks("full.migrate")
    assert "resume_task" in str(tasks["catch_up.slot_lag"]["slots"])
    assert "load.map_tables" in str(tasks["load.create_task"]["definition"])


@pytest.mark.parametrize("plan", ["shop", "shop_dms"])
def test_the_way_back_is_a_gate_the_rollback_and_its_confirmation(repository, plan):
    tasks = repository.tasks(f"{plan}.rollback")
    assert set(tasks) == {"approve_rollback", "rollback", "rollback_guard", "confirm"}
    assert set(tasks["approve_rollback"]["downstream_task_ids"]) == {"rollback", "rollback_guard"}
    assert tasks["rollback"]["downstream_task_ids"] == ["confirm"]
    assert (tasks["rollback"]["plan"], tasks["rollback"]["target_conn_id"]) == (plan, "shop_target")


@pytest.mark.parametrize(
    ("dag", "task"), [(MIGRATE, "cutover"), (DMS, "cutover"), (ROLLBACK, "rollback"), ("shop_dms.rollback", "rollback")]
)
def test_a_guard_starts_with_each_cutover_and_rollback_and_holds_nothing_up(repository, dag, task):
    tasks = repository.tasks(dag)
    guard = tasks[f"{task}_guard"]
    assert f"{task}_guard" in tasks[f"approve_{task}"]["downstream_task_ids"]
    assert not guard.get("downstream_task_ids")
    assert (guard["guarded"], guard["gate"]) == (task, f"approve_{task}")
    assert (guard["source_conn_id"], guard["target_conn_id"]) == ("shop_source", "shop_target")


@pytest.mark.parametrize(
    ("dag", "singular"),
    [
        (MIGRATE, {"approve_cutover", "cutover"}),
        (DMS, {"approve_cutover", "cutover"}),
        (ROLLBACK, {"approve_rollback", "rollback"}),
    ],
)
def test_only_what_must_not_run_twice_by_itself_has_no_retries(repository, dag, singular):
    retries = {name: task.get("retries", 0) for name, task in repository.tasks(dag).items()}
    assert {name for name, count in retries.items() if count == 0} == singular


@pytest.mark.parametrize(("dag", "gate"), [(MIGRATE, "approve_cutover"), (ROLLBACK, "approve_rollback")])
def test_a_gate_that_waits_for_days_is_not_ended_by_an_execution_timeout(repository, dag, gate):
    assert "execution_timeout" not in str(repository.dags[dag]["default_args"])
    assert "execution_timeout" not in repository.tasks(dag)[gate]


@pytest.mark.parametrize(("dag", "task"), [(MIGRATE, "cutover"), (ROLLBACK, "rollback")])
def test_what_follows_a_gate_runs_only_where_it_was_approved(repository, dag, task):
    gate = repository.tasks(dag)[f"approve_{task}"]
    assert gate.get("trigger_rule", "all_success") == "all_success"
    assert repository.tasks(dag)[task].get("trigger_rule", "all_success") == "all_success"


def test_no_task_but_a_report_runs_although_an_earlier_one_failed(repository):
    """An all_done leaf would turn a failed run into a success. A report fails for itself: see `test_validation.py`."""
    for dag in repository.dags:
        for name, task in repository.tasks(dag).items():
            rule = task.get("trigger_rule", "all_success")
            report = name.endswith(".report") and rule == "all_done_min_one_success"
            assert rule == "all_success" or task.get("is_teardown") or report, name


@pytest.mark.parametrize("dag", [MIGRATE, DMS, "shop.validate"])
def test_a_validation_is_a_task_a_batch_beside_its_checks_and_a_report_of_both(repository, dag):
    tasks = repository.tasks(dag)
    assert set(tasks["validate.begin"]["downstream_task_ids"]) == {
        "validate.checks",
        "validate.rows",
        "validate.report",  # whose id of the validation it takes
    }
    for name in ("validate.checks", "validate.rows"):
        assert tasks[name]["downstream_task_ids"] == ["validate.report"]
    assert tasks["validate.rows"]["_is_mapped"]
    assert tasks["validate.rows"]["max_active_tis_per_dagrun"] == 1
    assert tasks["validate.report"]["trigger_rule"] == "all_done_min_one_success"


def test_every_night_by_the_plans_cron_one_at_a_time_and_without_catching_up(everything, repository):
    dag = everything.dags["full.validate"]
    assert "0 3 * * *" in str(dag["timetable"])
    assert (dag["catchup"], dag["max_active_runs"]) == (False, 1)
    assert dict(dag["params"])["mode"]["default"] == "sample"
    assert everything.tasks("full.validate")["validate.begin"]["mode"] == "{{ params.mode }}"
    assert repository.tasks(MIGRATE)["validate.begin"].get("mode", "full") == "full"


@pytest.mark.parametrize("dag", [MIGRATE, ROLLBACK])
def test_one_run_at_a_time_and_only_by_hand(repository, dag):
    dag = repository.dags[dag]
    assert dag["max_active_runs"] == 1
    assert not dag["catchup"]
    assert "NullTimetable" in str(dag["timetable"])


def test_the_way_out_is_never_paused_and_a_triggered_migration_does_not_stay_queued(repository):
    assert repository.dags["abort"]["is_paused_upon_creation"] is False
    for dag in (MIGRATE, ROLLBACK):
        assert repository.dags[dag]["is_paused_upon_creation"] is False


@pytest.mark.parametrize("dag", [MIGRATE, DMS, ROLLBACK, "shop.validate", "abort", "example_own_dag"])
def test_every_task_says_what_it_does_and_what_to_do_when_it_fails(repository, dag):
    assert repository.dags[dag]["doc_md"]
    for name, task in repository.tasks(dag).items():
        assert len(task.get("doc_md", "")) > 60, name
        if dag in (MIGRATE, DMS, ROLLBACK):
            assert "*When it fails" in task["doc_md"], name


def test_stop_after_offers_every_task_but_the_last(repository):
    stop_after = dict(repository.dags[MIGRATE]["params"])["stop_after"]
    values = stop_after["schema"]["__var"]["enum"]
    assert values[0] is None
    assert values[1:] == list(dict.fromkeys(name.split(".")[0] for name in IN_ORDER if name not in RECONCILE))


def test_stop_after_offers_what_runs_beside_another_task_too(everything):
    stop_after = dict(everything.dags["full.migrate"]["params"])["stop_after"]
    values = stop_after["schema"]["__var"]["enum"]
    in_order = dict.fromkeys(name.split(".")[0] for name in IN_ORDER_WITH_DMS if name not in RECONCILE)
    assert [value for value in values if value not in (None, "check_lobs", "dms_validation")] == list(in_order)
    assert {"check_lobs", "dms_validation"} < set(values)


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
