"""Errors by their policies: the defaults lose data and go on, the others suspend tables or stop the task."""

import pytest
from replication_tasks import REPLICA, Task

T = "CREATE TABLE t (id int PRIMARY KEY, v int)"
EXCEPTIONS = "SELECT table_name, count(*) FROM public.awsdms_apply_exceptions GROUP BY 1 ORDER BY 1"


def behaviour(**policies: object) -> dict[str, dict[str, object]]:
    return {"ErrorBehavior": policies}


def loaded(task: Task, **policies: object) -> None:
    """A stream of t whose target lost row 1 and has a row 3 that the source will insert."""
    task.both(T)
    task.both("CREATE TABLE other (id int PRIMARY KEY)")
    task.execute("source", "INSERT INTO t VALUES (1, 1), (2, 1)")
    task.configure(settings=behaviour(**policies))
    task.start().wait_for_stream()
    task.execute("target", "DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (3, 0)")


def test_by_default_conflicts_are_written_down_and_lost(task: Task) -> None:
    loaded(task)
    task.execute("source", "UPDATE t SET v = 2; INSERT INTO t VALUES (3, 3); DELETE FROM t WHERE id = 1")
    task.execute("source", "INSERT INTO other VALUES (1)")
    task.arrives("SELECT * FROM other")
    assert task.execute("target", "SELECT * FROM t ORDER BY id") == [(2, 2), (3, 0)]
    assert task.execute("target", EXCEPTIONS) == [("t", 2)]  # the DELETE that found nothing is not among them
    assert task.table("t")["state"] == "Table completed"


def test_rows_can_be_written_in_the_other_way_instead(task: Task) -> None:
    loaded(task, ApplyErrorInsertPolicy="UPDATE_RECORD", ApplyErrorUpdatePolicy="INSERT_RECORD")
    task.execute("source", "UPDATE t SET v = 2; INSERT INTO t VALUES (3, 3)")
    task.arrives("SELECT * FROM t ORDER BY id")


@pytest.mark.parametrize(
    ("policy", "statement"),
    [
        ("ApplyErrorUpdatePolicy", "UPDATE t SET v = 2 WHERE id = 1"),
        ("ApplyErrorInsertPolicy", "INSERT INTO t VALUES (3, 3)"),
        ("ApplyErrorDeletePolicy", "DELETE FROM t WHERE id = 1"),
    ],
)
def test_a_table_can_be_suspended_at_a_conflict_and_the_others_go_on(task: Task, policy: str, statement: str) -> None:
    loaded(task, **{policy: "SUSPEND_TABLE"})
    task.execute("source", statement)
    assert task.wait_for_table("t", "Table error")["suspended"]
    task.execute("source", "UPDATE t SET v = 9 WHERE id = 2")
    task.execute("source", "INSERT INTO other VALUES (1)")
    task.arrives("SELECT * FROM other")
    assert task.execute("target", "SELECT v FROM t WHERE id = 2") == [(1,)]


def test_a_task_can_be_stopped_at_a_conflict_and_names_table_and_error(task: Task) -> None:
    loaded(task, ApplyErrorInsertPolicy="STOP_TASK")
    task.execute("source", "INSERT INTO t VALUES (3, 3)")
    status = task.wait_for_state("failed", "stopped")
    assert (status["state"], status["stop_reason"]) == ("failed", "Stop Reason FATAL_ERROR")
    assert "public.t" in status["last_failure_message"]
    assert "duplicate key" in status["last_failure_message"]


def test_errors_escalate_when_they_are_many(task: Task) -> None:
    loaded(task, ApplyErrorEscalationCount=2, ApplyErrorEscalationPolicy="SUSPEND_TABLE")
    task.execute("source", "INSERT INTO t VALUES (3, 3)")
    task.wait(lambda: task.execute("target", EXCEPTIONS) == [("t", 1)])
    assert task.table("t")["state"] == "Table completed"
    task.execute("source", "UPDATE t SET v = 2 WHERE id = 1")
    task.wait_for_table("t", "Table error")


def test_a_failed_load_takes_one_table_out_or_stops_the_task(task: Task) -> None:
    task.both(T)
    task.both("CREATE TABLE other (id int PRIMARY KEY)")
    for name in ("t", "other"):
        task.execute("source", f"INSERT INTO {name} VALUES (1)")  # noqa: S608
    task.execute("target", "INSERT INTO t VALUES (1)")  # DO_NOTHING does not empty tables
    task.configure(migration_type="full-load")
    status = task.start().wait_for_state("stopped", "failed")
    assert status["stop_reason"] == "Stop Reason FULL_LOAD_ONLY_FINISHED"  # a stop that looks like success
    assert (task.table("t")["state"], task.table("other")["state"]) == ("Table error", "Table completed")
    task.configure(migration_type="full-load", settings=behaviour(TableErrorPolicy="STOP_TASK"))
    status = task.start("reload-target").wait_for_state("stopped", "failed")
    assert status["state"] == "failed"
    assert "duplicate key" in status["last_failure_message"]


def test_foreign_keys_and_triggers_are_in_the_way_unless_the_script_sets_the_replica_role(task: Task) -> None:
    task.both("CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (id int PRIMARY KEY, p int)")
    task.execute("source", "INSERT INTO p SELECT generate_series(1, 3); INSERT INTO c VALUES (1, 1)")
    task.execute("target", "ALTER TABLE c ADD FOREIGN KEY (p) REFERENCES p DEFERRABLE INITIALLY DEFERRED")
    task.configure("c")
    task.start().wait_for_stream()
    assert task.table("c")["state"] == "Table error"
    assert "violates foreign key constraint" in task.log
    task.stop()
    task.configure("c", target=REPLICA)
    task.start("reload-target").wait_for_stream()
    task.execute("source", "INSERT INTO c VALUES (2, 2)")
    task.arrives("SELECT * FROM c ORDER BY id")


def test_a_mapping_that_selects_nothing_fails_the_task(task: Task) -> None:
    task.configure("no_such_table")
    status = task.start().wait_for_state("failed")
    assert "No tables were found" in status["last_failure_message"]


def test_a_wrong_password_fails_the_task_without_showing_one(task: Task) -> None:
    task.both(T)
    task.configure()
    task.spec["target"]["password"] = "mistaken"
    status = task.start().wait_for_state("failed")
    assert "target" in status["last_failure_message"]
    assert "mistaken" not in task.said() + str(status)
