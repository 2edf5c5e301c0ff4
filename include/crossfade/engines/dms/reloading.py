"""Loading again what is no copy any more: all where the slot is lost, else single tables."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from crossfade.engines.dms import task
from crossfade.engines.dms.engine import DmsEngine
from crossfade.engines.dms.failures import SLOT_GONE, cause, explained
from crossfade.engines.dms.slots import SlotLost, find_slot
from crossfade.engines.dms.statistics import COMPLETED, broken, statistics
from crossfade.engines.dms.task_state import TaskState
from crossfade.engines.dms.waiting import until
from crossfade.errors import PreconditionError
from crossfade.routers.base import Side
from crossfade.schema.ledger import Ledger

log = logging.getLogger(__name__)

LOADED = "loaded by dms"  #: the journal's mark: the load was complete once
Name = tuple[str, str]  #: schema and name of a table


def slot_lost(engine: DmsEngine, found: TaskState) -> bool:
    """Whether changes are gone for good, so that everything has to be loaded again."""
    if found.status == "failed" and cause(found.stop_reason, found.failure) is SLOT_GONE:
        return True
    if engine.records.identifier("slot") is None:
        return False
    try:
        find_slot(engine.source, engine.records, engine.roles[Side.SOURCE])
    except SlotLost as error:
        log.warning("%s", error)
        return True
    return False


def to_be_loaded_again(engine: DmsEngine, found: TaskState) -> list[Name]:
    """
    Once the load is over: tables that `size_lobs` set back and DMS holds for loaded, and those that are broken.

    Before that none: what is not loaded yet DMS loads by itself.
    """
    marked = engine.journal.marked(engine.record.id, LOADED)
    if not marked and not found.at_consistent_point:
        return []
    waiting = {(p["schema"], p["name"]) for p in engine.journal.parts(engine.record.id) if p["state"] == "waiting"}
    tables = statistics(engine.dms, found.arn)
    loaded = {(t.schema, t.table) for t in tables if t.state == COMPLETED} if marked else set()
    return sorted((waiting & loaded | {(t.schema, t.table) for t in broken(tables)}) & set(engine.tables))


def mark_loaded(engine: DmsEngine) -> None:
    """Enter that the load was complete once."""
    if not engine.journal.marked(engine.record.id, LOADED):
        engine.journal.mark(engine.record.id, LOADED)


def free_of_foreign_keys(engine: DmsEngine, tables: Sequence[Name]) -> None:
    """DMS truncates a table before it loads it, which a foreign key to it forbids; `harden` makes them again."""
    Ledger(engine.target, engine.record.id).drop_foreign_keys(tables, log.info)


def reload(engine: DmsEngine, tables: Sequence[Name]) -> None:
    """Load single tables of the running task again, and wait until they are there."""
    free_of_foreign_keys(engine, tables)
    deadline = time.monotonic() + engine.plan.load_timeout.total_seconds()
    running = until(
        lambda: task.existing(engine.dms, engine.task),
        lambda state: state.status not in {"starting"},
        what=f"starting replication task {engine.task}",
        seen=lambda state: state.status,
        deadline=deadline,
    )
    if running.status != "running":
        raise PreconditionError(f"tables can only be loaded again while the task runs: {explained(running)}")
    before = {(t.schema, t.table): t.load_started for t in statistics(engine.dms, running.arn)}
    task.reload(engine.dms, running.arn, tables)

    def behind() -> list[str]:
        now = {(t.schema, t.table): t for t in statistics(engine.dms, running.arn)}
        begun = {name: now[name] for name in tables if name in now and now[name].load_started != before.get(name)}
        if bad := broken(begun.values()):  # what was broken before it began to load again is no failure of that
            raise PreconditionError(
                f"loading again failed: {', '.join(one.line for one in bad)}. Read the task's log in CloudWatch, put "
                "right what it names, and clear this task"
            )
        return [
            now[name].line if name in now else ".".join(name)
            for name in tables
            if name not in begun or begun[name].state != COMPLETED
        ]

    until(
        behind,
        lambda left: not left,
        what="loading tables again",
        seen=lambda left: "; ".join(left),
        deadline=deadline,
    )
    for name in tables:
        engine.journal.set_part(engine.record.id, name, state="streaming")
