"""Cleaning up after AWS DMS: neither side's catalogs tell that it was there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from crossfade.cleanup import cleanup
from crossfade.cutover import order
from crossfade.engines.dms import task
from crossfade.engines.dms.engine import DmsEngine
from crossfade.engines.dms.resource import name_of
from crossfade.routers.base import Side
from crossfade.schema.compare import compare
from crossfade_lab.catalogs import catalogs, differences

TABLE = (
    'CREATE TABLE "Order Items" (id bigint PRIMARY KEY, body text NOT NULL, made timestamptz NOT NULL DEFAULT now())'
)
ROWS = """INSERT INTO "Order Items" SELECT n, repeat('x', n), now() FROM generate_series(1, 100) n"""


def seen(world: Any, side: str) -> Any:
    with world.admin(side) as admin:
        return catalogs(admin)


def test_the_source_is_what_it_was_and_nothing_of_dms_is_left(small_world: Callable[..., Any]) -> None:
    world = small_world(TABLE, ROWS, rollback={"window": "0s"})
    before, empty = seen(world, "source"), seen(world, "target")
    world.complete()
    world.equal()
    world.approve()
    order.run(world.m, run_id="one")

    def fault(*_: object) -> None:
        raise RuntimeError("a fault of this test")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DmsEngine, "release", fault)
        with pytest.raises(RuntimeError):
            cleanup(world.m, run_id="end", reopen_source=True)
    report = cleanup(world.m, run_id="end", reopen_source=True)

    assert differences(before, seen(world, "source")) == []
    after = seen(world, "target")
    with world.m.session(Side.SOURCE, "test") as source, world.m.session(Side.TARGET, "test") as target:
        assert [str(each) for each in compare(source, target, world.m.plan.tables)] == []
    for kind in ("publications", "subscriptions", "slots", "origins", "event_triggers", "namespaces"):
        assert after[kind] == empty[kind], kind
    assert [line for line in after["roles"] - empty["roles"] if not line.startswith("shop_")] == []
    assert task.describe(world.dms, name_of(world.m.plan.name)) is None
    endpoints = [endpoint["EndpointIdentifier"] for endpoint in world.dms.describe_endpoints()["Endpoints"]]
    assert [name for name in endpoints if name.startswith(name_of(world.m.plan.name))] == []
    assert report.journal["target"]["part"][0]["name"] == "Order Items"
