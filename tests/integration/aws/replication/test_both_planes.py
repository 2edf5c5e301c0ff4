"""The API and the worker together: a task made with boto3 moves rows, resumes, reloads, and leaves no slot."""

import json
import time
from collections.abc import Callable
from typing import Any

from replication_tasks import Task, selection

from crossfade_lab.aws.local import LocalAws
from crossfade_lab.testing import scratch_directory


def wait(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)


def reached_ends(task: Task, dms: Any, **of_source: Any) -> tuple[str, dict[str, str]]:
    """An instance, and an endpoint for each side, reached from it. :param of_source: its PostgreSQLSettings"""
    for side in ("source", "target"):
        task.execute(side, "DROP ROLE IF EXISTS dms; CREATE ROLE dms LOGIN SUPERUSER PASSWORD 'sesame-street'")
    instance = dms.create_replication_instance(
        ReplicationInstanceIdentifier="lab", ReplicationInstanceClass="dms.c5.large", AllocatedStorage=20
    )["ReplicationInstance"]["ReplicationInstanceArn"]
    instances = lambda: dms.describe_replication_instances()["ReplicationInstances"]  # noqa: E731
    wait(lambda: instances()[0]["ReplicationInstanceStatus"] == "available")
    endpoints = {}
    for side in ("source", "target"):
        place = task.spec[side]
        endpoints[side] = dms.create_endpoint(
            EndpointIdentifier=side, EndpointType=side, EngineName="postgres", ServerName=place["host"],
            Port=place["port"], DatabaseName=place["dbname"], Username="dms", Password="sesame-street",
            PostgreSQLSettings=of_source if side == "source" else {},
        )["Endpoint"]["EndpointArn"]  # fmt: skip
        dms.test_connection(ReplicationInstanceArn=instance, EndpointArn=endpoints[side])
    wait(lambda: [c["Status"] for c in dms.describe_connections()["Connections"]] == ["successful"] * 2)
    return instance, endpoints


def test_a_task_of_the_api_loads_streams_stops_resumes_reloads_and_is_deleted(task: Task) -> None:
    task.both("CREATE TABLE t (id int PRIMARY KEY, v varchar(9))")
    task.execute("source", "INSERT INTO t VALUES (1, 'a')")
    with scratch_directory() as directory, LocalAws(directory) as aws:
        dms = aws.client("dms")
        instance, endpoints = reached_ends(task, dms)
        settings = {
            "FullLoadSettings": {"TargetTablePrepMode": "TRUNCATE_BEFORE_LOAD", "StopTaskCachedChangesApplied": True}
        }
        arn = dms.create_replication_task(
            ReplicationTaskIdentifier="both", SourceEndpointArn=endpoints["source"],
            TargetEndpointArn=endpoints["target"], ReplicationInstanceArn=instance,
            MigrationType="full-load-and-cdc", TableMappings=json.dumps({"rules": [selection(1, "t")]}),
            ReplicationTaskSettings=json.dumps(settings),
        )["ReplicationTask"]["ReplicationTaskArn"]  # fmt: skip

        def state() -> dict[str, Any]:
            return dict(dms.describe_replication_tasks()["ReplicationTasks"][0])

        def start(how: str) -> None:
            dms.start_replication_task(ReplicationTaskArn=arn, StartReplicationTaskType=how)

        wait(lambda: state()["Status"] == "ready")
        start("start-replication")
        wait(lambda: state()["Status"] == "stopped")
        assert state()["StopReason"] == "Stop Reason STOPPED_AFTER_CACHED_EVENTS"
        start("resume-processing")
        task.execute("source", "INSERT INTO t VALUES (2, 'b')")
        task.arrives("SELECT * FROM t ORDER BY id")
        aws.kill_worker(arn)
        wait(lambda: state()["Status"] == "failed")
        start("resume-processing")
        wait(lambda: state()["Status"] == "running")
        task.execute("target", "UPDATE t SET v = 'wrong'")
        dms.reload_tables(ReplicationTaskArn=arn, TablesToReload=[{"SchemaName": "public", "TableName": "t"}])
        task.arrives("SELECT * FROM t ORDER BY id")

        def reloaded_rows() -> int | None:
            """Statistics come some time after the rows."""
            (table,) = dms.describe_table_statistics(ReplicationTaskArn=arn)["TableStatistics"]
            return int(table["FullLoadRows"]) if table["FullLoadReloaded"] else None

        wait(lambda: reloaded_rows() == 2)
        dms.stop_replication_task(ReplicationTaskArn=arn)
        wait(lambda: state()["Status"] == "stopped")
        slots = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
        assert task.execute("source", slots) == [(1,)]
        dms.delete_replication_task(ReplicationTaskArn=arn)
        wait(lambda: task.execute("source", slots) == [(0,)])
        assert task.execute("source", "SELECT count(*) FROM pg_publication") == [(0,)]


def test_a_task_from_a_slot_that_its_owner_makes_begins_there_and_leaves_it(task: Task) -> None:
    task.both("CREATE TABLE t (id int PRIMARY KEY, v varchar(9))")
    with scratch_directory() as directory, LocalAws(directory) as aws:
        dms = aws.client("dms")
        instance, endpoints = reached_ends(task, dms, SlotName="mine")
        arn = dms.create_replication_task(
            ReplicationTaskIdentifier="named", SourceEndpointArn=endpoints["source"],
            TargetEndpointArn=endpoints["target"], ReplicationInstanceArn=instance, MigrationType="cdc",
            TableMappings=json.dumps({"rules": [selection(1, "t")]}),
        )["ReplicationTask"]["ReplicationTaskArn"]  # fmt: skip
        state = lambda: dict(dms.describe_replication_tasks()["ReplicationTasks"][0])  # noqa: E731
        wait(lambda: state()["Status"] == "ready")
        assert task.execute("source", "SELECT count(*) FROM pg_publication") == [(2,)]
        task.execute("source", "INSERT INTO t VALUES (1, 'before')")
        make = "SELECT lsn::text FROM pg_create_logical_replication_slot('mine', 'pgoutput')"
        ((position,),) = task.execute("source", make)
        task.execute("source", "INSERT INTO t VALUES (2, 'after')")
        dms.start_replication_task(
            ReplicationTaskArn=arn, StartReplicationTaskType="start-replication", CdcStartPosition=position
        )
        wait(lambda: task.execute("target", "SELECT id FROM t") == [(2,)])
        dms.stop_replication_task(ReplicationTaskArn=arn)
        wait(lambda: state()["Status"] == "stopped")
        dms.delete_replication_task(ReplicationTaskArn=arn)
        wait(lambda: dms.describe_replication_tasks()["ReplicationTasks"] == [])
        assert task.execute("source", "SELECT slot_name::text FROM pg_replication_slots") == [("mine",)]
        assert task.execute("source", "SELECT count(*) FROM pg_publication") == [(0,)]
        task.execute("source", "SELECT pg_drop_replication_slot('mine')")
