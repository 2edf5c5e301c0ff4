"""What Airflow sees of ``<plan>.guard``."""

import pytest


@pytest.mark.parametrize("plan", ["shop", "shop_dms"])
def test_it_looks_every_five_minutes_one_run_at_a_time_and_is_never_paused(repository, plan):
    dag, tasks = repository.dags[f"{plan}.guard"], repository.tasks(f"{plan}.guard")
    assert set(tasks) == {"watch"}
    assert "*/5 * * * *" in str(dag["timetable"])
    assert (dag["max_active_runs"], dag["catchup"], dag["is_paused_upon_creation"]) == (1, False, False)
    assert dag.get("start_date"), "without one a cron schedule never runs"
    assert tasks["watch"].get("retries", 0) == 0
    assert "*When it fails" in tasks["watch"]["doc_md"]
    assert (tasks["watch"]["plan"], tasks["watch"]["plan_file"]) == (plan, f"{plan}.yaml")
