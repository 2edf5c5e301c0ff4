"""What the stream cannot do without a key, and what it ignores with one."""

from replication_tasks import Task, selection


def test_without_a_primary_key_updates_and_deletes_are_ignored_and_do_not_fail_on_the_source(task: Task) -> None:
    task.both("CREATE TABLE heap (id int, v varchar(9))")
    task.execute("source", "INSERT INTO heap VALUES (1, 'old'), (2, 'old')")
    task.start().wait_for_stream()
    task.execute("source", "UPDATE heap SET v = 'new' WHERE id = 1")
    task.execute("source", "DELETE FROM heap WHERE id = 2")
    task.execute("source", "INSERT INTO heap VALUES (3, 'new')")
    rows = "SELECT * FROM heap ORDER BY id"
    task.wait(lambda: task.execute("target", rows) == [(1, "old"), (2, "old"), (3, "new")])
    assert "public.heap has no usable primary key" in task.log


def test_a_key_of_a_large_object_type_is_no_key(task: Task) -> None:
    task.both("CREATE TABLE named (name text PRIMARY KEY, v int)")
    task.execute("source", "INSERT INTO named VALUES ('a', 1)")
    task.start().wait_for_stream()
    task.execute("source", "UPDATE named SET v = 2")
    task.execute("source", "INSERT INTO named VALUES ('b', 1)")
    task.wait(lambda: task.execute("target", "SELECT * FROM named ORDER BY name") == [("a", 1), ("b", 1)])


def test_a_replica_identity_by_index_or_in_full_serves_as_a_key(task: Task) -> None:
    task.both("CREATE TABLE indexed (a int NOT NULL, b varchar(9)); CREATE UNIQUE INDEX one ON indexed (a)")
    task.both("CREATE TABLE whole (a int, b varchar(9), c text)")
    task.execute("source", "ALTER TABLE indexed REPLICA IDENTITY USING INDEX one")
    task.execute("source", "ALTER TABLE whole REPLICA IDENTITY FULL")
    for name in ("indexed", "whole"):
        task.execute("source", f"INSERT INTO {name} VALUES (1, 'x'), (2, 'x'), (3, NULL)")  # noqa: S608
    task.start().wait_for_stream()
    for name in ("indexed", "whole"):
        task.execute("source", f"UPDATE {name} SET b = 'y' WHERE a <> 2; DELETE FROM {name} WHERE a = 2")  # noqa: S608
        task.arrives(f"SELECT * FROM {name} ORDER BY a")  # noqa: S608


def test_an_update_of_the_primary_key_is_ignored_without_an_exception(task: Task) -> None:
    task.both("CREATE TABLE keyed (id int PRIMARY KEY, v int)")
    task.execute("source", "INSERT INTO keyed VALUES (1, 1)")
    task.start().wait_for_stream()
    task.execute("source", "UPDATE keyed SET id = 5, v = 2")
    task.execute("source", "INSERT INTO keyed VALUES (9, 9)")
    task.wait(lambda: task.execute("target", "SELECT * FROM keyed ORDER BY id") == [(1, 1), (9, 9)])
    assert task.execute("target", "SELECT count(*) FROM awsdms_apply_exceptions") == [(0,)]


def test_truncate_is_not_replicated_and_sequences_stay_where_they_are(task: Task) -> None:
    task.both("CREATE TABLE counted (id serial PRIMARY KEY)")
    task.execute("source", "INSERT INTO counted SELECT nextval('counted_id_seq') FROM generate_series(1, 5)")
    task.start().wait_for_stream()
    task.execute("source", "TRUNCATE counted")
    task.execute("source", "INSERT INTO counted VALUES (77)")
    task.wait(lambda: task.execute("target", "SELECT count(*) FROM counted") == [(6,)])
    assert task.execute("target", "SELECT nextval('counted_id_seq')") == [(1,)]


def test_names_that_need_quotes_and_excluded_tables(task: Task) -> None:
    for name in ("Order Items", "select", 'naïve"quo%te'):
        quoted = name.replace('"', '""')
        task.both(f'CREATE TABLE "{quoted}" ("Id %s" int PRIMARY KEY, "na""me" text)')
        task.execute("source", f"INSERT INTO \"{quoted}\" VALUES (1, E'tab\\t \\\\ ''q'' \\n')")  # noqa: S608
    task.both("CREATE TABLE skipped_one (id int PRIMARY KEY)")
    task.configure("%", rules=[selection(9, "skipped%", "exclude")])
    task.start().wait_for_stream()
    task.execute("source", """INSERT INTO "Order Items" VALUES (2, 'x''y\\z')""")
    task.execute("source", """UPDATE "Order Items" SET "na""me" = 'ü' WHERE "Id %s" = 1""")
    task.arrives('SELECT * FROM "Order Items" ORDER BY 1')
    task.arrives('SELECT * FROM "naïve""quo%te"')
    assert {entry["table"] for entry in task.status["tables"]} == {"Order Items", "select", 'naïve"quo%te'}


def test_partitions_are_loaded_and_streamed_one_by_one(task: Task) -> None:
    task.both("CREATE TABLE events (at date, id int, PRIMARY KEY (at, id)) PARTITION BY RANGE (at)")
    task.both("CREATE TABLE events_a PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')")
    task.both("CREATE TABLE events_b PARTITION OF events DEFAULT")
    task.execute("source", "INSERT INTO events VALUES ('2026-01-05', 1), ('2026-05-05', 2)")
    task.start().wait_for_stream()
    task.execute("source", "INSERT INTO events VALUES ('2026-01-06', 3), ('2026-05-06', 4)")
    task.arrives("SELECT tableoid::regclass::text, * FROM events ORDER BY id")
    assert {entry["table"] for entry in task.status["tables"]} == {"events_a", "events_b"}
