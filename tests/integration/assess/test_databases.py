"""Each check of the databases: a real server that violates it, and one that does not (`test_report` has that one)."""

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from crossfade.assess import Problem, Severity
from crossfade.assess.scene import Database, Routes
from crossfade_lab.postgres import PostgresServer
from crossfade_lab.testing import server

from .conftest import Stage, database, run


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, problems
    return problems[0]


# --- connectivity


def test_the_same_database_under_two_names(stage: Stage) -> None:
    endpoints = stage.endpoints | {"other": replace(stage.endpoints["shop_source"], host="localhost")}
    same = Stage(stage.pair, stage.bouncer, endpoints)
    problem = only(same.problems("connectivity.two_databases", stage.plan(target="other")))
    assert "both lead to the same database" in problem.seen


def routes(stage: Stage, **changes: object) -> Routes:
    return Routes(
        source_from_target=replace(stage.endpoints["shop_source"], **changes),  # type: ignore[arg-type]
        target_from_source=stage.endpoints["shop_target"],
    )


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"password": "wrong"}, "password authentication failed"),
        ({"port": 1}, "[Cc]onnection refused"),
        ({"user": "shop_app", "password": "wrong"}, "as shop_app.*password authentication failed"),
        ({"dbname": "postgres"}, "another server or database"),
    ],
)
def test_a_route_that_a_subscription_could_not_take(stage: Stage, changes: dict[str, object], seen: str) -> None:
    problem = only(stage.problems("connectivity.source_from_target", routes=routes(stage, **changes)))
    assert re.search(seen, problem.seen)
    assert "wrong" not in problem.seen  # the password stays secret


def test_a_route_to_another_server(stage: Stage) -> None:
    at = stage.endpoints["shop_target"]
    problem = only(
        stage.problems("connectivity.source_from_target", routes=routes(stage, port=at.port, password=at.password))
    )
    assert "another server or database" in problem.seen


def test_a_role_that_may_not_replicate_cannot_take_the_route(stage: Stage) -> None:
    password = stage.pair.logins.shop_app
    problem = only(
        stage.problems("connectivity.source_from_target", routes=routes(stage, user="shop_app", password=password))
    )
    assert "permission denied" in problem.seen


def test_client_programs_that_are_missing_or_too_old(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG_BIN", "/usr/lib/postgresql/15/bin")
    assert [problem.object for problem in stage.problems("connectivity.client_programs")] == ["pg_dump", "pg_restore"]
    monkeypatch.setenv("PG_BIN", "/nowhere")
    assert "there is no pg_dump" in stage.problems("connectivity.client_programs")[0].seen


# --- server settings


def test_a_target_older_than_its_source(stage: Stage, poor: Database) -> None:
    problem = only(stage.problems("server.version", target=poor))
    assert (problem.object, problem.severity) == ("poor", Severity.WARNING)


def test_a_source_too_old(stage: Stage, poor: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossfade.assess.server_settings.OLDEST_SOURCE", 16)
    assert "the oldest source is 16" in stage.problems("server.version", source=poor)[0].seen


def test_a_target_on_which_only_superusers_subscribe(poor: Database, poor_as_nobody: Database) -> None:
    assert "only superusers subscribe" in only(run("server.subscriptions", target=poor_as_nobody)).seen
    assert run("server.subscriptions", target=poor) == []


@pytest.mark.parametrize("check", ["server.source_is_primary", "server.target_is_writable"])
def test_a_standby(standby: Database, check: str) -> None:
    assert only(run(check, source=standby, target=standby)).seen == "it is a standby"


@pytest.mark.parametrize(
    ("check", "object", "seen"),
    [
        ("server.target_is_writable", "poor", "default_transaction_read_only"),
        ("server.wal_level", "wal_level", "replica on poor"),
        ("server.replication_slots", "max_replication_slots", "1 on poor, 0 taken by others; the plan needs 4"),
        ("server.wal_senders", "max_wal_senders", "1 on poor, 0 taken by others; the plan needs 4"),
        ("server.apply_workers", "max_logical_replication_workers", "1 on poor, 0 taken"),
        ("server.replication_origins", "max_replication_slots", "1 on poor, 0 taken by others; the plan needs 12"),
        ("server.slot_keep_size", "max_slot_wal_keep_size", "64 MB on poor"),
    ],
)
def test_a_setting_that_allows_no_migration(stage: Stage, poor: Database, check: str, object: str, seen: str) -> None:
    plan = stage.plan(load={"waves": 4, "jobs": 2})
    problem = run(check, source=poor, target=poor, plan=plan)[0]
    assert problem.object == object
    assert seen in problem.seen
    assert problem.remedy


def test_background_workers_count_too(stage: Stage, poor: Database) -> None:
    problems = run("server.apply_workers", target=poor, plan=stage.plan(load={"waves": 2}))
    assert [problem.object for problem in problems] == ["max_logical_replication_workers", "max_worker_processes"]


def test_slots_of_others_take_room_and_our_own_do_not(stage: Stage) -> None:
    plan = stage.plan(load={"waves": 20})
    assert stage.problems("server.replication_slots", plan) == []
    create = "SELECT pg_create_logical_replication_slot({}, 'pgoutput')"
    drop = "SELECT pg_drop_replication_slot({})"
    with stage.on("source", create.format("'crossfade_shop_0'"), undo=(drop.format("'crossfade_shop_0'"),)):
        assert stage.problems("server.replication_slots", plan) == []
    with stage.on("source", create.format("'theirs'"), undo=(drop.format("'theirs'"),)):
        assert "20 on shop_source, 1 taken" in only(stage.problems("server.replication_slots", plan)).seen


# --- tables


def test_a_plan_that_selects_nothing(stage: Stage) -> None:
    problem = only(stage.problems("tables.selected", stage.plan(tables={"include": ["Public.*"]})))
    assert "there are: billing.invoices, public.Order Items Archive" in problem.seen


def test_a_pattern_that_selects_nothing(stage: Stage) -> None:
    problem = only(stage.problems("tables.selected", stage.plan(tables={"include": ["public.*", "biling.*"]})))
    assert (problem.object, problem.severity) == ("biling.*", Severity.WARNING)


@pytest.mark.parametrize(
    ("statement", "seen", "remedy"),
    [
        ("SELECT", "no primary key and no replica identity", 'ALTER TABLE "public"."odd ""one" ADD PRIMARY KEY (…);'),
        (
            'ALTER TABLE "odd ""one" ADD PRIMARY KEY (id); ALTER TABLE "odd ""one" REPLICA IDENTITY NOTHING',
            "REPLICA IDENTITY NOTHING",
            'ALTER TABLE "public"."odd ""one" REPLICA IDENTITY DEFAULT;',
        ),
        (
            'CREATE UNIQUE INDEX gone ON "odd ""one" (id); '
            'ALTER TABLE "odd ""one" REPLICA IDENTITY USING INDEX gone; DROP INDEX gone',
            "the index of its replica identity is gone",
            'ALTER TABLE "public"."odd ""one" REPLICA IDENTITY FULL;',
        ),
    ],
)
def test_a_table_whose_updates_cannot_be_replicated(stage: Stage, statement: str, seen: str, remedy: str) -> None:
    create = 'SET ROLE shop_owner; CREATE TABLE public."odd ""one" (id int NOT NULL)'
    with stage.on("source", create, statement, undo=('DROP TABLE public."odd ""one"',)):
        problem = only(stage.problems("tables.replica_identity"))
        assert problem.object == 'public.odd "one'
        assert seen in problem.seen
        assert remedy in problem.remedy


def test_the_remedy_for_a_table_without_identity_helps(stage: Stage) -> None:
    with stage.on("source", "SET ROLE shop_owner; CREATE TABLE odd (id int)", undo=("DROP TABLE odd",)) as conn:
        conn.execute(only(stage.problems("tables.replica_identity")).remedy.splitlines()[-1])
        assert stage.problems("tables.replica_identity") == []
        assert only(stage.problems("tables.replica_identity_full")).object == "public.odd"


def test_owners_that_the_migration_cannot_act_for(stage: Stage) -> None:
    with stage.on("source", "CREATE TABLE odd (id int PRIMARY KEY)", undo=("DROP TABLE IF EXISTS odd",)) as conn:
        assert "a superuser owns public.odd" in only(stage.problems("tables.owners")).seen
        conn.execute("CREATE ROLE stranger")
        try:
            conn.execute("ALTER TABLE odd OWNER TO stranger")
            problem = only(stage.problems("tables.owners"))
            assert problem.remedy == 'GRANT "stranger" TO "crossfade";'
            conn.execute(problem.remedy)
            assert stage.problems("tables.owners") == []
        finally:
            conn.execute("DROP TABLE odd")
            conn.execute("DROP ROLE stranger")


def test_tables_whose_rows_are_not_in_the_wal(stage: Stage) -> None:
    with stage.on("source", "CREATE UNLOGGED TABLE fast (id int)", undo=("DROP TABLE fast",)):
        problem = only(stage.problems("tables.not_carried"))
        assert (problem.object, problem.seen.split(":")[0]) == ("public.fast", "an unlogged table")
        assert stage.problems("tables.not_carried", stage.plan(tables={"include": ["billing.*"]})) == []


def test_large_objects(stage: Stage) -> None:
    with stage.on("source", "SELECT lo_from_bytea(4711, 'x')", undo=("SELECT lo_unlink(4711)",)):
        assert "1 large objects" in only(stage.problems("tables.large_objects")).seen


# --- activity


def test_a_transaction_open_for_long(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossfade.assess.activity.LONG", timedelta(seconds=0.05))
    with psycopg.connect(stage.pair.dsn("source", "shop_app"), application_name="nightly") as conn:
        conn.execute("SELECT count(*) FROM orders")
        time.sleep(0.1)
        problem = only(stage.problems("activity.long_transactions"))
        assert "shop_app, nightly" in problem.seen
        assert problem.remedy == f"SELECT pg_terminate_backend({conn.info.backend_pid});"


def test_sessions_of_superusers(stage: Stage) -> None:
    with stage.on("source"):
        assert "a superuser is connected" in only(stage.problems("activity.superuser_sessions")).seen


def direct(stage: Stage, plan: Any = None) -> dict[str, Severity | None]:
    return {problem.object: problem.severity for problem in stage.problems("activity.direct_sessions", plan)}


def test_a_client_that_bypasses_the_poolers_is_named_and_one_that_comes_through_them_is_not(stage: Stage) -> None:
    with psycopg.connect(stage.bouncer.dsn("shop_app", "shop"), autocommit=True, prepare_threshold=None) as pooled:
        pooled.execute("SELECT 1")
        assert direct(stage) == {}
        own = psycopg.connect(stage.pair.dsn("source", "shop_app"), application_name="nightly")
        other = psycopg.connect(stage.pair.dsn("source", "shop_owner"))
        with own, other:
            seen = direct(stage)
            at = stage.pair.source.host
            assert seen == {f"shop_app from {at}": None, f"shop_owner from {at}": Severity.NOTE}
            found = {problem.object: problem for problem in stage.problems("activity.direct_sessions")}
            assert "1 session(s) of nightly come through none" in found[f"shop_app from {at}"].seen
            secret = {"kind": "secret", "secret": "shop"}
            mixed = stage.plan(routers=[*stage.plan().model_dump(mode="json", by_alias=True)["routers"], secret])
            assert direct(stage, mixed) == {}  # what a secret leads here looks like any other session


# --- target


def test_a_target_with_rows_that_are_not_ours(stage: Stage) -> None:
    create = ("CREATE TABLE mine (id int)", "INSERT INTO mine VALUES (1)", "CREATE TABLE empty (id int)")
    with stage.on("target", *create, undo=("DROP TABLE mine, empty",)):
        assert only(stage.problems("target.empty")).object == "public.mine"


@pytest.mark.parametrize(
    ("plan", "state", "blocks"),
    [("shop", "active", 0), ("shop", "rolling back", 0), ("shop", "abandoned", 1), ("x", "active", 1)],
)
def test_rows_of_our_own_migration_are_no_blocker(stage: Stage, plan: str, state: str, blocks: int) -> None:
    statements = (
        "CREATE TABLE mine AS SELECT 1 AS id",
        "CREATE SCHEMA crossfade",
        "CREATE TABLE crossfade.migration (plan text, state text)",
        f"INSERT INTO crossfade.migration VALUES ('{plan}', '{state}')",  # noqa: S608
        "GRANT USAGE ON SCHEMA crossfade TO crossfade",
    )
    with stage.on("target", *statements, undo=("DROP TABLE mine", "DROP SCHEMA crossfade CASCADE")):
        assert len(stage.problems("target.empty")) == blocks
        assert len(stage.problems("target.empty", stage.plan(tables={"include": ["billing.*"]}))) == 1


def test_an_extension_that_the_target_lacks_or_has_in_another_version(stage: Stage) -> None:
    missing = "INSERT INTO pg_extension SELECT 99999, 'postgis', 10, 2200, false, '3.4', null, null"
    with stage.on("source", missing, undo=("DELETE FROM pg_extension WHERE extname = 'postgis'",)):
        problem = only(stage.problems("target.extensions"))
        assert (problem.object, problem.severity) == ("postgis", None)
        assert "DROP EXTENSION" in problem.remedy
    older = "UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'plpgsql'"
    with stage.on("source", older, undo=(older.replace("0.9", "1.0"),)):
        problem = only(stage.problems("target.extensions"))
        assert (problem.seen, problem.severity) == ("version 0.9 on the source; the target has 1.0", Severity.WARNING)


# --- roles


def test_the_least_privileges_are_asked_for_one_by_one_and_the_remedies_are_enough(
    stage: Stage, poor_as_nobody: Database, poor: Database
) -> None:
    plan = stage.plan()
    problems = run("roles.source_privileges", source=poor_as_nobody, plan=plan)
    problems += run("roles.target_privileges", target=poor_as_nobody, plan=plan)
    remedies = {problem.remedy.split("  --")[0] for problem in problems}
    assert 'GRANT pg_read_all_data TO "nobody";' in remedies
    assert len(remedies) == 9
    poor.conn.execute("SET default_transaction_read_only = off")
    with poor.conn.transaction(force_rollback=True):
        for remedy in remedies:
            poor.conn.execute(remedy)
        poor.conn.execute("SET LOCAL ROLE nobody")
        seen = Database(poor.side, replace(poor.endpoint, user="nobody"), poor.conn)
        assert run("roles.source_privileges", source=seen, plan=plan) == []
        assert run("roles.target_privileges", target=seen, plan=plan) == []


def test_the_role_of_the_subscription_must_replicate(stage: Stage) -> None:
    assert only(stage.problems("roles.replication", routes=routes(stage, user="shop_app"))).object == "shop_app"
    assert "no such role" in only(stage.problems("roles.replication", routes=routes(stage, user="nobody"))).seen


@pytest.mark.parametrize(
    ("statement", "undo", "seen"),
    [
        ("ALTER ROLE shop_bi NOLOGIN", "ALTER ROLE shop_bi LOGIN", "cannot log in"),
        ("ALTER ROLE shop_bi SUPERUSER", "ALTER ROLE shop_bi NOSUPERUSER", "a superuser"),
        ("ALTER ROLE shop_bi REPLICATION", "ALTER ROLE shop_bi NOREPLICATION", "may replicate"),
    ],
)
def test_an_application_role_that_no_fence_keeps_off(stage: Stage, statement: str, undo: str, seen: str) -> None:
    with stage.on("source", statement, undo=(undo,)):
        assert seen in only(stage.problems("roles.applications")).seen


@pytest.mark.parametrize(("role", "seen"), [("nobody", "no such role"), ("crossfade", "the migration's own role")])
def test_an_application_role_that_is_none(stage: Stage, role: str, seen: str) -> None:
    plan = stage.plan(cutover={"approvers": ["operator"], "application_roles": [role]})
    assert seen in only(stage.problems("roles.applications", plan)).seen


MASTERS = {
    "a member of rds_superuser, as on RDS": (
        ("CREATE ROLE rds_superuser", "GRANT rds_superuser TO shop_bi"),
        ("DROP ROLE rds_superuser",),
        "a member of rds_superuser",
    ),
    "the owner, who may create roles": (
        ("ALTER DATABASE shop OWNER TO shop_bi", "ALTER ROLE shop_bi CREATEROLE"),
        ("ALTER DATABASE shop OWNER TO shop_owner", "ALTER ROLE shop_bi NOCREATEROLE"),
        "it owns the database and may create roles",
    ),
}


@pytest.mark.parametrize("kind", MASTERS)
def test_an_application_that_is_the_master_user_can_be_separated_from_it(stage: Stage, kind: str) -> None:
    statements, undo, seen = MASTERS[kind]
    made = 'DROP OWNED BY "shop_bi_app"', 'DROP ROLE "shop_bi_app"'
    with stage.on("source", *statements, undo=undo) as conn:
        problem = only(stage.problems("roles.master_user"))
        assert (problem.object, seen in problem.seen) == ("shop_bi", True)
        conn.execute(problem.remedy)
        try:
            conn.execute("SET ROLE shop_bi_app")
            conn.execute("UPDATE orders SET currency = currency")
            conn.execute("SELECT nextval('invoice_number_seq')")
            conn.execute("RESET ROLE")
            separated = stage.plan(cutover={"approvers": ["operator"], "application_roles": ["shop_bi_app"]})
            assert stage.problems("roles.master_user", separated) == []
            assert stage.problems("roles.applications", separated) == []
        finally:
            for statement in ("RESET ROLE", *made):
                conn.execute(statement)


def test_an_owner_without_createrole_is_no_master_user(stage: Stage) -> None:
    plan = stage.plan(cutover={"approvers": ["operator"], "application_roles": ["shop_owner"]})
    assert stage.problems("roles.master_user", plan) == []


# --- locale


@pytest.fixture
def latin(poor_server: PostgresServer) -> Iterator[Database]:
    with database(poor_server, dbname="latin") as seen:
        yield seen


def test_databases_in_different_encodings(poor: Database, latin: Database) -> None:
    assert "UTF8 on the source, LATIN1 on the target" in only(run("locale.encoding", source=poor, target=latin)).seen


def test_databases_that_sort_differently(stage: Stage) -> None:
    create = "CREATE DATABASE sorted LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C' TEMPLATE template0"
    with stage.on("target", create, undo=("DROP DATABASE sorted",)):
        at = replace(stage.endpoints["shop_target"], dbname="sorted")
        other = Stage(stage.pair, stage.bouncer, stage.endpoints | {"sorted": at})
        problems = other.problems("locale.collation", stage.plan(target="sorted"))
        assert {problem.object for problem in problems} >= {"provider", "locale"}


def test_databases_in_different_time_zones(stage: Stage, poor: Database) -> None:
    problem = only(stage.problems("locale.time_zone", target=poor))
    assert "UTC on the source, Europe/Paris on the target" in problem.seen


def test_prepared_transactions(stage: Stage) -> None:
    with server(16, settings={"max_prepared_transactions": "2"}) as running, running.connect() as conn:
        conn.execute("CREATE TABLE t (i int); INSERT INTO t VALUES (1)")
        conn.execute("BEGIN")
        conn.execute("INSERT INTO t VALUES (2)")
        conn.execute("PREPARE TRANSACTION 'it''s'")
        with database(running) as seen:
            problem = only(run("activity.prepared_transactions", source=seen))
        assert problem.object == "it's"
        assert problem.remedy.startswith("COMMIT PREPARED 'it''s';")
