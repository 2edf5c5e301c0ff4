"""A plan whose way back was by AWS DMS, and is so no more: what was made for it goes with the migration."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from crossfade import phases
from crossfade.connect import Endpoint
from crossfade.cutover.abandon import abandon
from crossfade.cutover.rehearsal import rehearse
from crossfade.engines.dms.resource import name_of, tags_of
from crossfade.migration import Migration
from crossfade.plan import parse_plan
from crossfade_lab.shop import data as shop

TABLE = "CREATE TABLE plain (id int PRIMARY KEY)"
BACK = {
    "source": {"connection": "back_source", "tls": "none"},
    "target": {"connection": "back_target", "tls": "none"},
    "plugin": "pgoutput",
}


@pytest.fixture
def world(small_world: Callable[..., Any]) -> Any:
    """A migration with a way back by AWS DMS."""
    world = small_world(TABLE, "GRANT SELECT ON plain TO shop_app", dms={"back": BACK}, rollback={"way_back": "dms"})
    pair, known = world.pair, world.m.resolve
    servers = {"back_source": pair.target, "back_target": pair.source}

    def resolve(asked: str) -> Endpoint:
        if asked not in servers:
            found: Endpoint = known(asked)
            return found
        login = {"user": "shop_dms_back", "password": pair.logins.shop_dms_back, "dbname": world.database}
        return Endpoint.from_dsn(asked, servers[asked].dsn(**login))

    if not world.value("source", "SELECT count(*) FROM pg_roles WHERE rolname = 'shop_dms_back'"):
        shop.grant_dms_back_roles(pair.source, pair.target, pair.logins)
    return replace(world, m=Migration(world.m.plan, resolve, world.m.clients))


def test_a_task_that_a_rehearsal_has_made_goes_though_the_plan_wants_it_no_more(world: Any) -> None:
    phases.prepare(world.m)
    shop.let_local_dms_read_back(world.pair.target, world.database)
    world.complete()
    plan, dms = world.m.plan, world.dms
    names = [name_of(plan.name), name_of(plan.name, "back")]

    def tasks() -> list[str]:
        told = [task["ReplicationTaskIdentifier"] for task in dms.describe_replication_tasks()["ReplicationTasks"]]
        return sorted(task for task in told if task.startswith(names[0]))

    foreign = _task_of_another_plan(world, names[1])
    assert "was made for the plan 'another'" in " ".join(rehearse(world.m, hold=False).blockers)
    assert tasks() == names
    dms.delete_replication_task(ReplicationTaskArn=foreign)

    assert rehearse(world.m, hold=False).blockers == ()
    assert tasks() == names
    document = json.loads(plan.to_json())
    document["rollback"]["way_back"] = "none"
    del document["dms"]["back"]
    edited = Migration(parse_plan(document, name=plan.name), world.m.resolve, world.m.clients)
    phases.prepare(edited)
    abandon(edited)
    assert tasks() == []
    assert [end for end in dms.describe_endpoints()["Endpoints"] if names[0] in str(end)] == []


def _task_of_another_plan(world: Any, identifier: str) -> str:
    """As the plan `shop_back` has, whose only task has the name of the way back of `shop`; its ARN."""
    mine = world.task
    made = world.dms.create_replication_task(
        ReplicationTaskIdentifier=identifier,
        ReplicationInstanceArn=mine.instance_arn,
        SourceEndpointArn=mine.source_arn,
        TargetEndpointArn=mine.target_arn,
        MigrationType="cdc",
        TableMappings=json.dumps(mine.mappings),
        Tags=[{"Key": key, "Value": value} for key, value in tags_of("another").items()],
    )
    return str(made["ReplicationTask"]["ReplicationTaskArn"])
