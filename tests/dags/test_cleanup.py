"""What Airflow sees of ``<plan>.cleanup``."""

import pytest


@pytest.mark.parametrize("plan", ["shop", "shop_dms"])
def test_the_end_is_a_gate_and_the_cleanup(repository, plan):
    dag, tasks = repository.dags[f"{plan}.cleanup"], repository.tasks(f"{plan}.cleanup")
    assert set(tasks) == {"approve_cleanup", "cleanup"}
    assert tasks["approve_cleanup"]["downstream_task_ids"] == ["cleanup"]
    assert {name: task.get("retries", 0) for name, task in tasks.items()} == {"approve_cleanup": 0, "cleanup": 0}
    assert tasks["cleanup"].get("trigger_rule", "all_success") == "all_success"
    assert (tasks["cleanup"]["source_conn_id"], tasks["cleanup"]["target_conn_id"]) == ("shop_source", "shop_target")
    assert (dag["max_active_runs"], dag["catchup"], dag["is_paused_upon_creation"]) == (1, False, False)
    assert "NullTimetable" in str(dag["timetable"])


def test_by_default_the_source_stays_closed_and_poolers_are_looked_at(repository):
    params = dict(repository.dags["shop.cleanup"]["params"])
    assert {name: param["default"] for name, param in params.items()} == {
        "reopen_source": False,
        "poolers_are_permanent": False,
    }
    task = repository.tasks("shop.cleanup")["cleanup"]
    assert task["reopen_source"] == "{{ params.reopen_source }}"
    assert task["poolers_are_permanent"] == "{{ params.poolers_are_permanent }}"


def test_every_task_says_what_it_does_and_what_to_do_when_it_fails(repository):
    assert "no shop.rollback" in repository.dags["shop.cleanup"]["doc_md"]
    for name, task in repository.tasks("shop.cleanup").items():
        assert "*When it fails" in task["doc_md"], name
