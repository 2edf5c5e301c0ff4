"""What a replication task of a plan is: its tables with their keys, its mappings and settings, the memory it takes."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from crossfade import catalog, control
from crossfade.engines.dms import task
from crossfade.engines.dms.engine import DmsEngine
from crossfade.engines.dms.lob_memory import commit_rate, lob_memory
from crossfade.engines.dms.lobs import LobLimit
from crossfade.engines.dms.mappings import ranges_in, table_mappings
from crossfade.engines.dms.ranges import TableRanges, table_ranges
from crossfade.engines.dms.resources import ensure, instance_of
from crossfade.engines.dms.settings import MOST_COMMIT_RATE, TaskSettings, lossy, task_settings
from crossfade.errors import PreconditionError
from crossfade.schema.archive import classify, entries
from crossfade.schema.restore import IndexBuilder

log = logging.getLogger(__name__)

CONTROL_SCHEMA = "crossfade"  #: of DMS's own tables on the target


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


def define(engine: DmsEngine) -> TaskDefinition:
    """The task as the plan and the measured LOBs want it. Raises `MappingsRefused`, `SettingRefused`."""
    chosen, ranges = engine.records.limits(), ranges_of(engine)
    settings = settings_of(engine, chosen, ranges)
    for warning in lossy(settings):
        log.warning("%s", warning)
    arns = _arns(engine)
    mappings = table_mappings(
        tables_of(engine),
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


def _instance_class(engine: DmsEngine) -> str:
    instance = engine.plan.instance
    return instance_of(engine.dms, instance).instance_class if isinstance(instance, str) else instance.class_


def require_memory(engine: DmsEngine, chosen: Sequence[LobLimit], ranges: Sequence[TableRanges]) -> None:
    """Raise `MemoryTooSmall` where they do not fit with the plan's batches, or even row by row."""
    needed = lob_memory(
        chosen,
        jobs=engine.m.plan.load.jobs,
        commit_rate=settings_of(engine, chosen, ranges).full_load_settings.commit_rate,
        ranges=ranges,
        instance_class=_instance_class(engine),
    )
    if not needed.fits:
        raise MemoryTooSmall(f"{needed.sentence}. Nothing was started")
    log.info("%s", needed.sentence)


def settings_of(engine: DmsEngine, chosen: Sequence[LobLimit], ranges: Sequence[TableRanges]) -> TaskSettings:
    """Crossfade's settings with the plan's, and batches that fit into memory. Raises `SettingRefused`."""
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


def tables_of(engine: DmsEngine) -> list[catalog.Table]:
    """The tables that move, as the source's catalog has them now."""
    chosen = set(engine.tables)
    return [t for t in catalog.tables(engine.source, engine.m.plan.tables) if (t.schema, t.name) in chosen]


def ranges_of(engine: DmsEngine) -> list[TableRanges]:
    """Ranges of the large tables; those of a task that has run stay, since a change would stop it."""
    found = task.describe(engine.dms, engine.task)
    if found is not None and found.has_run:
        return ranges_in(found.mappings)
    split = engine.m.plan.load.split_larger_than
    return table_ranges(engine.source, tables_of(engine), split_larger_than=split)


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


def build_keys(engine: DmsEngine) -> None:
    """Primary keys before the rows: changes that DMS caches meanwhile find their rows by them."""
    archived = entries(engine.record.archive or b"")
    keys = [entry for entry in archived if entry.kind == "CONSTRAINT" and " PRIMARY KEY " in entry.sql]
    builder = IndexBuilder(keys, classify(engine.source, archived))
    for table in tables_of(engine):
        builder.build_all(engine.target, table.oid, log.info)
