"""From full load to stream: cached changes, stop points, order, batches, stalls, crashes, reloads, DDL."""

import subprocess
import sys
import threading

import pytest
from replication_tasks import Task, settings_of

T = "CREATE TABLE t (id int PRIMARY KEY, v int, note text)"
ROWS = "SELECT * FROM t ORDER BY id"
RETAINED = """
SELECT pg_current_wal_lsn() - confirmed_flush_lsn FROM pg_replication_slots WHERE database = current_database()"""


def slow_load(task: Task, rows: int = 40, **load: object) -> None:
    """A load of t in commits of one row, 30 ms each."""
    task.both(T)
    task.execute("source", f"INSERT INTO t SELECT n, 0, 'x' FROM generate_series(1, {rows}) n")  # noqa: S608
    task.configure(settings={"FullLoadSettings": {"CommitRate": 1, **load}})
    task.faults(load_delay_ms_per_batch=30)


def test_changes_during_the_load_are_cached_and_applied_after_it(task: Task) -> None:
    slow_load(task)
    task.start()
    task.wait(lambda: task.table("t").get("full_load_rows", 0) > 2)
    task.execute("source", "UPDATE t SET v = 1, note = 'y' WHERE id > 20; DELETE FROM t WHERE id IN (1, 40)")
    task.execute("source", "INSERT INTO t VALUES (99, 1, 'z'); UPDATE t SET v = 2 WHERE id = 99")
    assert task.table("t")["state"] == "Full load"
    assert task.execute("target", "SELECT count(*) FROM t WHERE v > 0") == [(0,)]
    task.arrives(ROWS)
    task.wait_for_stream()
    assert task.execute("target", "SELECT count(*) FROM awsdms_apply_exceptions") == [(0,)]


@pytest.mark.parametrize(
    ("setting", "reason", "applied"),
    [
        ("StopTaskCachedChangesApplied", "STOPPED_AFTER_CACHED_EVENTS", True),
        ("StopTaskCachedChangesNotApplied", "STOPPED_AFTER_FULL_LOAD", False),
    ],
)
def test_the_task_stops_at_the_consistent_point_or_before_it_and_goes_on(
    task: Task, setting: str, reason: str, applied: bool
) -> None:
    slow_load(task, **{setting: True})
    task.start()
    task.wait(lambda: task.table("t").get("full_load_rows", 0) > 2)
    task.execute("source", "UPDATE t SET v = 1 WHERE id = 40")
    status = task.wait_for_state("stopped")
    assert status["stop_reason"] == f"Stop Reason {reason}"
    task.execute("source", "UPDATE t SET v = 2 WHERE id = 39")
    assert task.execute("target", "SELECT count(*) FROM t WHERE v > 0") == [(int(applied),)]
    task.start("resume-processing")
    task.arrives(ROWS)
    assert task.table("t")["full_load_rows"] == 40  # nothing was loaded again


def test_the_slot_waits_for_open_transactions_and_a_stop_ends_that_wait(task: Task) -> None:
    task.both(T)
    with task.connect("source") as other, other.transaction():
        other.execute("INSERT INTO t VALUES (1)")
        task.start()
        task.wait(lambda: "waiting for open transactions" in task.log)
        assert task.status["slot"], "whoever deletes the task must know it before it exists"
        assert task.table("t")["state"] == "Before load"
        assert task.stop()["stop_reason"] == "Stop Reason NORMAL"
    task.start()
    task.wait_for_stream()
    assert task.arrives(ROWS) == [(1, None, None)]


def test_transactions_are_never_split_without_batches(task: Task) -> None:
    task.both("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)")
    task.start().wait_for_stream()
    seen, over = set(), threading.Event()

    def watch() -> None:
        with task.connect("target") as connection:
            while not over.is_set():
                query = "SELECT (SELECT count(*) FROM a) - (SELECT count(*) FROM b)"
                seen.update(connection.execute(query).fetchall())

    watcher = threading.Thread(target=watch)
    watcher.start()
    for n in range(30):
        insert = f"INSERT INTO a SELECT {n} * 100 + i FROM generate_series(1, 100) i"  # noqa: S608
        task.execute("source", f"{insert}; INSERT INTO b SELECT * FROM a WHERE id > {n} * 100")  # noqa: S608
    task.arrives("SELECT count(*) FROM b")
    over.set()
    watcher.join()
    assert seen == {(0,)}


def test_with_batches_a_row_of_a_small_table_overtakes_the_changes_before_it(task: Task) -> None:
    task.both(T)
    task.both("CREATE TABLE watermark (id int PRIMARY KEY, token int)")
    task.execute("source", "INSERT INTO watermark VALUES (1, 0)")
    tuning = {"MinTransactionSize": 1000}
    task.configure(settings={"TargetMetadata": {"BatchApplyEnabled": True}, "ChangeProcessingTuning": tuning})
    task.start().wait_for_stream()
    task.faults(apply_delay_ms=300)
    task.execute("source", "INSERT INTO t SELECT n, 0 FROM generate_series(1, 50) n")
    task.execute("source", "UPDATE t SET v = 1; DELETE FROM t WHERE id = 7")
    task.execute("source", "UPDATE watermark SET token = 1")
    task.wait(lambda: task.execute("target", "SELECT token FROM watermark") == [(1,)])
    assert task.execute("target", "SELECT count(*) FROM t") == [(0,)]
    task.arrives(ROWS)
    task.wait(lambda: task.table("t")["applied_inserts"] == 49)  # the rest was netted away
    assert task.table("t")["applied_updates"] == 0


def test_a_stalled_task_keeps_its_slot_and_the_source_its_wal(task: Task) -> None:
    task.both(T)
    task.start().wait_for_stream()
    task.faults(stall=True)
    task.wait(lambda: "stalls" in task.log)
    task.execute("source", "INSERT INTO t SELECT n, 0, repeat('x', 100) FROM generate_series(1, 2000) n")
    task.wait(lambda: task.status["metrics"]["CDCIncomingChanges"] == 2000)
    task.execute("source", "CREATE TABLE elsewhere AS SELECT repeat('x', 1000) FROM generate_series(1, 2000)")
    assert task.execute("source", RETAINED)[0][0] > 2_000_000
    task.wait(lambda: task.status["metrics"]["CDCLatencyTarget"] > 1)
    assert task.status["state"] == "running"
    task.faults()
    task.arrives("SELECT count(*) FROM t")
    task.wait(lambda: task.execute("source", RETAINED)[0][0] < 1_000_000)
    task.wait(lambda: task.status["metrics"]["CDCLatencyTarget"] == 0)


def test_a_killed_worker_resumes_where_it_was_in_load_and_stream(task: Task) -> None:
    task.both("CREATE TABLE first (id int PRIMARY KEY)")
    slow_load(task, TargetTablePrepMode="TRUNCATE_BEFORE_LOAD")
    task.start()
    task.wait(lambda: task.table("t").get("full_load_rows", 0) > 2)
    task.execute("source", "UPDATE t SET v = 1 WHERE id > 35; INSERT INTO first VALUES (1)")
    task.kill()
    assert task.status["state"] == "running"  # it could not say goodbye
    task.faults()
    task.start("resume-processing")
    task.wait_for_stream()
    task.arrives(ROWS)
    task.execute("source", "INSERT INTO first SELECT generate_series(2, 5000)")
    task.kill()
    task.execute("source", "UPDATE t SET v = 5")
    task.start("resume-processing")
    task.arrives(ROWS)
    task.arrives("SELECT count(*) FROM first")


def test_a_table_is_reloaded_while_the_task_runs(task: Task) -> None:
    task.both(T)
    task.execute("source", "INSERT INTO t VALUES (1, 1, 'x'), (2, 2, 'y')")
    task.configure(settings={"FullLoadSettings": {"TargetTablePrepMode": "TRUNCATE_BEFORE_LOAD"}})
    task.start().wait_for_stream()
    task.execute("target", "UPDATE t SET v = 99")
    task.faults(suspend=["public.t"])
    task.wait_for_table("t", "Table error")
    task.faults()
    task.execute("source", "INSERT INTO t VALUES (3, 3, 'z')")
    task.reload("t")
    task.wait(lambda: task.table("t")["full_load_reloaded"])
    task.arrives(ROWS)
    task.execute("source", "UPDATE t SET v = 7")
    task.arrives(ROWS)
    assert not task.table("t")["suspended"]


def test_ranges_and_filters_load_each_row_once(task: Task) -> None:
    task.both("CREATE TABLE r (a int NOT NULL, b varchar(9), PRIMARY KEY (a))")
    rows = "SELECT n, CASE WHEN n % 9 > 0 THEN 'k' || n END FROM generate_series(1, 1000) n"
    task.execute("source", f"INSERT INTO r {rows}")
    ranges = {"type": "ranges", "columns": ["b", "a"], "boundaries": [["k3", "10"], ["k6", "700"]]}
    task.configure("r", migration_type="full-load", rules=[settings_of(9, "r", **{"parallel-load": ranges})])
    task.start().wait_for_state("stopped")
    task.arrives("SELECT * FROM r ORDER BY a")
    task.execute("target", "TRUNCATE r")
    conditions = [
        {"filter-operator": "between", "start-value": "10", "end-value": "19"},
        {"filter-operator": "gte", "value": "999"},
    ]
    only = {"filter-type": "source", "column-name": "a", "filter-conditions": conditions}
    task.spec["table_mappings"]["rules"][0]["filters"] = [only]
    task.start("reload-target").wait_for_state("stopped")
    assert task.execute("target", "SELECT count(*), max(a) FROM r") == [(12, 1000)]


def test_added_and_dropped_columns_follow_where_the_policy_says_so(task: Task) -> None:
    task.both(T)
    task.start().wait_for_stream()
    task.execute("source", "INSERT INTO t VALUES (1, 1, 'x')")
    task.arrives(ROWS)
    task.execute("source", "ALTER TABLE t ADD COLUMN extra varchar(9), DROP COLUMN v")
    task.execute("source", "INSERT INTO t VALUES (2, 'y', 'z')")
    task.arrives("SELECT to_jsonb(t) FROM t WHERE id = 2")
    columns = "SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped"
    assert task.execute("target", columns) == [(3,)]


def test_injected_failures_end_the_task_with_their_reasons(task: Task) -> None:
    task.both(T)
    task.start().wait_for_stream()
    task.faults(storage_full=True)
    status = task.wait_for_state("failed")
    assert "out of storage" in status["last_failure_message"]
    task.faults(fail="the sky is falling")
    status = task.start("resume-processing").wait_for_state("failed")
    assert status["stop_reason"] == "Stop Reason RECOVERABLE_ERROR"
    assert "the sky is falling" in status["last_failure_message"]
    task.faults()
    task.start("resume-processing").wait_for_state("running")
    task.execute("source", "INSERT INTO t VALUES (1)")
    task.arrives(ROWS)


def test_a_lost_target_session_is_taken_up_again(task: Task) -> None:
    task.both(T)
    task.configure(settings={"ErrorBehavior": {"RecoverableErrorInterval": 1}})
    task.start().wait_for_stream()
    task.execute("source", "INSERT INTO t VALUES (1)")
    task.arrives(ROWS)
    ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'AWS DMS%'"
    assert task.execute("target", ended)[0][0] > 0
    task.execute("source", "INSERT INTO t VALUES (2)")
    task.arrives(ROWS)
    assert "recoverable error" in task.log


def test_the_command_runs_a_task_ends_at_sigterm_and_releases_what_it_held(task: Task) -> None:
    task.both(T)
    task.put("spec.json", {**task.spec, "start_type": "start-replication"})
    command = [sys.executable, "-m", "crossfade_lab.aws.replication", str(task.directory)]
    worker = subprocess.Popen(command)
    task.wait_for_stream()
    names = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'AWS DMS%'"
    assert task.execute("source", names)[0][0] > 0
    worker.terminate()
    assert worker.wait(60) == 0
    assert task.status["stop_reason"] == "Stop Reason NORMAL"
    subprocess.run([*command, "--release"], check=True)
    assert task.execute("source", "SELECT count(*) FROM pg_publication") == [(0,)]
    slots = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
    assert task.execute("source", slots) == [(0,)]
