"""Plans with which AWS DMS could not work: refused before anything starts, with nothing made or changed anywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from crossfade import phases
from crossfade.engines.dms import phases as dms_phases
from crossfade.engines.dms.endpoints import SETTINGS
from crossfade.errors import PreconditionError

UNKNOWN = "arn:aws:dms:eu-west-1:123456789012:endpoint:NOSUCHENDPOINT"
NO_INSTANCE = "arn:aws:dms:eu-west-1:123456789012:rep:NOSUCHINSTANCE"

#: Every definition and privilege of a database, and who may connect to it.
EVERYTHING = """
    SELECT 'table', oid::regclass::text, relacl::text FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'S')
        AND relnamespace::regnamespace::text IN ('public', 'crossfade')
    UNION ALL SELECT 'column', attrelid::regclass::text || '.' || attname, attnotnull::text FROM pg_attribute
        WHERE attnum > 0 AND attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
    UNION ALL SELECT 'constraint', conname, conrelid::regclass::text FROM pg_constraint
    UNION ALL SELECT 'schema', nspname, nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_'
    UNION ALL SELECT 'database', datname, datacl::text FROM pg_database WHERE datname = current_database()
    UNION ALL SELECT 'slot', slot_name, plugin FROM pg_replication_slots WHERE database = current_database()
    UNION ALL SELECT 'publication', pubname, '' FROM pg_publication
    ORDER BY 1, 2, 3
"""


def state(world: Any) -> dict[str, Any]:
    """What there is in AWS and in both databases."""
    dms = world.dms
    tasks = dms.describe_replication_tasks()["ReplicationTasks"]
    return {
        "instances": [
            each["ReplicationInstanceIdentifier"]
            for each in dms.describe_replication_instances()["ReplicationInstances"]
        ],
        "endpoints": [each["EndpointIdentifier"] for each in dms.describe_endpoints()["Endpoints"]],
        "tasks": [each["ReplicationTaskIdentifier"] for each in tasks],
        "source": world.rows("source", EVERYTHING),
        "target": world.rows("target", EVERYTHING),
    }


@pytest.fixture(scope="module")
def prepared(small_world: Callable[..., Any]) -> Any:
    """A world that is prepared, with endpoints of somebody else's that could be used."""
    world = small_world(
        "CREATE TABLE parents (id int PRIMARY KEY)",
        'CREATE TABLE "Order Items" (id int PRIMARY KEY, parent int REFERENCES parents, note text NOT NULL)',
    )
    phases.prepare(world.m)
    return world


@pytest.fixture(scope="module")
def given(prepared: Any) -> dict[str, str]:
    """ARNs of the endpoints."""
    instance = str(prepared.m.plan.dms.instance)
    return {
        side: prepared.endpoint(side, instance=instance, settings=dict(SETTINGS[side])) for side in ("source", "target")
    }


def refused(world: Any, given: dict[str, str], says: str, act: Callable[..., Any], **changes: Any) -> None:
    """Act on a plan with this section, which must be refused with these words and change nothing."""
    broken = world.planned(**changes)
    before = state(world)
    with pytest.raises(PreconditionError, match=says):
        act(broken.m)
    assert state(world) == before


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"instance": NO_INSTANCE}, "has no replication instance .*NOSUCHINSTANCE, the plan's dms.instance.* Correct"),
        ({"source": UNKNOWN}, "has no endpoint .*NOSUCHENDPOINT, the plan's dms.source.* Correct the ARN"),
        ({"target": UNKNOWN}, "has no endpoint .*NOSUCHENDPOINT, the plan's dms.target.* Correct the ARN"),
        ({"source": "target", "target": "source"}, "which is a target endpoint. Are source and target swapped"),
        ({"source": "source", "target": "source"}, "are the same endpoint"),
        ({"target_role": "nobody_s"}, "'nobody_s', which does not exist there or may not log in. Create it"),
        ({"source_role": "nobody_s"}, "'nobody_s', which does not exist there or may not log in. Create it"),
    ],
)
def test_what_the_plan_names_wrongly_is_refused(
    prepared: Any, given: dict[str, str], changes: dict[str, Any], says: str
) -> None:
    named = {key: given.get(str(value), value) for key, value in changes.items()}
    refused(prepared, given, says, dms_phases.provision, **named)


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("character", list(":;+%"))
def test_a_password_that_dms_cannot_read_is_refused_without_showing_it(
    prepared: Any, given: dict[str, str], side: str, character: str
) -> None:
    secret = f"very{character}secret"
    broken = prepared.with_password(f"dms_{side}", secret)
    before = state(prepared)
    with pytest.raises(PreconditionError, match="AWS DMS cannot use a password with any of") as error:
        dms_phases.provision(broken.m)
    assert secret not in str(error.value)
    assert f"'dms_{side}' contains {character}" in str(error.value)
    assert state(prepared) == before


def test_an_unknown_endpoint_is_refused_before_the_target_is_prepared(small_world: Callable[..., Any]) -> None:
    world = small_world("CREATE TABLE parents (id int PRIMARY KEY)", dms={"target": UNKNOWN})
    before = state(world)
    with pytest.raises(PreconditionError, match="NOSUCHENDPOINT"):
        phases.prepare(world.m)
    after = state(world)
    assert [row for row in after["target"] if "crossfade" not in str(row)] == before["target"]


def test_a_plan_that_selects_no_table_is_refused(small_world: Callable[..., Any]) -> None:
    world = small_world("CREATE TABLE parents (id int PRIMARY KEY)", tables={"include": ["elsewhere.*"]})
    with pytest.raises(PreconditionError, match=r"selects no table: tables.include is \['elsewhere\.\*'\]"):
        phases.prepare(world.m)
    assert "public.parents" not in str(world.rows("target", EVERYTHING))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"TargetMetadata": {"BatchAplyEnabled": True}}, "Did you mean TargetMetadata.BatchApplyEnabled"),
        ({"FullLoadSettings": {"MaxFullLoadSubTasks": 50}}, "less than or equal to 49, got 50"),
        ({"TargetMetadata": {"BatchApplyEnabled": True}}, "BatchApplyEnabled works only with LimitedSizeLobMode"),
    ],
)
def test_settings_that_dms_would_refuse_are_refused_before_it_sees_them(
    prepared: Any, given: dict[str, str], settings: dict[str, Any], says: str
) -> None:
    refused(prepared, given, says, dms_phases.provision, settings=settings)


def test_a_role_that_inherits_nothing_is_refused(small_world: Callable[..., Any]) -> None:
    world = small_world("CREATE TABLE plain (id int PRIMARY KEY)")
    phases.prepare(world.m)
    world.execute("target", "ALTER ROLE shop_dms NOINHERIT")
    try:
        with pytest.raises(PreconditionError, match='ALTER ROLE "shop_dms" INHERIT'):
            dms_phases.provision(world.m)
    finally:
        world.execute("target", "ALTER ROLE shop_dms INHERIT")
    dms_phases.provision(world.m)
