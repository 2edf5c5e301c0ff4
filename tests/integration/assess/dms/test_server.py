"""Settings of the servers: those of a poor server, of a role, and of platforms of AWS as they have been recorded."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from botocore.stub import Stubber

from crossfade.assess import Severity
from crossfade.assess.platform import Platform, change_of, database_identifier, platform
from crossfade.assess.scene import Database
from crossfade.connect import Endpoint
from crossfade.routers.base import Side
from crossfade_lab.postgres import PostgresServer
from crossfade_lab.testing import server

from .conftest import DmsStage, only

POOR = {"max_replication_slots": "1", "max_wal_senders": "1", "wal_sender_timeout": "5s", "statement_timeout": "0"}
HOST = "shop.cab12345.eu-west-1.rds.amazonaws.com"


@pytest.fixture(scope="module")
def poor_server() -> Iterator[PostgresServer]:
    with server(16, settings=POOR) as running:
        yield running


@pytest.fixture
def poor(poor_server: PostgresServer) -> Iterator[Database]:
    """A server whose settings do not do for DMS."""
    endpoint = Endpoint.from_dsn("poor", poor_server.dsn())
    with endpoint.session("assess", settings={"default_transaction_read_only": "on"}) as conn:
        yield Database(Side.SOURCE, endpoint, conn)


@pytest.fixture
def of_rds(poor_server: PostgresServer, poor: Database) -> Iterator[Database]:
    """The same server with what RDS has, under a host name of RDS."""
    with poor_server.connect() as conn:
        conn.execute("CREATE ROLE rds_superuser")
        yield Database(Side.SOURCE, replace(poor.endpoint, host=HOST), poor.conn)
        conn.execute("DROP ROLE rds_superuser")


@pytest.fixture
def of_aurora(poor_server: PostgresServer, poor: Database) -> Iterator[Database]:
    """The same server with what Aurora has."""
    with poor_server.connect() as conn:
        conn.execute("CREATE FUNCTION aurora_version() RETURNS text LANGUAGE sql RETURN '16.3'")
        yield Database(Side.SOURCE, replace(poor.endpoint, host=HOST.replace(".cab", ".cluster-cab")), poor.conn)
        conn.execute("DROP FUNCTION aurora_version")


def test_no_free_slot_and_no_free_sender(dms_stage: DmsStage, poor: Database) -> None:
    slots, senders = dms_stage.problems("dms_server.slots_and_senders", source=poor)
    assert (slots.object, senders.object) == ("max_replication_slots", "max_wal_senders")
    assert slots.remedy == "ALTER SYSTEM SET max_replication_slots = 2;  -- then restart"
    assert dms_stage.problems("dms_server.slots_and_senders") == []


def test_slots_that_others_take(dms_stage: DmsStage) -> None:
    limit = 10
    make = "SELECT count(pg_create_physical_replication_slot('s' || n)) FROM generate_series(1, {}) AS n"
    drop = (
        "SELECT count(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots WHERE slot_name ~ '^s[0-9]+$'",
    )
    with dms_stage.on("source") as conn:
        limit = int(conn.execute("SHOW max_replication_slots").fetchone()[0])  # type: ignore[index]
    with dms_stage.on("source", make.format(limit), undo=drop):
        problem = only(dms_stage.problems("dms_server.slots_and_senders"))
        assert f"{limit} on shop_source, {limit} taken" in problem.seen
        assert f"= {limit + 1};" in problem.remedy


def test_a_sender_timeout_that_would_cut_the_stream(dms_stage: DmsStage, poor: Database) -> None:
    problem = only(dms_stage.problems("dms_server.sender_timeout", source=poor))
    assert "5000 ms on poor" in problem.seen
    assert problem.remedy == "ALTER SYSTEM SET wal_sender_timeout = 0; SELECT pg_reload_conf();"
    assert dms_stage.problems("dms_server.sender_timeout") == []


def test_what_is_set_for_the_role_of_dms_counts_and_the_remedy_helps(dms_stage: DmsStage) -> None:
    set_it = "ALTER ROLE shop_dms SET idle_in_transaction_session_timeout = '1min'"
    with dms_stage.on("target", set_it, undo=("ALTER ROLE shop_dms RESET ALL",)) as conn:
        problem = only(dms_stage.problems("dms_server.session_limits"))
        assert problem.seen == '60000 ms for "shop_dms" on shop_target: its sessions would end'
        conn.execute(problem.remedy.encode())
        assert dms_stage.problems("dms_server.session_limits") == []


def test_what_is_set_for_the_database_counts_unless_the_role_has_its_own(dms_stage: DmsStage) -> None:
    set_it = "ALTER DATABASE shop SET statement_timeout = '30s'"
    with dms_stage.on("source", set_it, undo=("ALTER DATABASE shop RESET statement_timeout",)):
        problem = only(dms_stage.problems("dms_server.session_limits"))
        assert (problem.object, problem.seen[:8]) == ("statement_timeout", "30000 ms")
        own = "ALTER ROLE shop_dms SET statement_timeout = 0"
        with dms_stage.on("source", own, undo=("ALTER ROLE shop_dms RESET ALL",)):
            assert dms_stage.problems("dms_server.session_limits") == []


def test_an_rds_proxy_as_the_source_by_its_host_name(dms_stage: DmsStage) -> None:
    ends = dms_stage.ends("source", host="shop.proxy-cab12345.eu-west-1.rds.amazonaws.com")
    assert "captures no changes through one" in only(dms_stage.problems("dms_server.proxy", ends=ends)).seen
    assert dms_stage.problems("dms_server.proxy", ends=dms_stage.ends("source", host=HOST)) == []


def test_aurora_with_commits_that_are_not_durable_as_recorded(
    dms_stage: DmsStage, poor_server: PostgresServer, of_aurora: Database
) -> None:
    assert dms_stage.problems("dms_server.aurora_commits", source=of_aurora) == []
    with poor_server.connect() as conn:
        conn.execute("ALTER ROLE postgres SET synchronous_commit = off")
    endpoint = Endpoint.from_dsn("poor", poor_server.dsn())
    with endpoint.session("assess") as again:
        seen = Database(Side.SOURCE, of_aurora.endpoint, again)
        problem = only(dms_stage.problems("dms_server.aurora_commits", source=seen))
        again.execute("ALTER ROLE postgres RESET synchronous_commit")
    assert "modify-db-cluster-parameter-group" in problem.remedy


def test_a_plain_server_has_its_settings_changed_by_sql(poor: Database) -> None:
    assert platform(poor.conn) is Platform.PLAIN
    text = change_of(poor.platform, poor.endpoint, "wal_level", "logical", restart=True)
    assert text == "ALTER SYSTEM SET wal_level = 'logical';  -- then restart"


def test_remedies_on_rds_are_of_its_parameter_group_as_recorded(dms_stage: DmsStage, of_rds: Database) -> None:
    assert of_rds.platform is Platform.RDS
    first = dms_stage.problems("server.wal_level", source=of_rds)
    assert first == []  # the lab's servers have logical WAL
    assert change_of(of_rds.platform, of_rds.endpoint, "wal_level", "logical", restart=True).splitlines() == [
        "aws rds modify-db-parameter-group --db-parameter-group-name … --parameters "
        "ParameterName=rds.logical_replication,ParameterValue=1,ApplyMethod=pending-reboot",
        "aws rds reboot-db-instance --db-instance-identifier shop",
    ]
    assert "wal_sender_timeout,ParameterValue=0,ApplyMethod=immediate" in (
        only(dms_stage.problems("dms_server.sender_timeout", source=of_rds)).remedy
    )


@pytest.mark.parametrize(
    ("host", "identifier"),
    [
        (HOST, "shop"),
        (HOST.upper(), "SHOP"),
        ("shop.cluster-ro-cab12345.eu-west-1.rds.amazonaws.com", "shop"),
        ("shop.proxy-cab12345.eu-west-1.rds.amazonaws.com", None),
        ("db.example.org", None),
    ],
)
def test_the_identifier_of_a_database_is_in_its_host_name(host: str, identifier: str | None) -> None:
    assert database_identifier(Endpoint(name="x", host=host, dbname="d", user="u")) == identifier


def test_a_parameter_group_of_rds_that_does_not_do_as_recorded(dms_stage: DmsStage, of_rds: Database) -> None:
    rds = dms_stage.client("", "rds")
    told = {"DBParameterGroupName": "ours", "ParameterApplyStatus": "pending-reboot"}
    with Stubber(rds) as recorded:
        recorded.add_response("describe_db_instances", {"DBInstances": [{"DBParameterGroups": [told]}]})
        recorded.add_response("describe_db_parameters", {"Parameters": []})
        problems = dms_stage.problems("dms_server.parameter_groups", source=of_rds, rds=rds)
    remedies = {problem.seen.split(": ")[1].split(":")[0]: problem.remedy for problem in problems[:-1]}
    assert "--db-parameter-group-name ours" in remedies["max_replication_slots"]
    assert "wal_sender_timeout" in remedies
    assert "rds.logical_replication" not in remedies  # it runs with logical WAL
    assert problems[-1].seen == "changes of shop wait for a reboot"
    with Stubber(rds) as recorded:
        recorded.add_client_error("describe_db_instances", "AccessDenied")
        problem = only(dms_stage.problems("dms_server.parameter_groups", source=of_rds, rds=rds))
    assert (problem.object, "rds:DescribeDBInstances" in problem.seen) == ("shop", True)


def test_no_parameter_group_is_asked_for_where_the_server_is_no_one_of_aws(dms_stage: DmsStage, poor: Database) -> None:
    assert dms_stage.problems("dms_server.parameter_groups", source=poor, rds=None) == []


def test_settings_of_the_task_that_cannot_be_used_or_lose_something(dms_stage: DmsStage) -> None:
    def said(**settings: Any) -> list[Any]:
        return dms_stage.problems("dms_settings.usable", dms_stage.plan({"settings": settings}))

    assert said() == []
    assert said(TargetMetadata={"ParallelApplyThreads": 0}) == []
    refused = only(said(TargetMetadata={"BatchAplyEnabled": True}))
    assert (refused.object, refused.severity) == ("dms.settings.TargetMetadata.BatchAplyEnabled", None)
    assert "Did you mean TargetMetadata.BatchApplyEnabled?" in refused.remedy
    lossy = only(said(ErrorBehavior={"ApplyErrorDeletePolicy": "IGNORE_RECORD"}))
    assert (lossy.object, lossy.severity) == ("dms.settings.ErrorBehavior.ApplyErrorDeletePolicy", Severity.WARNING)
    assert "a DELETE that fails is left out" in lossy.seen
