"""The shop in its form for AWS DMS: the local DMS carries every value of it, in the load and while clients write."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql

from crossfade.engines.dms.endpoints import ATTRIBUTES, SETTINGS, EndpointSide
from crossfade.engines.dms.settings import task_settings
from crossfade_lab import dms_facts, testing
from crossfade_lab.aws.local import LocalAws
from crossfade_lab.postgres import PostgresServer, binaries
from crossfade_lab.shop.data import DATABASE, TABLES, Engine
from crossfade_lab.verdict import verify
from crossfade_lab.workload import Spec, WorkloadProcess

LOBS_NOT_NULL = """
    SELECT format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL', a.attrelid::regclass, a.attname)
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relkind IN ('r', 'p') AND c.relnamespace IN ('public'::regnamespace, 'billing'::regnamespace)
      AND a.attnotnull AND a.attnum > 0 AND NOT c.relispartition
      AND format_type(a.atttypid, NULL) ~ '^(text|jsonb|bytea|email_address|.*\\[\\])$'"""
PRIVILEGES = """
    GRANT CONNECT, CREATE ON DATABASE shop TO shop_dms;
    GRANT USAGE ON SCHEMA public, billing TO shop_dms;
    GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA public, billing TO shop_dms"""


def wait(condition: Callable[[], Any], *, seconds: float = 60) -> Any:
    """What a condition says once it is true; an error when that takes too long."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)
    return found


@dataclass
class Replication:
    """A replication task of the local DMS between a shop and an empty copy of it."""

    pair: testing.ShopPair
    aws: LocalAws
    task: str = ""

    def __post_init__(self) -> None:
        self.dms = self.aws.client("dms")

    def server(self, side: str) -> PostgresServer:
        return self.pair.source if side == "source" else self.pair.target

    def create(self) -> None:
        """The task, ready to start, with the roles of docs/privileges on both sides."""
        instance = self.dms.create_replication_instance(
            ReplicationInstanceIdentifier="lab", ReplicationInstanceClass="dms.r6i.large", AllocatedStorage=100
        )["ReplicationInstance"]["ReplicationInstanceArn"]
        instances = self.dms.describe_replication_instances
        wait(lambda: instances()["ReplicationInstances"][0]["ReplicationInstanceStatus"] == "available")
        ends = {side: self.endpoint(side) for side in SETTINGS}
        for arn in ends.values():
            self.dms.test_connection(ReplicationInstanceArn=instance, EndpointArn=arn)
        tests = self.dms.describe_connections
        wait(lambda: [test["Status"] for test in tests()["Connections"]] == ["successful"] * 2)
        settings = task_settings(
            control_schema="crossfade",
            jobs=4,
            validation=False,
            # the tables are complete, foreign keys included: they cannot be truncated
            overrides={"FullLoadSettings": {"TargetTablePrepMode": "DO_NOTHING"}},
        )
        self.task = self.dms.create_replication_task(
            ReplicationTaskIdentifier="shop",
            SourceEndpointArn=ends["source"],
            TargetEndpointArn=ends["target"],
            ReplicationInstanceArn=instance,
            MigrationType="full-load-and-cdc",
            TableMappings=json.dumps({"rules": [_selection(1, "public"), _selection(2, "billing")]}),
            ReplicationTaskSettings=settings.to_json(),
        )["ReplicationTask"]["ReplicationTaskArn"]
        wait(lambda: self.state()["Status"] == "ready")

    def endpoint(self, side: EndpointSide) -> str:
        """The ARN of a new one, with the settings of Crossfade's."""
        server = self.server(side)
        made = self.dms.create_endpoint(
            EndpointIdentifier=side, EndpointType=side, EngineName="postgres", ServerName=server.host,
            Port=server.port, DatabaseName=DATABASE, Username="shop_dms", Password=self.pair.logins.shop_dms,
            PostgreSQLSettings=dict(SETTINGS[side]), ExtraConnectionAttributes=ATTRIBUTES,
        )  # fmt: skip
        return str(made["Endpoint"]["EndpointArn"])

    def state(self) -> dict[str, Any]:
        return dict(self.dms.describe_replication_tasks()["ReplicationTasks"][0])

    def start(self, how: str) -> None:
        self.dms.start_replication_task(ReplicationTaskArn=self.task, StartReplicationTaskType=how)

    def loaded(self) -> bool:
        """Whether the task has stopped where everything is loaded."""
        now = self.state()
        if now["Status"] not in ("stopped", "failed"):
            return False
        assert now.get("StopReason") == "Stop Reason STOPPED_AFTER_CACHED_EVENTS", (now, self.broken())
        return True

    def broken(self) -> list[str]:
        """Tables that DMS has given up, with why."""
        counted = self.dms.describe_table_statistics(ReplicationTaskArn=self.task)["TableStatistics"]
        lost = [table["TableName"] for table in counted if table["TableState"] != "Table completed"]
        return [*lost, (self.aws.task_directory(self.task) / "log.txt").read_text()] if lost else []

    def differences(self) -> list[str]:
        """Tables whose rows are not the same on both sides."""
        return [name for _, name in TABLES if self.digest("source", name) != self.digest("target", name)]

    def digest(self, side: str, name: str) -> tuple[Any, ...]:
        """Number of rows of a table, and a hash of all their values."""
        query = sql.SQL("SELECT count(*), md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))) FROM {} AS t")
        with self.server(side).connect(DATABASE) as connection:
            connection.execute("SET search_path = public, billing")
            return tuple(connection.execute(query.format(sql.Identifier(name))).fetchone() or ())


def _selection(number: int, schema: str) -> dict[str, Any]:
    return {
        "rule-type": "selection", "rule-id": str(number), "rule-name": str(number), "rule-action": "include",
        "object-locator": {"schema-name": schema, "table-name": "%"},
    }  # fmt: skip


@pytest.fixture(scope="module")
def replication() -> Iterator[Replication]:
    """A shop in the form for DMS, its schema on the target without NOT NULL on large objects, and a ready task."""
    with (
        testing.shop_pair(rows=4_000, engine=Engine.DMS) as pair,
        testing.scratch_directory() as directory,
        LocalAws(directory / "aws") as aws,
    ):
        copy_schema(pair)
        made = Replication(pair, aws)
        made.create()
        yield made


def copy_schema(pair: testing.ShopPair) -> None:
    """The whole schema of the source on the target, owned by the superuser."""
    password = {"PGPASSWORD": pair.source.password}
    dump = [binaries(18) / "pg_dump", "-s", "-O", "-x", "--no-publications", "-d", pair.source.dsn(dbname=DATABASE)]
    schema = subprocess.run(dump, env=password, capture_output=True, text=True, check=True).stdout
    with testing.scratch_directory() as directory:
        script = Path(directory / "schema.sql")
        script.write_text(schema)
        pair.target.psql(script, dbname=DATABASE)
    with pair.target.connect(DATABASE) as connection:
        for (statement,) in connection.execute(LOBS_NOT_NULL).fetchall():
            connection.execute(statement)
        connection.execute(PRIVILEGES)


def test_the_local_dms_carries_every_value_of_the_load_and_of_the_changes(
    replication: Replication, tmp_path: Path
) -> None:
    pair = replication.pair
    with testing.bouncers(pair.source, pair.logins, count=1) as bouncers:
        spec = Spec(endpoints=[bouncers[0].dsn("shop_app", DATABASE)], directory=str(tmp_path), clients=8, rate=150.0)
        with WorkloadProcess(spec) as workload:
            assert dms_facts.loading(replication.dms)[1] == 0
            replication.start("start-replication")
            wait(replication.loaded, seconds=90)
            assert dms_facts.loading(replication.dms)[1] >= 4_000
            replication.start("resume-processing")
            wait(lambda: replication.state()["Status"] == "running")
            before = workload.status()["acked"]
            wait(lambda: workload.status()["acked"] > before + 300)
    wait(lambda: not replication.broken() and not replication.differences(), seconds=60)
    with pair.target.connect(DATABASE) as connection:
        largest = "SELECT max(octet_length(body::text)), max(octet_length(content)) FROM documents"
        assert connection.execute(largest).fetchone() > (1_000_000, 1_000_000)
        assert connection.execute("SELECT count(*) FROM customers WHERE 'NaN' = ANY (scores)").fetchone() > (0,)
    verdict = verify(tmp_path, pair.target.dsn(dbname=DATABASE))
    assert verdict.ok, verdict.examples
    assert verdict.acked_writes == verdict.attempted > 300
