"""The DAG of a migration by AWS DMS run again after a rollback: DMS has nothing to do, the way ahead is native."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from crossfade import phases
from crossfade.assess import assess
from crossfade.cutover import order
from crossfade.cutover.rehearsal import rehearse
from crossfade.engines.dms import phases as dms_phases
from crossfade.engines.dms.native import NOTHING_TO_DO, CarriedNatively
from crossfade.engines.dms.resource import name_of
from crossfade.errors import NotOursToWrite
from crossfade.journal import State
from crossfade.routers.base import Direction
from crossfade.validation import run as validation
from crossfade_airflow.operators import (
    AssessmentRunOperator,
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
    DmsValidationSensor,
    ReplicationSlotLagSensor,
)

TABLES = (
    'CREATE TABLE "Order Items" (id int PRIMARY KEY, note jsonb NOT NULL)',
    """INSERT INTO "Order Items" SELECT n, json_build_object('text', repeat('x', n)) FROM generate_series(1, 500) n""",
    "CREATE TABLE plain (id int PRIMARY KEY)",
    "INSERT INTO plain SELECT generate_series(1, 9)",
    'GRANT SELECT, INSERT ON plain, "Order Items" TO shop_app',
)

pytestmark = pytest.mark.slow  # a whole migration by DMS, a rollback and a second cutover


@pytest.fixture(scope="module")
def rolled_back(small_world: Callable[..., Any]) -> Any:
    """A migration by AWS DMS that was cut over and rolled back; each side has taken a write while it served."""
    world = small_world(*TABLES)
    world.complete()
    world.equal()
    world.approve()
    order.run(world.m, run_id="one")
    validation.reconcile(world.m)
    world.execute("target", "INSERT INTO plain VALUES (100)")
    phases.record_rollback_approval(world.m, run_id="back", approver="alice", approved_at=datetime.now(UTC))
    order.run(world.m, run_id="back", direction=Direction.BACK)
    world.execute("source", "INSERT INTO plain VALUES (101)")
    return world


@pytest.fixture
def world(rolled_back: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The same, with Airflow's connections to its databases, and none to AWS: nobody is to ask it."""
    for conn_id in ("shop_source", "shop_target"):
        found = rolled_back.m.resolve(conn_id)
        login = {"host": found.host, "port": found.port, "schema": found.dbname, "login": found.user}
        connection = {"conn_type": "postgres", "password": found.password, **login}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
    return rolled_back


def run(world: Any, kind: Any, *, tries: int = 1, **given: Any) -> Any:
    """Run one task of the plan, which must not be deferred."""
    operator = kind(task_id="t", plan=world.m.plan.name, target_conn_id="shop_target", **given)
    return operator.execute({"ti": SimpleNamespace(try_number=tries), "run_id": "two", "dag_run": None})


def watching(world: Any) -> dict[str, Any]:
    return {"replication_task_id": name_of(world.m.plan.name), "poke_interval": 0.2, "timeout": 20}


def test_every_task_of_dms_succeeds_at_once_and_asks_nothing_of_aws(
    world: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    task = world.task
    definition = run(world, MapTablesOperator)
    told = [
        run(world, ProvisionOperator),
        run(world, SizeLobsOperator),
        run(world, DropNotNullOperator),
        run(world, DropNotNullOperator, columns=[["public", "Order Items", "note"]]),
        definition,
        run(world, CreateTaskOperator, definition=json.loads(json.dumps(definition))),
        run(world, StartTaskOperator),
        run(world, CheckLobsOperator),
        run(world, ReloadTablesOperator, tables=[["public", "plain"]]),
        run(
            world,
            AssessmentRunOperator,
            replication_task_id=name_of(world.m.plan.name),
            service_role_arn="arn:aws:iam::1:role/r",
            bucket="b",
        ),
    ]
    assert told == [{}, [], 0, 0, {}, "", {}, None, 0, {}]
    for kind in (DmsTaskRunningSensor, DmsFullLoadSensor, DmsCdcLatencySensor, DmsValidationSensor):
        for tries in (1, 2):  # a second try would let a task go on that was stopped
            assert run(world, kind, tries=tries, **watching(world)) == {}
    assert capsys.readouterr().out.count(NOTHING_TO_DO) == len(told) + 8
    assert (world.task.status, world.task.arn) == (task.status, task.arn)
    assert world.value("target", "SELECT count(*) FROM pg_attribute WHERE attname = 'note' AND NOT attnotnull") == 0


def test_the_slots_that_are_waited_for_are_those_of_the_native_streams(world: Any) -> None:
    slots = run(world, ResumeTaskOperator)
    assert slots == [row[0] for row in world.rows("source", "SELECT slot_name FROM pg_replication_slots ORDER BY 1")]
    assert slots
    lag = ReplicationSlotLagSensor(task_id="lag", conn_id="shop_source", slots=slots, samples=1, max_bytes=2**26)
    assert lag.execute({})["bytes"] < 2**26


def test_a_dag_of_ones_own_that_calls_the_functions_is_refused(world: Any) -> None:
    for function in (dms_phases.provision, dms_phases.size_lobs, dms_phases.start_task, dms_phases.resume_task):
        with pytest.raises(CarriedNatively, match="go on with the task validate"):
            function(world.m)


def test_the_run_goes_on_to_a_second_cutover_and_then_dms_is_refused_as_after_any(world: Any) -> None:
    report = assess(world.m.plan, world.m.resolve, world.m.clients)
    assert report.blockers == ()
    phases.prepare(world.m)
    run(world, HardenOperator)
    validation.validate(world.m, run_id="one")
    assert rehearse(world.m).blockers == ()
    validation.validate(world.m, run_id="two")
    phases.record_approval(world.m, run_id="two", approver="alice", approved_at=datetime.now(UTC))
    order.run(world.m, run_id="two")
    with world.m.journal() as journal:
        assert journal.get(world.m.plan.name).state is State.CUT_OVER
    assert world.value("target", "SELECT count(*) FROM plain WHERE id > 99") == 2
    with pytest.raises(NotOursToWrite):
        run(world, StartTaskOperator)


def test_after_ddl_everything_is_made_anew_also_the_task_that_had_loaded(rolled_back: Any) -> None:
    world = rolled_back
    validation.reconcile(world.m)
    phases.record_rollback_approval(world.m, run_id="again", approver="alice", approved_at=datetime.now(UTC))
    order.run(world.m, run_id="again", direction=Direction.BACK)
    world.execute("source", "ALTER TABLE plain ADD COLUMN since date")
    old = world.task
    world.provide()
    assert world.task.arn != old.arn and not world.task.has_run
    world.load()
    world.stream()
    world.equal()
