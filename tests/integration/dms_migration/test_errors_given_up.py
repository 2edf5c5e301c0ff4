"""A migration with AWS DMS that is given up: nothing of it stays, neither in AWS nor in the two databases."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from crossfade.cutover import recovery
from crossfade.cutover.abandon import abandon
from crossfade.engines.dms import phases as dms_phases
from crossfade.engines.dms import task
from crossfade.engines.dms.endpoints import SETTINGS, endpoint_by_arn, endpoint_by_id
from crossfade.engines.dms.records import DmsRecords
from crossfade.engines.dms.resource import name_of, tags_of
from crossfade.engines.dms.resources import instance_of
from crossfade.engines.dms.statistics import statistics
from crossfade.journal import Journal
from crossfade.routers.base import Side
from crossfade_lab.processes import wait_until

TABLES = (
    'CREATE TABLE "Order Items" (id int PRIMARY KEY, "naïve""quote" text NOT NULL)',
    "INSERT INTO \"Order Items\" SELECT n, 'short' FROM generate_series(1, 2000) n",
    "CREATE TABLE parents (id int PRIMARY KEY, name text NOT NULL)",
    "INSERT INTO parents VALUES (1, 'one')",
    "CREATE TABLE children (id int PRIMARY KEY, parent int NOT NULL REFERENCES parents)",
    "INSERT INTO children VALUES (1, 1)",
)
NULLABLE = """
    SELECT count(*) FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attnotnull
"""
#: What a migration with DMS leaves behind on a side, where it leaves something.
LEFT = """
    SELECT 'slot ' || slot_name FROM pg_replication_slots WHERE database = current_database()
    UNION ALL SELECT 'publication ' || pubname FROM pg_publication
    UNION ALL SELECT 'table ' || relname FROM pg_class
        WHERE relnamespace = 'crossfade'::regnamespace AND relkind = 'r' AND relname ~ '^(awsdms_|watermark_)'
    UNION ALL SELECT 'grant on ' || c.relname FROM pg_class c, aclexplode(relacl) a
        WHERE a.grantee = 'shop_dms'::regrole
    UNION ALL SELECT 'role ' || rolname FROM pg_roles WHERE rolname = 'crossfade_' || current_database() || '_dms'
    UNION ALL SELECT 'grant on schema ' || n.nspname FROM pg_namespace n, aclexplode(nspacl) a
        WHERE a.grantee = 'shop_dms'::regrole
"""
MAY_CONNECT = "SELECT has_database_privilege('shop_dms', current_database(), 'CONNECT')"


def require_nothing_left(world: Any, *, nullable: int = 0) -> None:
    """No task, no slot, nothing of DMS's in either database; NOT NULL where it was, but for so many columns."""
    assert task.describe(world.dms, name_of(world.m.plan.name)) is None
    assert world.rows("source", LEFT) == []
    assert world.rows("target", LEFT) == []
    assert world.value("target", MAY_CONNECT) is False
    assert world.value("target", NULLABLE) == nullable


def test_given_up_in_the_middle_of_the_load(small_world: Callable[..., Any]) -> None:
    settings = {"FullLoadSettings": {"CommitRate": 100}}
    world = small_world(*TABLES, dms={"instance": {"class": "dms.t3.medium", "storage": "20GB"}, "settings": settings})
    world.provide()
    name, instance = name_of(world.m.plan.name), world.task.instance_arn
    assert instance_of(world.dms, instance).identifier == name
    assert world.value("target", NULLABLE) == 2
    arn = world.task.arn
    world.aws.fault(arn, load_delay_ms_per_batch=200)
    dms_phases.start_task(world.m)
    assert wait_until(lambda: any(0 < t.rows < 2000 for t in statistics(world.dms, arn)), seconds=60, every=0.05)

    assert wait_until(lambda: world.value("target", "SELECT count(*) FROM parents") == 1, seconds=60, every=0.05)
    world.execute("target", "UPDATE parents SET name = NULL")  # as where DMS has not come to fill it in

    said = abandon(world.m)

    assert "the source serves. Its streams are dropped, the source keeps no WAL for it. Not restored" in said
    assert "not null name on public.parents" in said
    assert 'not null naïve"quote on public.Order Items' in said  # restored together, or none
    require_nothing_left(world, nullable=2)
    assert endpoint_by_id(world.dms, f"{name}-source") is None
    assert endpoint_by_id(world.dms, f"{name}-target") is None
    identifiers = {
        each["ReplicationInstanceIdentifier"]
        for each in world.dms.describe_replication_instances()["ReplicationInstances"]
    }
    assert identifiers == {"shared"}
    assert "knows no migration of it" in abandon(world.m)


def test_given_up_while_it_streams_and_what_was_given_by_its_arn_is_left_alone(
    small_world: Callable[..., Any],
) -> None:
    world = small_world(*TABLES)
    instance = str(world.m.plan.dms.instance)
    given = {
        "source": world.endpoint("source", instance=instance, settings={"MapBooleanAsBoolean": True}),
        "target": world.endpoint(
            "target", instance=instance, settings={"AfterConnectScript": SETTINGS["target"]["AfterConnectScript"]}
        ),
    }
    world = world.planned(**given)
    world.complete()
    world.execute("source", "INSERT INTO children VALUES (2, 1)")
    world.arrives("SELECT * FROM children")

    said = abandon(world.m)

    assert recovery.settle(world.m).side is Side.SOURCE
    assert "Not restored" not in said
    require_nothing_left(world)
    assert world.value("target", "SELECT count(*) FROM pg_constraint WHERE conname = 'children_parent_fkey'") == 1
    for arn in given.values():
        assert endpoint_by_arn(world.dms, arn) is not None
    assert instance_of(world.dms, instance).identifier == "shared"


def test_a_slot_that_dms_leaves_behind_is_dropped(small_world: Callable[..., Any]) -> None:
    world = small_world(*TABLES, dms={"settings": {"FullLoadSettings": {"CommitRate": 100}}})
    world.provide()
    world.aws.fault(world.task.arn, load_delay_ms_per_batch=200)
    dms_phases.start_task(world.m)

    def slot() -> str | None:
        dms_phases.note_slot(world.m)  # as the sensor task_running does
        with world.m.session(Side.TARGET, "test") as conn:
            return DmsRecords(conn, Journal(conn).get(world.m.plan.name).id).identifier("slot")

    assert wait_until(lambda: slot() is not None, seconds=60, every=0.05)
    left = slot()
    task.delete(world.dms, name_of(world.m.plan.name), time.monotonic() + 60, tags=tags_of(world.m.plan.name))
    assert world.rows("source", "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()") == []
    world.value("source", f"SELECT pg_create_logical_replication_slot('{left}', 'pgoutput')")

    abandon(world.m)

    require_nothing_left(world)
