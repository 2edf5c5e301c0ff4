"""What each task of a migration with AWS DMS does: one function a task, safe to call again."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crossfade import control
from crossfade.engines.dms import task
from crossfade.engines.dms.access import let_read, let_write, require_role
from crossfade.engines.dms.carrying import STOP_SECONDS
from crossfade.engines.dms.definition import (
    TaskDefinition,
    build_keys,
    define,
    ranges_of,
    require_memory,
    settings_of,
    tables_of,
)
from crossfade.engines.dms.engine import DmsEngine
from crossfade.engines.dms.failures import explained
from crossfade.engines.dms.lobs import (
    LobLimit,
    LobsOutgrown,
    kept_where_they_suffice,
    limits,
    lob_tables,
    measure,
    remeasured,
    require_whole,
)
from crossfade.engines.dms.native import CarriedNatively, is_native
from crossfade.engines.dms.reloading import (
    LOADED,
    Name,
    free_of_foreign_keys,
    mark_loaded,
    reload,
    slot_lost,
    to_be_loaded_again,
)
from crossfade.engines.dms.resource import Resource, tags_of
from crossfade.engines.dms.resources import ensure, require_usable
from crossfade.engines.dms.statistics import COMPLETED, statistics
from crossfade.engines.dms.task_state import TaskState
from crossfade.engines.dms.waiting import until
from crossfade.errors import PreconditionError
from crossfade.journal import Journal
from crossfade.routers.base import Side
from crossfade.schema.ledger import Ledger
from crossfade.schema.not_null import drop_not_null as drop

if TYPE_CHECKING:
    from crossfade.migration import Migration

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Provisioned:
    """What the task runs on."""

    instance_arn: str
    source_arn: str
    target_arn: str
    task: str  #: identifier of the replication task to come
    notes: tuple[str, ...]  #: what a person should know


@contextmanager
def _engine(m: Migration, name: str, *, writes: bool = True) -> Iterator[DmsEngine]:
    """
    The engine of the pinned migration.

    Raises `NotOursToWrite` where the target is no longer ours to write to, `CarriedNatively` after a rollback.
    """
    with m.session(Side.SOURCE, name) as source, m.session(Side.TARGET, name) as target:
        journal = Journal(target)
        record = journal.writable(m.plan.name, name) if writes else journal.get(m.plan.name)
        if writes and is_native(record):
            raise CarriedNatively(plan=m.plan.name, task=name)
        yield DmsEngine(m, source=source, target=target, record=record)


def provision(m: Migration) -> Provisioned:
    """
    Check or make replication instance and endpoints, prove both connections, and let DMS's roles in.

    Raises `PreconditionError` with what is wrong before anything is started; as `resources.ensure`.
    """
    with _engine(m, "provision") as engine:
        plan = engine.plan
        require_usable(
            engine.dms, instance=plan.instance, source=plan.source, target=plan.target, login=m.resolve
        )  # before anything is changed in a database
        settings_of(engine, (), ())
        roles = {side: engine.roles[side] for side in Side}
        require_role(engine.source, roles[Side.SOURCE], Side.SOURCE)
        require_role(engine.target, roles[Side.TARGET], Side.TARGET)
        found = task.describe(engine.dms, engine.task)
        if found is None or not found.has_run:  # a watermark that streams is not emptied
            control.add_stream(engine.source, engine.watermark)
            control.add_stream(engine.target, engine.watermark)
        build_keys(engine)
        let_read(engine.source, roles[Side.SOURCE], engine.watermark)
        let_write(engine.target, engine.writers, roles[Side.TARGET], engine.tables, engine.watermark)
        engine.admit()

        def enter(one: Resource) -> None:
            engine.records.keep(one.kind, one.identifier, made=one.made)

        made = ensure(
            engine.dms,
            plan=m.plan.name,
            instance=plan.instance,
            source=plan.source,
            target=plan.target,
            login=m.resolve,
            deadline=time.monotonic() + plan.start_timeout.total_seconds(),
            made=enter,
        )
        for note in made.notes:
            log.warning("%s", note)
        return Provisioned(
            instance_arn=made.instance.arn,
            source_arn=made.source.arn,
            target_arn=made.target.arn,
            task=engine.task,
            notes=made.notes,
        )


def size_lobs(m: Migration) -> tuple[LobLimit, ...]:
    """
    Measure every LOB, and choose mode and limit of each table. Limits that suffice stay: a change stops the task.

    A table whose limit had to grow after it was loaded is loaded again by `start_task`.
    Raises `OutlierWithoutKey`, `LobsNotMeasured`, `MemoryTooSmall`.
    """
    with _engine(m, "size_lobs") as engine:
        lobs, before = engine.plan.lobs, engine.records.limits()
        measured = measure(m.source, engine.tables, jobs=m.plan.load.jobs)
        wanted = limits(
            measured,
            headroom=lobs.headroom,
            largest_limited_bytes=lobs.largest_limited,
            outliers=lobs.outliers,
            inline_limit_bytes=lobs.inline_limit,
        )
        chosen, changed = kept_where_they_suffice(before, wanted)
        require_memory(engine, chosen, ranges_of(engine))
        with engine.target.transaction():
            engine.records.keep_limits(chosen)
            for name in changed:
                engine.journal.set_part(engine.record.id, name, state="waiting")
        return chosen


def drop_not_null(m: Migration) -> int:
    """Make the columns nullable into which DMS writes NULL before the value, and no others; how many were not."""
    with _engine(m, "drop_not_null") as engine:
        columns = [
            (table.schema, table.name, column)
            for table in lob_tables(engine.source, engine.tables)
            for column in table.columns
        ]
        return drop(engine.target, engine.record.id, columns, log.info)


def define_task(m: Migration) -> TaskDefinition:
    """
    Table mappings and task settings, checked before AWS sees them.

    Raises `MappingsRefused`, `SettingRefused`, `PreconditionError` where LOBs or resources are not known yet.
    """
    with _engine(m, "map_tables") as engine:
        return define(engine)


def create_task(m: Migration, definition: TaskDefinition) -> TaskState:
    """Make the task, or make the one that is there the same; one that runs otherwise is stopped for it."""
    with _engine(m, "create_task") as engine:
        tags = tags_of(m.plan.name)
        task.is_there(engine.dms, definition.identifier, tags)  # another's is not to be entered as ours
        engine.records.keep("task", definition.identifier, made=True)
        return task.create_or_update(
            engine.dms,
            identifier=definition.identifier,
            instance_arn=definition.instance_arn,
            source_arn=definition.source_arn,
            target_arn=definition.target_arn,
            mappings=definition.mappings,
            settings=definition.settings,
            kind="full-load-and-cdc",
            tags=tags,
            stopped_by=time.monotonic() + STOP_SECONDS,
        )


def start_task(m: Migration) -> TaskState:
    """
    Bring the task under way: start it, or let it go on where it stopped; what is loaded is not loaded again.

    Everything is loaded again where the slot is lost; single tables where their LOBs' limit had to grow, and those
    without which the task goes on. Raises `PreconditionError` where these cannot be loaded again either.
    """
    with _engine(m, "start_task") as engine:
        found = task.existing(engine.dms, engine.task)
        if not found.has_run:
            return task.start(engine.dms, engine.task)
        if slot_lost(engine, found):
            log.warning("the slot of the task is lost: everything is loaded again")
            free_of_foreign_keys(engine, engine.tables)
            engine.journal.forget_mark(engine.record.id, LOADED)
            task.stop(engine.dms, engine.task, time.monotonic() + STOP_SECONDS)
            begun = task.start_over(engine.dms, engine.task)
            engine.records.forget("slot")  # last: killed before, the next try still sees that it is lost
            return begun
        again = to_be_loaded_again(engine, found)
        if not again:
            return task.start(engine.dms, engine.task)
        state = task.resume(engine.dms, engine.task)
        reload(engine, again)
        mark_loaded(engine)
        return state


def reload_tables(m: Migration, tables: Sequence[Name]) -> None:
    """
    Load single tables again while the task runs, and put back the foreign keys that had to go for it.

    Raises `PreconditionError` where a table is none of the plan's, or the task does not run.
    """
    with _engine(m, "reload_tables") as engine:
        if strangers := sorted(set(tables) - set(engine.tables)):
            names = ", ".join(".".join(name) for name in strangers)
            raise PreconditionError(f"the plan {m.plan.name} does not move {names}: nothing was loaded again")
        reload(engine, list(tables))
        Ledger(engine.target, engine.record.id).restore(log.info)


def load_finished(m: Migration) -> dict[str, int]:
    """Enter in the journal that everything is loaded; rows by table. Raises `PreconditionError` where it is not."""
    with _engine(m, "load") as engine:
        found = task.existing(engine.dms, engine.task)
        tables = {(t.schema, t.table): t for t in statistics(engine.dms, found.arn)}
        missing = [".".join(n) for n in engine.tables if n not in tables or tables[n].state != COMPLETED]
        if missing:
            raise PreconditionError(f"not loaded: {', '.join(missing)}. {explained(found, tuple(tables.values()))}")
        rows = {}
        for part in tables_of(engine):
            counted = tables[part.schema, part.name].rows
            engine.journal.set_part(engine.record.id, (part.schema, part.name), state="streaming", rows=counted)
            rows[part.full_name] = counted
        mark_loaded(engine)
        return rows


def note_slot(m: Migration) -> None:
    """Keep the name of the slot while the task reads from it, so that it can be dropped whatever happens later."""
    with _engine(m, "note_slot", writes=False) as engine:
        engine.note_slot()


def resume_task(m: Migration) -> str:
    """Let the task go on with changes; the name of its slot on the source. Raises `DeadlineExceeded`."""
    with _engine(m, "resume_task") as engine:
        deadline = time.monotonic() + engine.plan.start_timeout.total_seconds()
        task.resume(engine.dms, engine.task, deadline)
        until(
            lambda: task.existing(engine.dms, engine.task),
            lambda state: state.status != "starting",
            what=f"resuming replication task {engine.task}",
            seen=lambda state: state.status,
            deadline=deadline,
        )
        return engine.wait_for_slot(deadline)


def check_lobs(m: Migration) -> None:
    """Measure the LOBs again and keep what was seen. Raises `LobsOutgrown` where DMS has cut a value."""
    with _engine(m, "check_lobs") as engine:
        limited = engine.records.limits()
        names = [(one.schema, one.name) for one in limited]
        again = measure(m.source, names, jobs=m.plan.load.jobs, purpose="lobs/again")
        engine.records.keep_limits(now := remeasured(limited, again))
        require_whole(now)


def finish(m: Migration) -> None:
    """After the cutover: the task has stopped, its slot is gone, and every column is NOT NULL again."""
    with _engine(m, "finish", writes=False) as engine:
        engine.finish()


__all__ = [
    "LobsOutgrown",
    "Provisioned",
    "TaskDefinition",
    "check_lobs",
    "create_task",
    "define_task",
    "drop_not_null",
    "finish",
    "load_finished",
    "note_slot",
    "provision",
    "reload_tables",
    "resume_task",
    "size_lobs",
    "start_task",
]
