"""Putting the imagined world in the place of PostgreSQL, PgBouncer, processes and the clock."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from imagined_actors import InlinePool
from imagined_database import Session
from imagined_streams import ImaginedWatermarks, add_stream, drop_stream, flush
from imagined_watchdog import ImaginedWatchdog
from imagined_world import PLAN, SEQUENCE, World

from crossfade import catalog, control, journal, sequences
from crossfade.cutover import authority, blockers, decision, guard, order, recovery, smoke, steps
from crossfade.cutover import watchdog_process as process
from crossfade.engines.logical import replication
from crossfade.errors import CrossfadeError
from crossfade.routers.base import Direction


@contextlib.contextmanager
def patched(world: World) -> Iterator[None]:
    """The world in the place of PostgreSQL, PgBouncer, processes and the clock."""
    ImaginedWatermarks.wires, ImaginedWatchdog.world = world.wires, world
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.getLogger("crossfade"), "disabled", True)
        patch.setattr(logging.root.manager, "disable", logging.CRITICAL)
        for name, module in list(sys.modules.items()):
            if name.startswith("crossfade.") and getattr(module, "time", None) is time:
                patch.setattr(module, "time", world.scheduler)
        for module in (authority, steps):
            patch.setattr(module, "ThreadPoolExecutor", InlinePool)
        patch.setattr(order, "Watchdog", ImaginedWatchdog)
        patch.setattr(process, "os", SimpleNamespace(read=lambda fd, size: world.said))
        patch.setattr(process, "sys", SimpleNamespace(stdin=SimpleNamespace(fileno=lambda: 0)))
        for module in (decision, journal):
            patch.setattr(module, "parse_plan", lambda *args, **kwargs: PLAN)
        for name, value in {"version": control.VERSION, "check": None, "install": None}.items():
            patch.setattr(control, name, lambda *args, value=value: value)
        patch.setattr(control, "add_stream", add_stream)
        patch.setattr(control, "drop_stream", drop_stream)
        patch.setattr(replication, "Watermarks", ImaginedWatermarks)
        patch.setattr(replication, "flush", flush)
        patch.setattr(steps, "marks_origins", lambda *conns: world.wires.origins)
        for name, value in {
            "definition_stamp": "stamp",
            "sequences": [SEQUENCE],
            "row_changes": 0,
            "prepared_transactions": [],
        }.items():
            patch.setattr(catalog, name, lambda conn, value=value: conn.execute("SELECT 1") and value)
        patch.setattr(sequences, "read", read_sequences)
        patch.setattr(sequences, "write", write_sequences)
        for module in (steps, recovery):
            patch.setattr(module, "relax", lambda *args: 0)
        patch.setattr(steps, "enforce", lambda *args, **kwargs: 0)
        patch.setattr(smoke, "run", lambda conn, *args, **kwargs: conn.effect("smoke", lambda: None))
        patch.setattr(blockers, "of_approval", lambda *args: [])
        for name in ("_of_transactions", "_of_sessions", "_of_definitions", "_of_ledger"):
            patch.setattr(blockers, name, lambda *args: [])
        yield


def read_sequences(conn: Session, chosen: Any) -> dict[Any, Any]:
    """Of the one there is."""
    conn.execute("SELECT 1")
    return {each: conn.database.state.sequence for each in chosen}


def write_sequences(conn: Session, states: Any) -> None:
    """Of the one there is."""

    def do() -> None:
        for state in states.values():
            conn.database.state.sequence = state

    if states:
        conn.effect("set sequences", do)


def actions(world: World) -> dict[str, Any]:
    """What people and schedulers start: the real code."""

    def look_after() -> None:
        looked = guard.Guard(world.m)
        try:
            looked.act()
        finally:
            looked.close()

    return {
        "cutover": lambda: order.run(world.m, run_id="run"),
        "rollback": lambda: order.run(world.m, run_id="run", direction=Direction.BACK),
        "abort": lambda: recovery.settle(world.m),
        "guard": look_after,
    }


#: What an actor may end with: refused, undone, unreachable. Anything else is a bug in the code under test.
EXPECTED_ERRORS = (CrossfadeError, psycopg.OperationalError)
