"""A migration that is rejected first, whose gate somebody marks as success, and whose host is lost in the pause."""

import time

import psycopg
import pytest

from crossfade_lab.processes import wait_until

pytestmark = pytest.mark.e2e

DAG, GATE = "doubted.migrate", "approve_cutover"


@pytest.fixture(scope="module")
def rejected(stage):
    """A run that came to the gate and was rejected."""
    run = stage.migrate("doubted")
    stage.until_the_gate("doubted", run)
    stage.client.answer(DAG, run, GATE, "Reject")
    assert stage.client.wait_for_run(DAG, run, seconds=240) == "success"
    return run


def test_a_rejection_skips_the_cutover_and_says_how_to_go_on(stage, rejected):
    states = stage.client.task_states(DAG, rejected)
    assert (states[GATE], states["cutover"], states["reconcile.report"]) == ("success", "skipped", "skipped")
    log = stage.log(DAG, rejected, GATE)
    assert "rejected by operator. Nothing was changed" in log
    assert "action=abandon" in log


def test_a_rejection_leaves_everything_as_it_was(stage, rejected):
    assert stage.serving("doubted") == "source"
    assert [active for _, active in stage.slots("doubted")] == [True, True]
    with stage.target.connect("doubted") as connection:
        assert connection.execute("SELECT state FROM crossfade.migration").fetchall() == [("active",)]
        assert connection.execute("SELECT count(*) FROM crossfade.approval").fetchone() == (0,)
        enabled = connection.execute(
            "SELECT subenabled FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid"
            " WHERE d.datname = current_database()"
        ).fetchall()
    assert enabled == [(True,), (True,)]
    app = stage.target.dsn(user="shop_app", password=stage.logins.shop_app, dbname="doubted")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(app)


@pytest.mark.slow
def test_a_gate_marked_as_success_by_hand_opens_nothing(stage, rejected):
    run = stage.migrate("doubted")
    stage.until_the_gate("doubted", run)
    stage.client.set_state(DAG, run, GATE, "success")
    assert stage.client.wait_for_run(DAG, run, seconds=240) == "failed"
    states = stage.client.task_states(DAG, run)
    assert (states["cutover"], states["reconcile.report"]) == ("failed", "upstream_failed")
    log = stage.log(DAG, run, "cutover")
    assert "the cutover was refused, clients were not held and nothing was changed" in log
    assert "approv" in log
    assert stage.serving("doubted") == "source"


def _holds(stage, step):
    """Whether the plan's newest cutover is under way, at that step."""
    with stage.target.connect("doubted") as connection:
        newest = connection.execute("SELECT name, outcome FROM crossfade.step ORDER BY id DESC LIMIT 1").fetchone()
    return newest == (step, "running")


def _under_way(connection):
    query = "SELECT count(*) FROM crossfade.attempt WHERE decision IS NULL AND finished_at IS NULL"
    return connection.execute(query).fetchone() == (1,)


def test_where_the_host_of_the_cutover_is_lost_its_guard_lets_clients_go(stage, rejected):
    run = stage.migrate("doubted")
    stage.until_the_gate("doubted", run)
    with psycopg.connect(
        stage.source.dsn(user="crossfade", password=stage.logins.crossfade, dbname="doubted"), autocommit=True
    ) as blocker:
        stage.client.answer(DAG, run, GATE)
        assert wait_until(lambda: _under_way(blocker), seconds=120, every=0.05), stage.log(DAG, run, "cutover")
        blocker.autocommit = False
        blocker.execute("INSERT INTO crossfade.fence (database, plan, may_connect) VALUES ('doubted', 'x', '[]')")
        # the fence waits for the end of this transaction, hence clients do
        assert wait_until(lambda: _holds(stage, "fence"), seconds=60, every=0.05), stage.log(DAG, run, "cutover")
        assert len(stage.kill_task(DAG, run, "cutover", with_children=True)) >= 3, "worker, task and watchdog"
        lost = time.monotonic()
        blocker.rollback()
    assert stage.serving("doubted") == "source"  # a client waits here until it is let go
    assert time.monotonic() - lost < 15
    assert stage.client.wait_for_run(DAG, run, seconds=240) == "failed"
    states = stage.client.task_states(DAG, run)
    assert (states["cutover"], states["cutover_guard"], states["reconcile.report"]) == (
        "failed",
        "success",
        "upstream_failed",
    )
    (sentence,) = stage.client.xcom(DAG, run, "cutover_guard")["settled"]
    assert "the source serves" in sentence
    tries = {t["task_id"]: t["try_number"] for t in stage.client.task_instances(DAG, run)}
    assert (tries["cutover"], tries["cutover_guard"]) == (1, 1)
    assert [active for _, active in stage.slots("doubted")] == [True, True]


def test_giving_up_drops_the_slots_and_keeps_the_application_where_it_is(stage, rejected):
    run = stage.client.trigger("abort", {"plan": "doubted", "action": "abandon"})
    assert stage.client.wait_for_run("abort", run, seconds=240) == "success", stage.log("abort", run, "abort")
    assert stage.slots("doubted") == []
    assert stage.serving("doubted") == "source"
