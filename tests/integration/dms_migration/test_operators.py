"""The operators and sensors of a plan with AWS DMS, one after another as its DAG runs them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from crossfade import phases
from crossfade.engines.dms.resource import name_of
from crossfade.errors import CrossfadeError, NotOursToWrite, PreconditionError
from crossfade.journal import Journal, State
from crossfade.routers.base import Side
from crossfade_airflow.operators import (
    CheckLobsOperator,
    CreateTaskOperator,
    DropNotNullOperator,
    HardenOperator,
    MapTablesOperator,
    ProvisionOperator,
    ReloadTablesOperator,
    ResumeTaskOperator,
    SizeLobsOperator,
    StartTaskOperator,
)
from crossfade_airflow.sensors import (
    DmsCdcLatencySensor,
    DmsFullLoadSensor,
    DmsTaskRunningSensor,
    ReplicationSlotLagSensor,
)
from crossfade_airflow.triggers import sampling
from crossfade_lab.aws.local import ACCESS_KEY, REGION, SECRET_KEY

TABLES = (
    'CREATE TABLE "Order Items" (id int PRIMARY KEY, note jsonb NOT NULL)',
    """INSERT INTO "Order Items" SELECT n, json_build_object('text', repeat('x', n)) FROM generate_series(1, 500) n""",
    "CREATE TABLE plain (id int PRIMARY KEY)",
    "INSERT INTO plain SELECT generate_series(1, 9)",
)


@pytest.fixture
def world(small_world: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """A prepared migration, and Airflow's connections to all it names."""
    made = small_world(*TABLES)
    monkeypatch.setattr(sampling, "HAND_OVER", 0)
    for conn_id in ("shop_source", "shop_target", "dms_source", "dms_target"):
        found = made.m.resolve(conn_id)
        login = {"host": found.host, "port": found.port, "schema": found.dbname, "login": found.user}
        connection = {"conn_type": "postgres", "password": found.password, **login}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
    aws = {"conn_type": "aws", "login": ACCESS_KEY, "password": SECRET_KEY}
    aws["extra"] = {"endpoint_url": made.aws.url, "region_name": REGION}  # type: ignore[assignment]
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(aws))
    phases.prepare(made.m)
    return made


def run(world: Any, kind: Any, *, tries: int = 1, **given: Any) -> Any:
    """Run one task of the plan with its trigger, as worker, triggerer and worker do."""
    of_plan = {"plan": world.m.plan.name, "target_conn_id": "shop_target"}
    if kind.__name__.startswith("Dms"):
        of_plan |= {"replication_task_id": name_of(world.m.plan.name), "poke_interval": 0.2, "timeout": 120}
    operator = kind(task_id="t", **of_plan, **given)
    context = {"ti": SimpleNamespace(try_number=tries)}
    try:
        return operator.execute(context)
    except TaskDeferred as deferred:
        _, arguments = deferred.trigger.serialize()
        again = type(deferred.trigger)(**arguments)

        async def first() -> Any:
            async for event in again.run():
                return event.payload

        return operator.execute_complete(context, asyncio.run(first()))


def load(world: Any) -> dict[str, Any]:
    """Everything to the end of the load; what the operators returned."""
    told = {kind.__name__: run(world, kind) for kind in (ProvisionOperator, SizeLobsOperator, DropNotNullOperator)}
    told["definition"] = run(world, MapTablesOperator)
    told["arn"] = run(world, CreateTaskOperator, definition=json.loads(json.dumps(told["definition"])))
    told["started"] = run(world, StartTaskOperator)
    run(world, DmsTaskRunningSensor)
    told["loaded"] = run(world, DmsFullLoadSensor)
    return told


def test_the_tasks_of_the_dag_load_and_stream_and_each_may_be_run_again(world: Any) -> None:
    told = load(world)
    assert told["ProvisionOperator"]["task"] == told["definition"]["identifier"] == name_of(world.m.plan.name)
    (limit,) = told["SizeLobsOperator"]
    assert (limit["name"], limit["largest_column"], limit["mode"]) == ("Order Items", "note", "limited")
    assert told["DropNotNullOperator"] == 1
    assert told["started"]["found"] == "ready"
    assert told["loaded"]["rows"] >= 509
    assert "sesame" not in str(told) and world.m.resolve("dms_source").password not in json.dumps(told)
    with world.m.journal() as journal:
        states = {part["state"] for part in journal.parts(journal.get(world.m.plan.name).id)}
    assert states == {"streaming"}

    again = load(world)
    assert (again["arn"], again["definition"]) == (told["arn"], told["definition"])
    assert again["started"]["found"] == "stopped"

    run(world, HardenOperator)
    slot = run(world, ResumeTaskOperator)
    assert run(world, ResumeTaskOperator) == slot
    assert load(world)["started"]["found"] == "running"  # a second run of the DAG: the task stops no more
    lag = ReplicationSlotLagSensor(task_id="lag", conn_id="shop_source", slots=slot, samples=1, max_bytes=2**26)
    assert lag.execute({})["bytes"] < 2**26
    world.execute("source", """INSERT INTO "Order Items" VALUES (0, '{"late": true}')""")
    world.arrives('SELECT count(*) FROM "Order Items"')
    run(world, CheckLobsOperator)
    world.execute("target", "DELETE FROM plain")
    assert run(world, ReloadTablesOperator, tables=[["public", "plain"]]) == 1
    world.arrives("SELECT count(*) FROM plain")
    with pytest.raises(PreconditionError, match=r"does not move public\.nowhere"):
        run(world, ReloadTablesOperator, tables=[["public", "nowhere"]])


def test_a_sensor_that_is_cleared_lets_the_task_go_on_but_not_on_a_target_that_serves(world: Any) -> None:
    load(world)
    slot = run(world, ResumeTaskOperator)
    latency = {"samples": 1, "max_seconds": 60, "source_conn_id": "shop_source", "stream": f"{world.m.plan.name}_1"}
    world.aws.kill_worker(world.task.arn)
    world.fails()
    with pytest.raises(CrossfadeError, match="clear this task: it goes on") as first:
        run(world, DmsCdcLatencySensor, **latency)
    assert "has no plan" not in str(first.value)
    figures = run(world, DmsCdcLatencySensor, tries=2, **latency)
    assert figures["target_seconds"] <= 60
    assert run(world, ResumeTaskOperator) == slot

    world.aws.kill_worker(world.task.arn)
    world.fails()
    with world.m.session(Side.TARGET, "test") as conn:
        journal = Journal(conn)
        journal.set_state(journal.get(world.m.plan.name).id, State.CUT_OVER)
    for kind in (DmsTaskRunningSensor, DmsFullLoadSensor, DmsCdcLatencySensor):
        with pytest.raises(NotOursToWrite):
            run(world, kind, tries=2)
    assert world.task.status == "failed"
