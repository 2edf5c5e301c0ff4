"""Hooks of a plan that are DAGs have their place around the cutover, and are nowhere where there are none."""

import shutil
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
HOOKS = {
    "before": [
        {"dag": "stop_workers"},
        {"sql": "select 1"},
        {"dag": "warm.up", "conf": {"rows": 10}, "on_failure": "go_on"},
    ],
    "after": [{"dag": "start_workers"}, {"dag": "tell"}],
    "undone": [{"dag": "start_workers"}],
}


@pytest.fixture(scope="session")
def hooked(parse, tmp_path_factory):
    """The DAGs of both engines, with hooks."""
    dags, plans = tmp_path_factory.mktemp("dags"), tmp_path_factory.mktemp("plans")
    shutil.copytree(REPOSITORY / "dags" / "crossfade_dags", dags / "crossfade_dags")
    shutil.copy(REPOSITORY / "dags" / ".airflowignore", dags)
    for name in ("shop", "shop_dms"):
        shutil.copy(REPOSITORY / "dags" / f"{name}.py", dags)
        plan = yaml.safe_load((REPOSITORY / "include" / "migrations" / f"{name}.yaml").read_text())
        plan["cutover"]["hooks"] = HOOKS
        (plans / f"{name}.yaml").write_text(yaml.safe_dump(plan))
    found = parse(dags, plans)
    assert found.import_errors == {}
    return found


@pytest.fixture(params=["shop.migrate", "shop_dms.migrate"])
def dag(request):
    return request.param


def downstream(tasks, name):
    return set(tasks[name].get("downstream_task_ids", ()))


def test_those_before_stand_one_after_the_other_between_gate_and_cutover(hooked, dag):
    tasks = hooked.tasks(dag)
    first, second, undone = "hooks_before.1_stop_workers", "hooks_before.2_warm.up", "hooks_undone.1_start_workers"
    assert downstream(tasks, "approve_cutover") == {first}
    assert downstream(tasks, first) == {second, undone}
    assert downstream(tasks, second) == {"cutover", "cutover_guard", undone}


def test_those_after_run_beside_the_reconciliation(hooked, dag):
    tasks = hooked.tasks(dag)
    after = {"hooks_after.1_start_workers", "hooks_after.2_tell"}
    assert downstream(tasks, "cutover") == {"reconcile.finish", "hooks_undone.1_start_workers", *after}
    assert not any(downstream(tasks, name) for name in after)


def test_only_those_of_undone_run_after_a_failure_and_they_do_not_hide_it(hooked, dag):
    tasks = hooked.tasks(dag)
    rules = {name: task.get("trigger_rule", "all_success") for name, task in tasks.items()}
    assert {name: rule for name, rule in rules.items() if rule != "all_success"} == {
        "hooks_undone.1_start_workers": "one_failed",
        "validate.report": "all_done_min_one_success",
        "reconcile.report": "all_done_min_one_success",
    }
    assert not downstream(tasks, "reconcile.report"), "a leaf that is then upstream_failed, and so is the run"


def test_none_is_run_twice_by_itself_and_each_says_what_to_do_when_it_fails(hooked, dag):
    hooks = {name: task for name, task in hooked.tasks(dag).items() if name.startswith("hooks_")}
    assert len(hooks) == 5
    for name, task in hooks.items():
        assert task.get("retries", 0) == 0, name
        assert "*When it fails" in task["doc_md"]


def test_each_tells_its_dag_what_is_happening(hooked, dag):
    task = hooked.tasks(dag)["hooks_before.2_warm.up"]
    assert task["trigger_dag_id"] == "warm.up"
    conf = task["conf"].get("__var", task["conf"])
    told = conf["crossfade"].get("__var", conf["crossfade"])
    assert conf["rows"] == 10
    assert told == {"plan": dag.split(".")[0], "event": "before", "direction": "forward", "rehearsal": False}


def test_a_run_cannot_be_stopped_between_a_hook_and_the_cutover(hooked, dag):
    stop_after = dict(hooked.dags[dag]["params"])["stop_after"]["schema"]["__var"]["enum"]
    assert "cutover" in stop_after
    assert not [name for name in stop_after if name and name.startswith("hooks_")]


def test_without_hooks_there_are_no_tasks_of_them(repository, dag):
    assert not [name for name in repository.tasks(dag) if name.startswith("hooks_")]


def test_they_stand_around_the_way_back_too_and_are_told_so(hooked):
    tasks = hooked.tasks("shop.rollback")
    first, second, undone = "hooks_before.1_stop_workers", "hooks_before.2_warm.up", "hooks_undone.1_start_workers"
    assert downstream(tasks, "approve_rollback") == {first}
    assert downstream(tasks, second) == {"rollback", "rollback_guard", undone}
    assert "hooks_after.2_tell" in downstream(tasks, "rollback")
    conf = tasks[first]["conf"].get("__var", tasks[first]["conf"])
    told = conf["crossfade"].get("__var", conf["crossfade"])
    assert (told["plan"], told["direction"]) == ("shop", "back")
