"""A migration by AWS DMS in a real Airflow, under load: its tasks, its sensors in the triggerer, its cutover."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from crossfade_lab.verdict import verify
from crossfade_lab.workload import WorkloadProcess

pytestmark = [pytest.mark.e2e, pytest.mark.slow]  # each task without a scheduler: dms_migration/test_operators.py

DAG, GATE = "carried.migrate", "approve_cutover"


@pytest.fixture(scope="module")
def story(stage):
    """The whole migration with clients writing."""
    spec = stage.workload("carried", rate=30)
    seen = SimpleNamespace(ledger=Path(spec.directory))
    with WorkloadProcess(spec) as workload:
        seen.run = stage.migrate("carried")
        stage.until_the_gate("carried", seen.run, seconds=480)
        seen.slots = stage.slots("carried")
        stage.client.answer(DAG, seen.run, GATE)
        seen.state = stage.client.wait_for_run(DAG, seen.run, seconds=240)
        seen.failed = workload.status()["failed"]
    seen.tasks = stage.client.task_states(DAG, seen.run)
    return seen


def test_every_task_succeeds_and_the_application_is_on_the_target(stage, story):
    assert story.state == "success", story.tasks
    assert set(story.tasks.values()) == {"success"}
    assert {"provision", "size_lobs", "load.full_load", "catch_up.cdc_latency", "check_lobs"} <= set(story.tasks)
    assert stage.serving("carried") == "target"


def test_no_acknowledged_write_is_lost_or_doubled_and_no_client_saw_an_error(stage, story):
    verdict = verify(story.ledger, stage.through_the_pooler("carried", "shop_owner"))
    assert verdict.ok, verdict.examples
    assert verdict.acked_writes > 100
    assert story.failed == 0


def test_the_load_shows_its_progress_and_the_latency_is_cloudwatchs(stage, story):
    assert "tables loaded" in stage.log(DAG, story.run, "load.full_load")
    assert "target latency" in stage.log(DAG, story.run, "catch_up.cdc_latency")


def test_its_slot_is_gone_and_no_secret_was_logged(stage, story):
    assert [active for _, active in story.slots] == [True]
    assert stage.slots("carried") == []
    logs = "".join(stage.log(DAG, story.run, task) for task in ("provision", "load.create_task", "cutover"))
    assert stage.logins.shop_dms not in logs


def test_it_can_go_back_natively_and_loses_nothing(stage, story):
    with WorkloadProcess(stage.workload("carried", rate=30)):
        run = stage.roll_back("carried")
        state = stage.client.wait_for_run("carried.rollback", run, seconds=240)
    tasks = stage.client.task_states("carried.rollback", run)
    assert state == "success", [stage.log("carried.rollback", run, task) for task in tasks]
    assert stage.serving("carried") == "source"
    verdict = verify(story.ledger, stage.through_the_pooler("carried", "shop_owner"))
    assert verdict.ok, verdict.examples
