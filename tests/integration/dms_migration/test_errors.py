"""Errors in the middle of a migration with AWS DMS: each names cause and next step, and the same phase then goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.config import Config

from crossfade import phases
from crossfade.cutover import order, rehearsal
from crossfade.engines.declared import engine_of
from crossfade.engines.dms import phases as dms_phases
from crossfade.engines.dms.engine import DmsEngine
from crossfade.engines.dms.failures import TablesBroken, TaskFailed, TaskInterrupted
from crossfade.engines.dms.lobs import LobsOutgrown
from crossfade.engines.dms.refusals import Throttled
from crossfade.engines.dms.slots import SlotLost
from crossfade.engines.dms.statistics import statistics
from crossfade.journal import Journal
from crossfade.migration import Migration
from crossfade.routers.base import Side
from crossfade_lab.processes import wait_until

TABLES = (
    'CREATE TABLE "Order Items" (id int PRIMARY KEY, "naïve""quote" text NOT NULL)',
    "INSERT INTO \"Order Items\" VALUES (1, 'short')",
    "CREATE TABLE parents (id int PRIMARY KEY, name varchar(40))",
    "INSERT INTO parents VALUES (1, 'one'), (2, 'two')",
    "CREATE TABLE children (id int PRIMARY KEY, parent int NOT NULL REFERENCES parents, filler varchar(200))",
    "INSERT INTO children SELECT n, 1 + n % 2, repeat('x', 100) FROM generate_series(1, 3000) n",
)
SMALL_BATCHES = {"FullLoadSettings": {"CommitRate": 100}}
SLOW = {"load_delay_ms_per_batch": 200}  #: of which 30 make 6 s


def loading(world: Any) -> bool:
    """Whether some rows of the large table have been loaded, and not all."""
    rows = {table.table: table.rows for table in statistics(world.dms, world.task.arn)}
    return 0 < rows.get("children", 0) < 3000


def loaded(world: Any) -> set[str]:
    """The tables whose load is complete."""
    return {table.table for table in statistics(world.dms, world.task.arn) if table.state == "Table completed"}


def loaded_once(world: Any) -> bool:
    """Whether the journal knows of the end of a load."""
    with world.m.journal() as journal:
        return journal.marked(journal.get(world.m.plan.name).id, dms_phases.LOADED)


def started(world: Any) -> dict[str, Any]:
    """When the load of each small table began."""
    found = statistics(world.dms, world.task.arn)
    return {table.table: table.load_started for table in found if table.table != "children"}


def test_a_load_that_fails_in_the_middle_goes_on_when_its_task_is_cleared(small_world: Callable[..., Any]) -> None:
    world = small_world(*TABLES, dms={"settings": SMALL_BATCHES})
    world.provide()
    arn = world.task.arn
    world.aws.fault(arn, **SLOW)
    dms_phases.start_task(world.m)
    assert wait_until(lambda: loading(world), seconds=60, every=0.05), world.task
    assert wait_until(lambda: {"parents", "Order Items"} <= loaded(world), seconds=60, every=0.05)
    began = started(world)

    world.aws.fault(arn, **SLOW, storage_full=True)
    failure = world.fails()
    assert isinstance(failure, TaskFailed)
    assert "the replication instance is out of storage" in str(failure)
    assert "--allocated-storage" in str(failure)
    assert "then clear this task: it goes on where it stopped" in str(failure)
    world.aws.fault(arn, **SLOW)
    dms_phases.start_task(world.m)
    assert wait_until(lambda: loading(world), seconds=60, every=0.05), world.task

    world.aws.fault(arn, **SLOW, fail="Stream component failed at subtask 0", reason="FATAL_ERROR")
    failure = world.fails()
    assert isinstance(failure, TaskFailed)
    assert "DMS says: stop reason FATAL_ERROR; Last Error Stream component failed at subtask 0" in str(failure)
    assert "log group dms-tasks-" in str(failure)
    world.aws.fault(arn, **SLOW)
    dms_phases.start_task(world.m)
    assert wait_until(lambda: loading(world), seconds=60, every=0.05), world.task

    assert world.aws.kill_worker(arn)
    failure = world.fails()
    assert isinstance(failure, TaskInterrupted)  # may pass: tried again by itself
    assert "stop reason RECOVERABLE_ERROR" in str(failure)
    dms_phases.start_task(world.m)
    assert wait_until(lambda: loading(world), seconds=60, every=0.05), world.task
    assert started(world) == began  # what was loaded is not loaded again

    assert world.aws.kill_worker(arn)
    world.fails()
    drop_slot(world)
    dms_phases.start_task(world.m)
    failure = world.fails()
    assert "the replication slot is gone" in str(failure)
    assert "clear load.start_task and all that follows" in str(failure)
    world.aws.fault(arn)
    world.load()
    assert not set(started(world).values()) & set(began.values())

    drop_slot(world)  # while the task rests at its consistent point
    with pytest.raises(TaskFailed, match=r"the replication slot is gone.* clear load\.start_task"):
        dms_phases.resume_task(world.m)
    world.load()
    world.stream()
    world.equal()


def drop_slot(world: Any) -> None:
    """Drop the slot of a task that does not run, as somebody would who sees it hold back WAL."""
    dropped = (
        "SELECT count(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots"
        " WHERE database = current_database() AND NOT active"
    )
    assert wait_until(lambda: world.value("source", dropped) == 1, seconds=60, every=0.1)


def test_a_table_that_fails_in_the_load_is_named_and_loaded_again_when_its_cause_is_gone(
    small_world: Callable[..., Any],
) -> None:
    world = small_world(*TABLES, dms={"lobs": {"largest_limited": "1kB", "outliers": "full"}})
    world.execute("source", 'UPDATE "Order Items" SET "naïve""quote" = repeat(\'long\', 1000)')
    phases.prepare(world.m)
    dms_phases.provision(world.m)
    dms_phases.size_lobs(world.m)
    dms_phases.create_task(world.m, dms_phases.define_task(world.m))  # and NOT NULL stays
    with pytest.raises(TablesBroken, match=r"without 1 of its tables.* public\.Order Items: Table error") as error:
        world.load()
    assert "clear load.start_task and all that follows, which loads them again" in str(error.value)
    assert world.value("target", 'SELECT count(*) FROM "Order Items"') == 0
    assert not loaded_once(world)
    assert wait_until(lambda: world.task.at_consistent_point, seconds=60, every=0.1), world.task

    dms_phases.drop_not_null(world.m)
    dms_phases.start_task(world.m)
    assert loaded_once(world)  # so that nobody waits for the end of a load
    world.stream()
    world.equal()


@pytest.fixture(scope="module")
def stream(small_world: Callable[..., Any]) -> Any:
    """A migration up to the validation."""
    world = small_world(*TABLES, lag={"max_seconds": 2})
    world.complete()
    return world


@pytest.fixture
def streaming(stream: Any) -> Iterator[Any]:
    """The same without a fault, before and afterwards."""
    assert stream.task.status == "running"
    yield stream
    stream.aws.fault(stream.task.arn)


_numbers = iter(range(10, 1000))


def write(world: Any) -> None:
    """One more row, which has to arrive."""
    world.execute("source", f"INSERT INTO parents VALUES ({next(_numbers)}, 'later')")  # noqa: S608 - a number


def check(world: Any) -> None:
    """What the cutover asks the engine first."""
    with world.m.session(Side.SOURCE, "test") as source, world.m.session(Side.TARGET, "test") as target:
        engine_of(world.m, source=source, target=target, record=Journal(target).get(world.m.plan.name)).check()


def lag(world: Any) -> Any:
    """How far the target is behind, after a second's patience."""
    with world.m.session(Side.SOURCE, "test") as source, world.m.session(Side.TARGET, "test") as target:
        engine = engine_of(world.m, source=source, target=target, record=Journal(target).get(world.m.plan.name))
        assert isinstance(engine, DmsEngine)
        return engine.lag(patience=1)


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        ({"storage_full": True}, TaskFailed, "--allocated-storage … --apply-immediately, then clear this task"),
        (
            {"fail": "permission denied for table parents", "reason": "FATAL_ERROR"},
            TaskFailed,
            "DMS's role lacks a privilege",
        ),
        ({"fail": "connection to server was lost"}, TaskInterrupted, "Check that both databases run"),
    ],
)
def test_a_stream_that_fails_blocks_the_cutover_and_goes_on_when_resumed(
    streaming: Any, fault: dict[str, Any], kind: type, says: str
) -> None:
    streaming.aws.fault(streaming.task.arn, **fault)
    write(streaming)
    failure = streaming.fails()
    assert isinstance(failure, kind)
    assert says in str(failure)
    with pytest.raises(kind):
        check(streaming)
    streaming.aws.fault(streaming.task.arn)
    dms_phases.resume_task(streaming.m)
    streaming.equal()
    check(streaming)


def test_a_killed_worker_goes_on_and_no_change_is_applied_twice(streaming: Any) -> None:
    write(streaming)
    assert streaming.aws.kill_worker(streaming.task.arn)
    write(streaming)
    assert isinstance(streaming.fails(), TaskInterrupted)
    dms_phases.resume_task(streaming.m)
    write(streaming)
    streaming.equal()
    check(streaming)


def test_a_stalled_task_holds_wal_and_the_cutover_is_refused(streaming: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert lag(streaming).seconds is not None
    streaming.aws.fault(streaming.task.arn, stall=True)
    assert wait_until(lambda: lag(streaming).seconds > 0.5, seconds=60, every=0.1)
    write(streaming)
    first = lag(streaming)
    streaming.execute("source", "UPDATE children SET filler = repeat('y', 150)")
    second = lag(streaming)
    assert first.seconds is not None
    assert second.seconds is not None
    assert second.seconds > first.seconds > 0.5
    assert second.bytes > first.bytes + 500_000

    allowed = streaming.m.plan.lag.max_seconds
    assert wait_until(lambda: lag(streaming).seconds > allowed, seconds=60, every=0.1)
    monkeypatch.setattr(DmsEngine.lag, "__defaults__", (1.0,))  # seconds of patience
    blockers = rehearsal.rehearse(streaming.m).blockers
    assert any("behind, the plan allows" in blocker for blocker in blockers), blockers
    with pytest.raises(order.Refused, match="nobody approved this run"):
        order.run(streaming.m, run_id="another")

    streaming.aws.fault(streaming.task.arn)
    streaming.equal()
    assert lag(streaming).bytes < second.bytes


def test_a_suspended_table_is_named_and_healed_by_loading_it_again(streaming: Any) -> None:
    streaming.aws.fault(streaming.task.arn, suspend=["public.parents"])
    write(streaming)
    failure = streaming.fails()
    assert isinstance(failure, TablesBroken)
    assert failure.tables == ("public.parents",)
    write(streaming)  # is skipped
    streaming.aws.fault(streaming.task.arn)
    dms_phases.start_task(streaming.m)
    phases.harden(streaming.m)
    check(streaming)
    streaming.equal()


def test_an_api_that_throttles_is_asked_again_and_then_says_so(streaming: Any) -> None:
    streaming.aws.throttle("DescribeReplicationTasks", 2)  # boto3 itself asks again
    check(streaming)
    aws = streaming.aws
    few = Config(retries={"total_max_attempts": 2})
    m = Migration(streaming.m.plan, streaming.m.resolve, lambda conn_id, service: aws.client(service, config=few))
    aws.throttle("DescribeReplicationTasks", 100)
    try:
        with pytest.raises(Throttled, match="was throttled by AWS, 2 attempts in all") as refused:
            dms_phases.resume_task(m)
        assert "Nothing is lost: it is tried again with the next try of this task" in str(refused.value)
    finally:
        aws.throttle("DescribeReplicationTasks", 0)
    dms_phases.resume_task(m)


def test_a_large_object_that_outgrows_its_limit_stops_the_task_and_is_carried_whole_afterwards(
    streaming: Any,
) -> None:
    streaming.execute("source", 'UPDATE "Order Items" SET "naïve""quote" = repeat(\'é\', 30000) WHERE id = 1')
    failure = streaming.fails()
    assert isinstance(failure, TaskFailed)
    assert "a large object is larger than its limit, and was not cut silently" in str(failure)
    assert "size_lobs" in str(failure)
    with pytest.raises(
        LobsOutgrown, match=r'public\.Order Items: naïve"quote now holds .* DMS cuts it at .* size_lobs'
    ):
        dms_phases.check_lobs(streaming.m)

    (limit,) = dms_phases.size_lobs(streaming.m)
    assert limit.limit_kb * 1024 > 60_000
    dms_phases.drop_not_null(streaming.m)
    dms_phases.create_task(streaming.m, dms_phases.define_task(streaming.m))
    dms_phases.start_task(streaming.m)
    dms_phases.load_finished(streaming.m)
    phases.harden(streaming.m)
    dms_phases.resume_task(streaming.m)
    streaming.equal()
    dms_phases.check_lobs(streaming.m)
    check(streaming)


def test_a_slot_that_somebody_dropped_has_everything_loaded_again(streaming: Any) -> None:
    assert streaming.aws.kill_worker(streaming.task.arn)
    streaming.fails()
    write(streaming)
    drop_slot(streaming)
    write(streaming)
    with pytest.raises(SlotLost, match=r"is missing: changes are lost.* Clear the task load\.start_task"):
        dms_phases.resume_task(streaming.m)
    streaming.load()
    assert streaming.value("target", "SELECT count(*) FROM children") == 3000
    streaming.stream()
    assert streaming.value("target", "SELECT count(*) FROM pg_constraint WHERE conname = 'children_parent_fkey'") == 1
    streaming.equal()
    check(streaming)
