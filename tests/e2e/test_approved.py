"""
A migration that is approved, under load, while another plan's YAML is broken; what is refused afterwards; the way back.
"""

import time
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest

from crossfade_lab.verdict import verify
from crossfade_lab.workload import WorkloadProcess

pytestmark = pytest.mark.e2e

DAG, GATE = "approved.migrate", "approve_cutover"


@pytest.fixture(scope="module")
def story(stage):
    """The whole migration with clients writing, and what was seen on the way."""
    broken = stage.plan_file("doubted")
    whole = broken.read_text()
    spec = stage.workload("approved")
    seen = SimpleNamespace(gate=None, errors={}, run="")
    with WorkloadProcess(spec) as workload:
        seen.run = stage.migrate("approved")
        stage.until_the_gate("approved", seen.run)
        seen.gate = stage.client.gate(DAG, seen.run, GATE)
        broken.write_text(whole.replace("max_bytes", "max_byte"))
        deadline = time.monotonic() + 240
        while not seen.errors and time.monotonic() < deadline:
            seen.errors = stage.client.import_errors()
            time.sleep(0.5)
        stage.client.answer(DAG, seen.run, GATE)
        seen.state = stage.client.wait_for_run(DAG, seen.run, seconds=240)
        broken.write_text(whole)
        time.sleep(3)
        seen.failed = workload.status()["failed"]
    seen.tasks = stage.client.task_states(DAG, seen.run)
    seen.ledger = Path(spec.directory)
    return seen


def test_it_completes_and_the_application_is_on_the_target(stage, story):
    assert story.state == "success", story.tasks
    assert set(story.tasks.values()) == {"success"}
    assert stage.serving("approved") == "target"


def test_no_acknowledged_write_is_lost_or_doubled_and_no_client_saw_an_error(stage, story):
    verdict = verify(story.ledger, stage.through_the_pooler("approved", "shop_owner"))
    assert verdict.ok, verdict.examples
    assert verdict.acked_writes > 100
    assert story.failed == 0


def test_the_gate_shows_what_is_needed_to_decide(story):
    body = story.gate["body"]
    assert "predicted pause" in body
    assert "all equal" in body
    assert [user["id"] for user in story.gate["assigned_users"]] == ["operator"]
    assert story.gate["defaults"] == ["Reject"]


def test_the_approval_is_in_the_journal_with_plan_and_validation(stage, story):
    with stage.target.connect("approved") as connection:
        rows = connection.execute(
            """
            SELECT a.approver, a.run_id, a.plan_hash = m.hash, v.equal
            FROM crossfade.approval a JOIN crossfade.migration m ON m.id = a.migration_id
            JOIN crossfade.validation v ON v.id = a.validation_id"""
        ).fetchall()
    assert rows == [("operator", story.run, True, True)]


def test_the_other_plans_broken_yaml_is_an_import_error_that_names_file_and_key(story):
    assert [file.rsplit("/", 1)[-1] for file in story.errors] == ["doubted.py"]
    assert "doubted.yaml: lag.max_byte: unknown key. Did you mean 'max_bytes'?" in next(iter(story.errors.values()))


def test_progress_shows_in_the_task_log_and_a_mapped_task_is_named_after_its_tables(stage, story):
    assert "rows copied" in stage.log(DAG, story.run, "load")
    waves = [task for task in stage.client.task_instances(DAG, story.run) if task["task_id"] == "load"]
    assert len(waves) == 2
    assert all("public." in task["rendered_map_index"] for task in waves)


def test_the_cutovers_steps_are_its_xcom(stage, story):
    summary = stage.client.xcom(DAG, story.run, "cutover")
    assert 0 < summary["paused_ms"] < 5000
    assert "decide" in [step["name"] for step in summary["steps"]]


def test_both_validations_have_a_report_and_xcom_only_verdict_and_path(stage, story):
    for group in ("validate", "reconcile"):
        told = stage.client.xcom(DAG, story.run, f"{group}.report")
        assert told["verdict"] == "ok"
        page = Path(told["path"].removeprefix("file://")).read_text()
        assert "public.orders" in page
        batches = [task for task in stage.client.task_instances(DAG, story.run) if task["task_id"] == f"{group}.rows"]
        assert batches
        assert all("public." in task["rendered_map_index"] for task in batches)


def test_a_nightly_validation_fails_on_a_difference_and_its_tasks_can_be_cleared_one_by_one(stage, story):
    dag = "approved.validate"
    with psycopg.connect(stage.source.dsn(dbname="approved"), autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")  # past the way back
        connection.execute("UPDATE customers SET name = name || ' ' WHERE id = 2")
        stage.client.wait_for_dag(dag)
        run = stage.client.trigger(dag)
        assert stage.client.wait_for_run(dag, run, seconds=240) == "failed"
        states = stage.client.task_states(dag, run)
        assert {task for task, state in states.items() if state == "failed"} == {"validate.rows[0]", "validate.report"}
        assert "(id=2) differs in name" in stage.log(dag, run, "validate.report")
        told = stage.client.xcom(dag, run, "validate.report", key="validation_report")
        assert told["verdict"] == "mismatch"
        assert "public.customers" in Path(told["path"].removeprefix("file://")).read_text()

        connection.execute("UPDATE customers SET name = rtrim(name) WHERE id = 2")
    cleared = stage.client.clear(dag, run, ["validate.rows"], only_failed=True)
    assert stage.client.wait_for_run(dag, run, seconds=240) == "success", stage.client.task_states(dag, run)
    assert set(cleared) == {"validate.rows", "validate.report"}
    assert stage.client.xcom(dag, run, "validate.report")["verdict"] == "ok"


def test_no_password_shows_in_any_log_or_rendered_field(stage, story):
    secrets = [stage.logins.crossfade, stage.bouncer.admin_password]
    logs = [path for path in stage.airflow.home.rglob("*.log") if path.is_file()]
    assert len(logs) > 5
    for path in logs:
        text = path.read_text(errors="replace")
        assert not any(secret in text for secret in secrets), path
    fields = str(stage.client.task_instances(DAG, story.run))
    assert not any(secret in fields for secret in secrets)


def test_clearing_the_load_after_the_cutover_is_refused(stage, story):
    before = _orders(stage)
    stage.client.clear(DAG, story.run, ["load"], downstream=False)
    state = stage.client.wait_for_task(DAG, story.run, "load[0]", states={"failed", "success", "up_for_retry"})
    assert state == "failed"
    assert "load was refused: the migration 'approved' is cut over" in stage.log(DAG, story.run, "load[0]")
    assert _orders(stage) >= before


@pytest.fixture(scope="module")
def back(stage, story):
    """The way back, with clients writing to the target until then, and to the source from then on."""
    seen = SimpleNamespace(dag="approved.rollback")
    with WorkloadProcess(stage.workload("approved")) as workload:
        seen.run = stage.roll_back("approved")
        seen.state = stage.client.wait_for_run(seen.dag, seen.run, seconds=240)
        seen.failed = workload.status()["failed"]
    seen.tasks = stage.client.task_states(seen.dag, seen.run)
    return seen


def test_the_way_back_loses_nothing_of_what_either_side_took(stage, story, back):
    assert back.state == "success", [stage.log(back.dag, back.run, task) for task in back.tasks]
    assert set(back.tasks.values()) == {"success"}
    assert stage.serving("approved") == "source"
    verdict = verify(story.ledger, stage.through_the_pooler("approved", "shop_owner"))
    assert verdict.ok, verdict.examples
    assert back.failed == 0


def test_the_gate_of_the_way_back_tells_what_the_target_has_taken(stage, back):
    body = stage.client.gate(back.dag, back.run, "approve_rollback")["body"]
    assert "row changes on the target since | about " in body
    assert "a watermark's way to the source" in body
    assert "the way back is promised | for 47 h" in body


def test_the_guards_had_nothing_to_do_and_ended_with_what_they_guarded(stage, story, back):
    for dag, run, task in ((DAG, story.run, "cutover_guard"), (back.dag, back.run, "rollback_guard")):
        assert stage.client.xcom(dag, run, task) == {"task_state": "success", "settled": []}
        assert "there was nothing to do" in stage.log(dag, run, task)
    assert stage.client.xcom(back.dag, back.run, "confirm")[2] == "clients are led to the source"


def _orders(stage):
    with stage.target.connect("approved") as connection:
        return connection.execute("SELECT count(*) FROM public.orders").fetchone()[0]
