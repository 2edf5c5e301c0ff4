"""A dress rehearsal that ends early, and a worker that is killed while it copies."""

from contextlib import contextmanager

import pytest

from crossfade_lab.processes import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]  # a killed wave: tests/integration/migration/test_load.py

DAG = "killed.migrate"
BLOCKED = "payments"


def _copied(stage):
    """Tables of the plan whose rows have arrived, all but the blocked one."""
    with stage.target.connect("killed") as connection:
        query = "SELECT count(*) FROM crossfade.part WHERE rows > 0 AND table_name <> %s"
        return connection.execute(query, [f"public.{BLOCKED}"]).fetchone()[0]


def test_a_run_stops_after_the_task_it_was_told(stage):
    run = stage.migrate("killed", stop_after="prepare")
    assert stage.client.wait_for_run(DAG, run, seconds=240) == "success"
    states = stage.client.task_states(DAG, run)
    assert (states["assess"], states["prepare"]) == ("success", "success")
    rest = {state for task, state in states.items() if task not in ("assess", "prepare")}
    assert rest == {"skipped"}
    assert stage.slots("killed") == []


@contextmanager
def held_at_its_slot(stage):
    """Until the block ends, the load waits for a transaction that is open on the source."""
    with stage.source.connect("killed") as writer:
        writer.autocommit = False
        writer.execute("SELECT pg_current_xact_id()")
        yield
        writer.rollback()


def _waiting_for_slots(stage):
    query = "SELECT count(*) FROM pg_replication_slots WHERE database = 'killed' AND confirmed_flush_lsn IS NULL"
    with stage.source.connect() as connection:
        return connection.execute(query).fetchone()[0]


def _noticed(stage, run):
    """Whether Airflow has seen that the worker of a load is gone."""
    states = stage.client.task_states(DAG, run)
    return {states[task] for task in states if task.startswith("load")} & {"failed", "up_for_retry"}


def test_a_copy_killed_half_way_is_done_again_when_cleared_and_compares_equal(stage):
    with stage.target.connect("killed") as blocker:
        with held_at_its_slot(stage):
            run = stage.migrate("killed", stop_after="validate")
            seen = wait_until(lambda: _waiting_for_slots(stage) == 2, seconds=240, every=0.2)
            assert seen, stage.client.task_states(DAG, run)
            blocker.autocommit = False
            blocker.execute(f"LOCK TABLE public.{BLOCKED} IN ACCESS EXCLUSIVE MODE")
        # all tables are copied now but one, whose copy stands still
        assert wait_until(lambda: _copied(stage) > 0, seconds=240, every=0.1), stage.client.task_states(DAG, run)
        assert stage.kill_task(DAG, run, "load")
        blocker.rollback()
    assert wait_until(lambda: _noticed(stage, run), seconds=240, every=0.3), stage.client.task_states(DAG, run)
    stage.client.clear(DAG, run, ["load"])
    assert stage.client.wait_for_run(DAG, run, seconds=240) == "success", stage.client.task_states(DAG, run)
    tries = [task["try_number"] for task in stage.client.task_instances(DAG, run) if task["task_id"] == "load"]
    assert max(tries) > 1
    assert stage.client.task_states(DAG, run)["validate.report"] == "success"


@pytest.mark.slow
def test_a_complete_load_that_is_cleared_is_left_alone(stage):
    run = stage.migrate("killed", stop_after="load")
    assert stage.client.wait_for_run(DAG, run, seconds=240) == "success"
    before = stage.slots("killed")
    stage.client.clear(DAG, run, ["load"], downstream=False)
    assert stage.client.wait_for_run(DAG, run, seconds=240) == "success"
    assert stage.slots("killed") == before
    assert len(before) == 2
