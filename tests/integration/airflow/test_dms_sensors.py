"""The sensors of AWS DMS against replication tasks of the local AWS that really move rows, and fail as DMS's do."""

import asyncio
import json
from itertools import count
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowSensorTimeout, TaskDeferred

from crossfade import control
from crossfade.connect import Endpoint
from crossfade.engines.dms.assessment import AssessmentFailed
from crossfade.routers.base import Side
from crossfade_airflow.operators import AssessmentRunOperator
from crossfade_airflow.sensors import (
    DmsCdcLatencySensor,
    DmsFullLoadSensor,
    DmsTaskRunningSensor,
    DmsValidationSensor,
)
from crossfade_airflow.triggers import sampling
from crossfade_airflow.triggers.sampling import StreamBroken, StreamInterrupted
from crossfade_lab.aws.local import ACCESS_KEY, REGION, SECRET_KEY, LocalAws
from crossfade_lab.processes import wait_until
from crossfade_lab.testing import scratch_directory, server

SOON = {"aws_conn_id": "aws_test", "poke_interval": 0.2, "timeout": 120}
STREAM = "sensors_1"
TRUST = json.dumps(
    {"Statement": [{"Effect": "Allow", "Principal": {"Service": "dms.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
)

_numbers = count(1)


class World:
    """A local AWS with an instance and two endpoints, which lead to the databases `src` and `dst` of one server."""

    def __init__(self, aws, postgres):
        self.aws, self.postgres = aws, postgres
        self.dms = aws.client("dms")
        self.tasks = []
        self.source, self.target = postgres.connect("src"), postgres.connect("dst")
        made = self.dms.create_replication_instance(
            ReplicationInstanceIdentifier="lab", ReplicationInstanceClass="dms.c5.large", AllocatedStorage=20
        )
        self.instance = made["ReplicationInstance"]["ReplicationInstanceArn"]
        describe = self.dms.describe_replication_instances
        assert wait_until(
            lambda: describe()["ReplicationInstances"][0]["ReplicationInstanceStatus"] == "available", seconds=30
        )
        self.ends = {side: self._endpoint(side) for side in ("source", "target")}
        assert wait_until(lambda: self._tested() == ["successful"] * 2, seconds=60)

    def _endpoint(self, side):
        made = self.dms.create_endpoint(
            EndpointIdentifier=side, EndpointType=side, EngineName="postgres", ServerName=self.postgres.host,
            Port=self.postgres.port, DatabaseName={"source": "src", "target": "dst"}[side],
            Username="dms", Password="sesame-street",
        )["Endpoint"]["EndpointArn"]  # fmt: skip
        self.dms.test_connection(ReplicationInstanceArn=self.instance, EndpointArn=made)
        return made

    def _tested(self):
        return [connection["Status"] for connection in self.dms.describe_connections()["Connections"]]

    def both(self, statement):
        """Run SQL on both sides."""
        for side in (self.source, self.target):
            side.execute(statement)

    def task(self, *tables, validation=False, stop=True):
        """A task that is ready: its ARN; its identifier is the last of `names`."""
        selected = [name.split(".") for name in tables or ("public.t",)]
        rules = [
            {
                "rule-type": "selection", "rule-id": str(number), "rule-name": str(number), "rule-action": "include",
                "object-locator": {"schema-name": schema, "table-name": table},
            }
            for number, (schema, table) in enumerate(selected, 1)
        ]  # fmt: skip
        settings = {
            "FullLoadSettings": {"TargetTablePrepMode": "DO_NOTHING", "StopTaskCachedChangesApplied": stop},
            "ChangeProcessingTuning": {"MinTransactionSize": 1},
            "ValidationSettings": {"EnableValidation": validation},
        }
        name = f"watched-{next(_numbers)}"
        arn = self.dms.create_replication_task(
            ReplicationTaskIdentifier=name, SourceEndpointArn=self.ends["source"],
            TargetEndpointArn=self.ends["target"], ReplicationInstanceArn=self.instance,
            MigrationType="full-load-and-cdc", TableMappings=json.dumps({"rules": rules}),
            ReplicationTaskSettings=json.dumps(settings),
        )["ReplicationTask"]["ReplicationTaskArn"]  # fmt: skip
        self.tasks.append(arn)
        self.until(arn, "ready")
        return SimpleNamespace(name=name, arn=arn)

    def started(self, *tables, **options):
        task = self.task(*tables, **options)
        self.start(task)
        return task

    def start(self, task, how="start-replication"):
        self.dms.start_replication_task(ReplicationTaskArn=task.arn, StartReplicationTaskType=how)

    def streaming(self, *tables, **options):
        """A task that is past its load and runs."""
        task = self.started(*tables, stop=False, **options)
        self.until(task.arn, "running")
        assert wait_until(lambda: self._states(task.arn) == {"Table completed"}, seconds=60)
        return task

    def _states(self, arn):
        found = self.dms.describe_table_statistics(ReplicationTaskArn=arn)["TableStatistics"]
        return {table["TableState"] for table in found}

    def state(self, arn):
        only = [{"Name": "replication-task-arn", "Values": [arn]}]
        return self.dms.describe_replication_tasks(Filters=only)["ReplicationTasks"][0]["Status"]

    def until(self, arn, *states):
        assert wait_until(lambda: self.state(arn) in states, seconds=60), self.state(arn)

    def clear(self):
        """No task is left, and no table."""
        for arn in self.tasks:
            self.aws.kill_worker(arn)
            self.until(arn, "failed", "stopped", "ready")
            self.dms.delete_replication_task(ReplicationTaskArn=arn)
        assert wait_until(lambda: not self._left(), seconds=60)
        self.tasks.clear()
        self.both("DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    def _left(self):
        try:
            return self.dms.describe_replication_tasks()["ReplicationTasks"]
        except self.dms.exceptions.ResourceNotFoundFault:
            return []


@pytest.fixture(scope="module")
def lab():
    with server(16) as postgres, scratch_directory() as directory, LocalAws(directory) as aws:
        with postgres.connect() as admin:
            admin.execute("CREATE ROLE dms SUPERUSER LOGIN PASSWORD 'sesame-street'")
            for name in ("src", "dst"):
                admin.execute(f"CREATE DATABASE {name}")
        yield World(aws, postgres)


@pytest.fixture
def world(lab, monkeypatch):
    """The world with the table `t` and three rows of it, and Airflow's connections to it."""
    monkeypatch.setattr(sampling, "HAND_OVER", 0)
    once = {"retries": {"mode": "standard", "max_attempts": 1}}  # a throttled call is not tried again by botocore
    aws = {"conn_type": "aws", "login": ACCESS_KEY, "password": SECRET_KEY}
    aws["extra"] = {"endpoint_url": lab.aws.url, "region_name": REGION, "config_kwargs": once}
    source = {"conn_type": "postgres", "host": lab.postgres.host, "port": lab.postgres.port, "schema": "src"}
    source |= {"login": lab.postgres.user, "password": lab.postgres.password}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_TEST", json.dumps(aws))
    monkeypatch.setenv("AIRFLOW_CONN_TEST_SRC", json.dumps(source))
    lab.both("CREATE TABLE t (id int PRIMARY KEY, v varchar(9))")
    lab.source.execute("INSERT INTO t SELECT n, 'row ' || n FROM generate_series(1, 3) n")
    yield lab
    lab.clear()


def waited(operator):
    """Run an operator with its trigger, as worker, triggerer and worker do."""
    try:
        return operator.execute({})
    except TaskDeferred as deferred:
        _, arguments = deferred.trigger.serialize()
        again = type(deferred.trigger)(**arguments)

        async def first():
            async for event in again.run():
                return event.payload

        event = asyncio.run(first())
        return operator.execute_complete({}, event, **(deferred.kwargs or {}))


def running(task, **changes):
    return DmsTaskRunningSensor(task_id="running", replication_task_id=task.name, **{**SOON, **changes})


def full_load(task, **changes):
    return DmsFullLoadSensor(task_id="full_load", replication_task_id=task.name, **{**SOON, **changes})


def cdc_latency(task, **changes):
    given = {**SOON, "samples": 1, "source_conn_id": "test_src", "stream": STREAM, **changes}
    return DmsCdcLatencySensor(task_id="cdc_latency", replication_task_id=task.name, **given)


def validation(task, **changes):
    return DmsValidationSensor(task_id="validation", replication_task_id=task.name, **{**SOON, **changes})


def test_a_task_that_comes_up_is_waited_for_and_its_load_too(world):
    task = world.task()
    world.aws.fault(task.arn, load_delay_ms_per_batch=1500)
    world.start(task)
    assert waited(running(task)) is not None
    assert waited(full_load(task)) == {"tables": 1, "rows": 3, "percent": 100}
    assert world.state(task.arn) == "stopped"
    assert world.target.execute("SELECT count(*) FROM t").fetchone() == (3,)
    waited(running(task))  # a load that has ended already is no failure of the sensor before it


def test_a_table_in_error_fails_the_load_and_is_named(world):
    world.both('CREATE TABLE "Bad Ones" (id int PRIMARY KEY)')
    world.both('INSERT INTO "Bad Ones" VALUES (1)')
    task = world.started("public.t", "public.Bad Ones")
    with pytest.raises(StreamBroken, match=r"public\.Bad Ones: Table error.*This sensor has no plan"):
        waited(full_load(task))


def test_a_task_that_fails_fails_its_sensors_with_cause_and_next_step(world):
    task = world.task()
    world.aws.fault(task.arn, storage_full=True)
    world.start(task)
    world.until(task.arn, "failed")
    for sensor in (running, full_load, cdc_latency):
        with pytest.raises(StreamBroken, match=r"out of storage.*--allocated-storage"):
            waited(sensor(task, stream=None) if sensor is cdc_latency else sensor(task))


def test_a_failure_that_may_pass_is_one_that_airflow_tries_again(world):
    task = world.task()
    world.aws.fault(task.arn, fail="connection to server at 10.0.0.1 was lost")
    world.start(task)
    with pytest.raises(StreamInterrupted, match=r"connection to a database was lost"):
        waited(full_load(task))


def test_what_will_not_come_by_itself_is_not_waited_for(world):
    task = world.streaming()
    with pytest.raises(StreamBroken, match="StopTaskCachedChangesApplied"):
        waited(full_load(task))
    with pytest.raises(StreamBroken, match=r"does not validate. Set ValidationSettings.EnableValidation"):
        waited(validation(task))
    with pytest.raises(StreamBroken, match=r"'sensors_1' cannot be written on 'test_src'.*Clear the task provision"):
        waited(cdc_latency(task))
    world.dms.stop_replication_task(ReplicationTaskArn=task.arn)
    world.until(task.arn, "stopped")
    for sensor in (running(task), cdc_latency(task, stream=None), full_load(task)):
        with pytest.raises(StreamBroken, match="it was stopped by somebody"):
            waited(sensor)


def test_a_task_that_is_not_there_and_a_connection_that_is_not_are_told(world):
    with pytest.raises(StreamBroken, match="no replication task 'nowhere'"):
        waited(running(SimpleNamespace(name="nowhere")))
    with pytest.raises(StreamBroken, match="'no_aws', which a sensor of AWS DMS"):
        waited(running(SimpleNamespace(name="nowhere"), aws_conn_id="no_aws"))


def test_a_task_that_nobody_starts_times_out(world):
    with pytest.raises(AirflowSensorTimeout, match="is ready, 0 % loaded: nobody has started it"):
        waited(running(world.task(), timeout=0.5))


def test_an_api_that_throttles_is_asked_again(world):
    task = world.started()
    world.aws.throttle("DescribeReplicationTasks", 2)
    assert waited(full_load(task))["rows"] == 3


@pytest.fixture
def watermark(world):
    """The watermark's table on both sides, and a task that carries it."""
    for side, conn in ((Side.SOURCE, "src"), (Side.TARGET, "dst")):
        with Endpoint.from_dsn("test", world.postgres.dsn(dbname=conn)).session("test") as session:
            control.install(session, side)
            control.add_stream(session, STREAM)
    yield f"crossfade.{control.watermark_table(STREAM)}"
    world.both("DROP SCHEMA crossfade CASCADE")


def test_an_idle_source_proves_nothing_and_a_watermark_does(world, watermark):
    task = world.streaming("public.t", watermark)
    with pytest.raises(AirflowSensorTimeout, match=r"nothing captured in 15 min|not known yet"):
        waited(cdc_latency(task, stream=None, timeout=5))
    figures = waited(cdc_latency(task, max_seconds=60))
    assert set(figures) == {"source_seconds", "target_seconds"}
    arrived = "SELECT count(*) FROM crossfade.watermark"
    assert wait_until(lambda: world.target.execute(arrived).fetchone() == (1,), seconds=60)


def test_a_suspended_table_fails_the_sensor_of_latency(world):
    world.both("CREATE TABLE other (id int PRIMARY KEY)")
    task = world.streaming("public.t", "public.other")
    world.aws.fault(task.arn, suspend=["public.other"])
    with pytest.raises(StreamBroken, match=r"without 1 of its tables.*public\.other"):
        waited(cdc_latency(task, stream=None))


def test_equal_tables_validate_and_different_ones_are_named(world):
    task = world.streaming(validation=True)
    assert waited(validation(task)) == {"validated": 1}
    world.target.execute("UPDATE t SET v = 'wrong' WHERE id = 2")
    world.dms.reload_tables(
        ReplicationTaskArn=task.arn,
        TablesToReload=[{"SchemaName": "public", "TableName": "t"}],
        ReloadOption="validate-only",
    )

    def failed():
        (table,) = world.dms.describe_table_statistics(ReplicationTaskArn=task.arn)["TableStatistics"]
        return table["ValidationFailedRecords"]

    assert wait_until(failed, seconds=60)
    with pytest.raises(StreamBroken, match=r"different: public\.t \(1 failed"):
        waited(validation(task))


@pytest.fixture
def results(lab):
    """Where the results of assessments go, and as whom."""
    lab.aws.client("s3").create_bucket(Bucket="results", CreateBucketConfiguration={"LocationConstraint": REGION})
    role = lab.aws.client("iam").create_role(RoleName="assess", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    yield {"service_role_arn": role, "bucket": "results"}
    for key in lab.aws.client("s3").list_objects_v2(Bucket="results").get("Contents", []):
        lab.aws.client("s3").delete_object(Bucket="results", Key=key["Key"])
    lab.aws.client("s3").delete_bucket(Bucket="results")
    lab.aws.client("iam").delete_role(RoleName="assess")


def assessment(task, results):
    return AssessmentRunOperator(task_id="assess", replication_task_id=task.name, **SOON, **results)


def test_an_assessment_is_awaited_and_each_of_its_parts_reported(world, results):
    statuses = waited(assessment(world.task(), results))
    assert "passed" in statuses.values() and "failed" not in statuses.values()


def test_an_assessment_that_fails_is_named_and_the_next_one_is_another(world, results):
    world.both("ALTER TABLE t ADD COLUMN address inet")
    task = world.task()
    for _ in range(2):
        with pytest.raises(AssessmentFailed, match=r"unsupported-data-types-in-source.*s3://results"):
            waited(assessment(task, results))
    world.both("ALTER TABLE t DROP COLUMN address")
    assert waited(assessment(task, results))["unsupported-data-types-in-source"] == "passed"


def test_an_assessment_of_a_task_that_has_started_is_left_out(world, results):
    assert waited(assessment(world.started(), results)) == {}
