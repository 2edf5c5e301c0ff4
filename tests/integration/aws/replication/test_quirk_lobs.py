"""Large objects: NULL first, the limited mode's knife, inline sizes, tables without a key."""

from replication_tasks import Task, settings_of

FULL = {"TargetMetadata": {"FullLobMode": True, "LimitedSizeLobMode": False}}
INLINE = {"TargetMetadata": {"FullLobMode": True, "LimitedSizeLobMode": False, "InlineLobMaxSize": 2}}
DOCUMENTS = "CREATE TABLE documents (id int PRIMARY KEY, title varchar(20) NOT NULL, body jsonb NOT NULL, raw bytea)"
ONE = "INSERT INTO documents VALUES (1, 'one', '{\"a\": 1}', '\\xff00')"
SAME = "SELECT id, title, body, md5(raw) FROM documents ORDER BY id"


def test_the_full_mode_inserts_null_first_so_that_not_null_fails_the_table(task: Task) -> None:
    task.both(DOCUMENTS)
    task.execute("source", ONE)
    task.configure(settings=FULL, migration_type="full-load")
    task.start().wait_for_state("stopped")
    assert task.table("documents")["state"] == "Table error"
    assert 'null value in column "body"' in task.log
    assert task.execute("target", SAME) == []


def test_the_full_mode_fills_objects_of_every_size_in_where_null_is_allowed(task: Task) -> None:
    task.both(DOCUMENTS)
    task.execute("target", "ALTER TABLE documents ALTER body DROP NOT NULL")
    task.execute("source", ONE)
    task.execute(
        "source",
        "INSERT INTO documents SELECT n, 'large', jsonb_build_object('x', repeat('é', 200000 * n)), "
        "decode(repeat('ab', 100000), 'hex') FROM generate_series(2, 4) n; "
        "INSERT INTO documents VALUES (9, 'none', '{}', NULL)",
    )
    task.configure(settings=FULL, migration_type="full-load")
    task.start().wait_for_state("stopped")
    assert task.execute("target", SAME) == task.execute("source", SAME)


def test_the_inline_mode_brings_small_objects_with_their_row_and_large_ones_afterwards(task: Task) -> None:
    task.both(DOCUMENTS)
    task.both("CREATE TABLE large (id int PRIMARY KEY, body text NOT NULL)")
    task.execute("source", ONE)
    task.execute("source", "INSERT INTO large VALUES (1, repeat('x', 2048)), (2, repeat('y', 2049))")
    task.configure(settings=INLINE, migration_type="full-load")
    task.start().wait_for_state("stopped")
    assert task.execute("target", SAME) == task.execute("source", SAME)
    assert task.table("large")["state"] == "Table error"


def test_a_change_inserts_null_first_even_in_the_limited_mode(task: Task) -> None:
    task.both(DOCUMENTS)
    task.execute("source", ONE)
    task.start().wait_for_stream()
    assert task.execute("target", SAME) == task.execute("source", SAME)  # its full load is a single pass
    task.execute("source", "INSERT INTO documents VALUES (2, 'lost', '{}', NULL), (3, 'lost', '{}', NULL)")
    count = "SELECT count(*) FROM public.awsdms_apply_exceptions WHERE error LIKE '%null value in column \"body\"%'"
    task.wait(lambda: task.execute("target", count) == [(2,)])
    assert task.execute("target", "SELECT count(*) FROM documents") == [(1,)]
    assert task.table("documents")["state"] == "Table completed"  # LOG_ERROR: lost, and the task goes on
    task.execute("target", "ALTER TABLE documents ALTER body DROP NOT NULL")
    task.execute("source", "INSERT INTO documents VALUES (4, 'kept', '{\"b\": [1, \"it''s\"]}', '\\x0102')")
    task.arrives("SELECT body, raw FROM documents WHERE id = 4")


def test_the_limited_mode_cuts_what_is_longer_and_says_so_in_the_log_only(task: Task) -> None:
    task.both("CREATE TABLE notes (id int PRIMARY KEY, note text, raw bytea)")
    many = "SELECT n, 'a' || repeat('é', n * 600), decode(repeat('ab', n * 1000), 'hex') FROM generate_series({}) n"
    task.execute("source", "INSERT INTO notes " + many.format("1, 2"))
    task.configure(settings={"TargetMetadata": {"LobMaxSize": 1}})
    task.start().wait_for_stream()
    task.execute("source", "INSERT INTO notes " + many.format("3, 4"))
    lengths = "SELECT id, octet_length(note), octet_length(raw) FROM notes ORDER BY id"
    cut = [(1, 1023, 1000), (2, 1023, 1024), (3, 1023, 1024), (4, 1023, 1024)]  # é is never split
    task.wait(lambda: task.execute("target", lengths) == cut)
    assert "truncated at LobMaxSize" in task.log
    assert task.table("notes")["state"] == "Table completed"


def test_a_cut_json_document_is_no_json_any_more(task: Task) -> None:
    task.both("CREATE TABLE notes (id int PRIMARY KEY, note jsonb)")
    task.execute("source", "INSERT INTO notes VALUES (1, jsonb_build_object('x', repeat('y', 2000)))")
    task.configure(settings={"TargetMetadata": {"LobMaxSize": 1}}, migration_type="full-load")
    task.start().wait_for_state("stopped")
    assert task.table("notes")["state"] == "Table error"
    assert "invalid input syntax for type json" in task.log


def test_a_table_can_have_a_limit_of_its_own(task: Task) -> None:
    for name in ("limited", "unlimited"):
        task.both(f"CREATE TABLE {name} (id int PRIMARY KEY, note text)")
        task.execute("source", f"INSERT INTO {name} VALUES (1, repeat('x', 5000))")  # noqa: S608
    rules = [
        settings_of(8, "limited", **{"lob-settings": {"mode": "limited", "bulk-max-size": "4"}}),
        settings_of(9, "unlimited", **{"lob-settings": {"mode": "unlimited"}}),
    ]
    task.configure(settings={"TargetMetadata": {"LobMaxSize": 1}}, migration_type="full-load", rules=rules)
    task.start().wait_for_state("stopped")
    assert task.execute("target", "SELECT octet_length(note) FROM limited") == [(4096,)]
    assert task.execute("target", "SELECT octet_length(note) FROM unlimited") == [(5000,)]


def test_the_task_fails_at_a_truncation_where_the_source_endpoint_says_so(task: Task) -> None:
    task.both("CREATE TABLE notes (id int PRIMARY KEY, note text)")
    task.execute("source", "INSERT INTO notes VALUES (1, repeat('x', 5000))")
    task.configure(settings={"TargetMetadata": {"LobMaxSize": 1}}, source={"FailTasksOnLobTruncation": True})
    status = task.start().wait_for_state("failed", "stopped")
    assert status["state"] == "failed"
    assert "public.notes" in status["last_failure_message"]


def test_without_a_key_the_full_mode_leaves_objects_out(task: Task) -> None:
    task.both("CREATE TABLE notes (id int, note text)")
    task.execute("source", "INSERT INTO notes VALUES (1, 'x')")
    task.configure(settings=FULL)
    task.start().wait_for_stream()
    task.execute("source", "INSERT INTO notes VALUES (2, 'y')")
    task.wait(lambda: task.execute("target", "SELECT * FROM notes ORDER BY id") == [(1, None), (2, None)])
    assert "columns ['note'] are not migrated" in task.log
