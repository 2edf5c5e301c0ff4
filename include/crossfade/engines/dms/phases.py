"""What each task of a migration with AWS DMS does: one function a task, safe to call again."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crossfade import catalog, control
from crossfade.engines.dms import task
from crossfade.engines.dms.access import dms_role, let_read, let_write, require_role
from crossfade.engines.dms.engine import STOP_SECONDS, DmsEngine
from crossfade.engines.dms.failures import SLOT_GONE, cause, explained
from crossfade.engines.dms.lob_memory import commit_rate, lob_memory
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
from crossfade.engines.dms.mappings import ranges_in, table_mappings
from crossfade.engines.dms.ranges import TableRanges, table_ranges
from crossfade.engines.dms.resource import Resource, tags_of
from crossfade.engines.dms.resources import ensure, instance_of, require_usable
from crossfade.engines.dms.settings import MOST_COMMIT_RATE, TaskSettings, lossy, task_settings
from crossfade.engines.dms.slots import SlotLost, find_slot
from crossfade.engines.dms.statistics import COMPLETED, broken, statistics
from crossfade.engines.dms.task_state import TaskState
from crossfade.engines.dms.waiting import until
from crossfade.errors import PreconditionError
from crossfade.journal import Journal
from crossfade.routers.base import Side
from crossfade.schema.archive import classify, entries
from crossfade.schema.ledger import Ledger
from crossfade.schema.not_null import drop_not_null as drop
from crossfade.schema.restore import IndexBuilder

if TYPE_CHECKING:
    from crossfade.migration import Migration

log = logging.getLogger(__name__)

CONTROL_SCHEMA = "crossfade"  #: of DMS's own tables on the target
Name = tuple[str, str]  #: schema and name of a table


@dataclass(frozen=True, kw_only=True, slots=True)
class Provisioned:
    """What the task runs on."""

    instance_arn: str
    source_arn: str
    target_arn: str
    task: str  #: identifier of the replication task to come
    notes: tuple[str, ...]  #: what a person should know


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskDefinition:
    """A replication task as it is to be made. Nothing in it is secret."""

    identifier: str
    instance_arn: str
    source_arn: str
    target_arn: str
    mappings: str  #: JSON
    settings: str  #: JSON


class MemoryTooSmall(PreconditionError):
    """The LOBs do not fit into the replication instance."""


@contextmanager
def _engine(m: Migration, name: str, *, writes: bool = True) -> Iterator[DmsEngine]:
    """The engine of the pinned migration. Raises `NotOursToWrite` where the target is no longer ours to write to."""
    with m.session(Side.SOURCE, name) as source, m.session(Side.TARGET, name) as target:
        journal = Journal(target)
        record = journal.writable(m.plan.name, name) if writes else journal.get(m.plan.name)
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
        _settings(engine, (), ())
        roles = {side: dms_role(m, side) for side in Side}
        require_role(engine.source, roles[Side.SOURCE], Side.SOURCE)
        require_role(engine.target, roles[Side.TARGET], Side.TARGET)
        found = task.describe(engine.dms, engine.task)
        if found is None or not found.has_run:  # a watermark that streams is not emptied
            control.add_stream(engine.source, engine.watermark)
            control.add_stream(engine.target, engine.watermark)
        _build_keys(engine)
        let_read(engine.source, roles[Side.SOURCE], engine.watermark)
        let_write(engine.target, m.plan.name, roles[Side.TARGET], engine.tables, engine.watermark)
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


def _build_keys(engine: DmsEngine) -> None:
    """Primary keys before the rows: changes that DMS caches meanwhile find their rows by them."""
    archived = entries(engine.record.archive or b"")
    keys = [entry for entry in archived if entry.kind == "CONSTRAINT" and " PRIMARY KEY " in entry.sql]
    builder = IndexBuilder(keys, classify(engine.source, archived))
    for table in _tables(engine):
        builder.build_all(engine.target, table.oid, log.info)


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
        _require_memory(engine, chosen, table_ranges_of(engine))
        with engine.target.transaction():
            engine.records.keep_limits(chosen)
            for name in changed:
                engine.journal.set_part_state(engine.record.id, name, "waiting")
        return chosen


def _instance_class(engine: DmsEngine) -> str:
    instance = engine.plan.instance
    return instance_of(engine.dms, instance).instance_class if isinstance(instance, str) else instance.class_


def _require_memory(engine: DmsEngine, chosen: Sequence[LobLimit], ranges: Sequence[TableRanges]) -> None:
    """Raise `MemoryTooSmall` where they do not fit with the plan's batches, or even row by row."""
    needed = lob_memory(
        chosen,
        jobs=engine.m.plan.load.jobs,
        commit_rate=_settings(engine, chosen, ranges).full_load_settings.commit_rate,
        ranges=ranges,
        instance_class=_instance_class(engine),
    )
    if not needed.fits:
        raise MemoryTooSmall(f"{needed.sentence}. Nothing was started")
    log.info("%s", needed.sentence)


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
        chosen, ranges = engine.records.limits(), table_ranges_of(engine)
        settings = _settings(engine, chosen, ranges)
        for warning in lossy(settings):
            log.warning("%s", warning)
        arns = _arns(engine)
        mappings = table_mappings(
            _tables(engine),
            lobs=chosen,
            ranges=ranges,
            also=[("crossfade", control.watermark_table(engine.watermark))],
        )
        return TaskDefinition(
            identifier=engine.task,
            instance_arn=arns[0],
            source_arn=arns[1],
            target_arn=arns[2],
            mappings=mappings.to_json(),
            settings=settings.to_json(),
        )


def _settings(engine: DmsEngine, chosen: Sequence[LobLimit], ranges: Sequence[TableRanges]) -> TaskSettings:
    plan, jobs = engine.plan, engine.m.plan.load.jobs
    rate = commit_rate(chosen, jobs=jobs, most=MOST_COMMIT_RATE, ranges=ranges, instance_class=_instance_class(engine))
    return task_settings(
        control_schema=CONTROL_SCHEMA,
        jobs=jobs,
        validation=plan.validation,
        inline_limit_kb=plan.lobs.inline_limit // 1024 if plan.lobs.outliers == "inline" else 0,
        commit_rate=rate,
        overrides=plan.settings,
    )


def _tables(engine: DmsEngine) -> list[catalog.Table]:
    chosen = set(engine.tables)
    return [t for t in catalog.tables(engine.source, engine.m.plan.tables) if (t.schema, t.name) in chosen]


def table_ranges_of(engine: DmsEngine) -> list[TableRanges]:
    """Ranges of the large tables; those of a task that has run stay, since a change would stop it."""
    found = task.describe(engine.dms, engine.task)
    if found is not None and found.has_run:
        return ranges_in(found.mappings)
    split = engine.m.plan.load.split_larger_than
    return table_ranges(engine.source, _tables(engine), split_larger_than=split)


def _arns(engine: DmsEngine) -> tuple[str, str, str]:
    """Of instance, source and target endpoint. Everything is there already: `provision` made or checked it."""
    plan = engine.plan
    made = ensure(
        engine.dms,
        plan=engine.m.plan.name,
        instance=plan.instance,
        source=plan.source,
        target=plan.target,
        login=engine.m.resolve,
        deadline=time.monotonic() + plan.start_timeout.total_seconds(),
    )
    return made.instance.arn, made.source.arn, made.target.arn


def create_task(m: Migration, definition: TaskDefinition) -> TaskState:
    """Make the task, or make the one that is there the same; one that runs otherwise is stopped for it."""
    with _engine(m, "create_task") as engine:
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
            tags=tags_of(m.plan.name),
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
        if _slot_lost(engine, found):
            log.warning("the slot of the task is lost: everything is loaded again")
            _free_of_foreign_keys(engine, engine.tables)
            task.stop(engine.dms, engine.task, time.monotonic() + STOP_SECONDS)
            engine.records.forget("slot")
            engine.journal.forget_mark(engine.record.id, LOADED)
            return task.start_over(engine.dms, engine.task)
        again = _to_be_loaded_again(engine, found)
        if not again:
            return task.start(engine.dms, engine.task)
        state = task.resume(engine.dms, engine.task)
        _reload(engine, again)
        _mark_loaded(engine)
        return state


def _slot_lost(engine: DmsEngine, found: TaskState) -> bool:
    if found.status == "failed" and cause(found.stop_reason, found.failure) is SLOT_GONE:
        return True
    if engine.records.identifier("slot") is None:
        return False
    try:
        find_slot(engine.source, engine.records, dms_role(engine.m, Side.SOURCE))
    except SlotLost as error:
        log.warning("%s", error)
        return True
    return False


def _to_be_loaded_again(engine: DmsEngine, found: TaskState) -> list[Name]:
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


LOADED = "loaded by dms"  #: the journal's mark: the load was complete once


def _mark_loaded(engine: DmsEngine) -> None:
    if not engine.journal.marked(engine.record.id, LOADED):
        engine.journal.mark(engine.record.id, LOADED)


def _free_of_foreign_keys(engine: DmsEngine, tables: Sequence[Name]) -> None:
    """DMS truncates a table before it loads it, which a foreign key to it forbids; `harden` makes them again."""
    Ledger(engine.target, engine.record.id).drop_foreign_keys(tables, log.info)


def _reload(engine: DmsEngine, tables: Sequence[Name]) -> None:
    """Load single tables of the running task again, and wait until they are there."""
    _free_of_foreign_keys(engine, tables)
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
        engine.journal.set_part_state(engine.record.id, name, "streaming")


def reload_tables(m: Migration, tables: Sequence[Name]) -> None:
    """
    Load single tables again while the task runs, and put back the foreign keys that had to go for it.

    Raises `PreconditionError` where a table is none of the plan's, or the task does not run.
    """
    with _engine(m, "reload_tables") as engine:
        if strangers := sorted(set(tables) - set(engine.tables)):
            names = ", ".join(".".join(name) for name in strangers)
            raise PreconditionError(f"the plan {m.plan.name} does not move {names}: nothing was loaded again")
        _reload(engine, list(tables))
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
        for part in _tables(engine):
            counted = tables[part.schema, part.name].rows
            engine.journal.set_part(engine.record.id, part, state="streaming", rows=counted)
            rows[part.full_name] = counted
        _mark_loaded(engine)
        return rows


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
    "provision",
    "reload_tables",
    "resume_task",
    "size_lobs",
    "start_task",
]
