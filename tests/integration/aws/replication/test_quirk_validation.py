"""Validation, its states and its table of failures; the other control tables."""

from replication_tasks import Task

SETTINGS = {"ValidationSettings": {"EnableValidation": True, "PartitionSize": 100}}
FAILURES = "SELECT failure_type, key FROM awsdms_validation_failures_v1 ORDER BY 1, 2"


def test_rows_that_differ_are_found_and_those_still_changing_are_not(task: Task) -> None:
    task.both("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE heap (id int)")
    task.execute("source", "INSERT INTO t SELECT n, 'v' || n FROM generate_series(1, 350) n")
    task.configure(settings=SETTINGS)
    task.start()
    task.wait(lambda: task.table("t").get("validation_state") == "Validated")
    assert task.table("heap")["validation_state"] == "No primary key"
    task.execute("target", "UPDATE t SET v = 'x' WHERE id = 150; DELETE FROM t WHERE id = 349")
    task.execute("target", "INSERT INTO t VALUES (351, 'y')")
    task.reload("t", "validate-only")
    task.wait(lambda: task.table("t")["validation_state"] == "Mismatched records")
    wanted = [
        ("MISSING_SOURCE", '{"key": ["351"]}'),
        ("MISSING_TARGET", '{"key": ["349"]}'),
        ("RECORD_DIFF", '{"key": ["150"]}'),
    ]
    assert task.execute("target", FAILURES) == wanted
    assert task.table("t")["validation_failed"] == 3
    task.wait(lambda: task.status["metrics"]["ValidationFailedOverallCount"] == 3)


def test_changed_rows_are_validated_too(task: Task) -> None:
    task.both("CREATE TABLE t (id int PRIMARY KEY, v varchar(9))")
    body = "BEGIN NEW.v := '!'; RETURN NEW; END"
    task.execute("target", f"CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $${body}$$")
    task.configure(settings=SETTINGS)
    task.start()
    task.wait(lambda: task.table("t").get("validation_state") == "Validated")
    task.execute("target", "CREATE TRIGGER spoil BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION spoil()")
    task.execute("source", "INSERT INTO t VALUES (1, 'a')")
    task.wait(lambda: task.table("t")["validation_state"] == "Mismatched records")
    assert task.execute("target", FAILURES) == [("RECORD_DIFF", '{"key": ["1"]}')]


def test_losses_that_dms_types_cannot_show_pass_validation(task: Task) -> None:
    task.both("CREATE TABLE t (id int PRIMARY KEY, n numeric, note text)")
    task.execute("source", "INSERT INTO t VALUES (1, 1.23456789, repeat('x', 3000))")
    task.configure(settings={**SETTINGS, "TargetMetadata": {"LobMaxSize": 1}}, migration_type="full-load")
    task.start().wait_for_state("stopped")
    assert task.table("t")["validation_state"] == "Validated"
    assert task.execute("target", "SELECT n::text, octet_length(note) FROM t") == [("1.234568", 1024)]


def test_a_uuid_key_is_truncated_in_the_failures(task: Task) -> None:
    task.both("CREATE TABLE t (id uuid PRIMARY KEY)")
    task.execute("source", "INSERT INTO t VALUES ('6f1b0d9e-0000-4000-8000-000000000001')")
    task.configure(settings=SETTINGS)
    task.start().wait_for_stream()
    task.execute("target", "DELETE FROM t")
    task.reload("t", "validate-only")
    task.wait(lambda: task.table("t")["validation_state"] == "Mismatched records")
    assert task.execute("target", FAILURES) == [("MISSING_TARGET", '{"key": ["6f1b0d9e-0000-40"]}')]


def test_control_tables_are_in_the_schema_of_the_settings(task: Task) -> None:
    task.both("CREATE TABLE t (id int PRIMARY KEY)")
    enabled = ("StatusTableEnabled", "SuspendedTablesTableEnabled", "HistoryTableEnabled")
    tables = {"ControlSchema": "dms", **dict.fromkeys(enabled, True)}
    task.configure(settings={"ControlTablesSettings": tables, "TargetMetadata": {"TaskRecoveryTableEnabled": True}})
    task.start().wait_for_stream()
    task.execute("source", "INSERT INTO t VALUES (1)")
    task.arrives("SELECT * FROM t")
    task.wait(lambda: task.execute("target", "SELECT task_status FROM dms.awsdms_status") == [("CHANGE PROCESSING",)])
    assert task.execute("target", "SELECT position_applied > 0 FROM dms.awsdms_txn_state") == [(True,)]
    task.faults(suspend=["public.t"])
    suspended = "SELECT table_name, suspend_reason FROM dms.awsdms_suspended_tables"
    task.wait(lambda: task.execute("target", suspended) == [("t", "Apply error")])
    assert task.execute("target", "SELECT to_regclass('dms.awsdms_history') IS NOT NULL") == [(True,)]
