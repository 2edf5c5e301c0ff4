"""What each task of a migration does: one function a task, safe to call again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from crossfade import catalog, control
from crossfade.capabilities import capabilities
from crossfade.connect import Connection, scalar
from crossfade.cutover import fence
from crossfade.engines.base import Progress
from crossfade.engines.declared import all_carriers, carriers_of, engine_of
from crossfade.engines.logical.engine import LogicalEngine
from crossfade.engines.logical.load import Loaded
from crossfade.engines.logical.waves import group
from crossfade.errors import PreconditionError, TransientError
from crossfade.journal import Journal, MigrationRecord, open_journal
from crossfade.journal_evidence import Approval
from crossfade.migration import Migration
from crossfade.plan import Tables
from crossfade.routers.base import Direction, Side
from crossfade.schema.archive import classify, dump_archive, entries
from crossfade.schema.database import carry_database
from crossfade.schema.emptying import empty
from crossfade.schema.harden import harden as harden_schema
from crossfade.schema.ledger import Ledger
from crossfade.schema.restore import restore_pre_data
from crossfade.schema.roles import ensure_roles, read_roles

log = logging.getLogger(__name__)

PRE_DATA = "pre-data"  #: the journal's mark: the schema is restored


@dataclass(frozen=True, kw_only=True, slots=True)
class Wave:
    """Tables that are copied together."""

    number: int
    tables: tuple[str, ...]
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """What prepare made ready."""

    migration_id: str
    waves: tuple[Wave, ...]
    notes: tuple[str, ...]  #: what a person should know: roles that were there, passwords not carried


class SharedTable(PreconditionError):
    """Two plans move the same table into one target."""


def prepare(m: Migration) -> Prepared:
    """
    Pin the plan; carry roles, database properties and the schema before the rows; fence the target; form the waves.

    Called again, it takes up a plan that was edited. Where the source's definitions have changed since, it empties the
    target and restores anew, so that every wave is copied again. Raises `NotOursToWrite` after a cutover.
    """
    with m.session(Side.SOURCE, "prepare") as source, m.session(Side.TARGET, "prepare") as target:
        if not control.version(target):
            _check_target(m, target)
        control.install(source, Side.SOURCE)
        journal = open_journal(target)
        if journal.find(m.plan.name):
            journal.writable(m.plan.name, "prepare")
        tables = catalog.tables(source, m.plan.tables)
        _check_tables(m, journal, tables)
        stamp = catalog.definition_stamp(source)
        _begin_anew_where_changed(m, source, target, journal, stamp, tables)
        record = journal.pin(m.plan)
        log.info("plan %s pinned as %s: %s tables", m.plan.name, m.plan.hash, len(tables))
        engine = engine_of(m, source=source, target=target, record=record)
        admitted = engine.exempt(Side.TARGET)
        carriers = admitted | carriers_of(m, source=source, target=target, record=record)
        roles = [role for role in read_roles(source, m.plan.cutover.application_roles) if role.name not in carriers]
        notes = ensure_roles(target, roles, log.info)
        grants = carry_database(source, target, log.info)
        opens_to = [{"role": grant.role or "", "grantable": grant.grantable} for grant in grants]
        exempt = fence.exempt_roles(target, admitted)
        fence.close(target, plan=m.plan.name, exempt=exempt, opens_to=opens_to)
        log.info("the target is fenced: applications can not connect before the cutover")
        if not journal.marked(record.id, PRE_DATA):
            _restore(m, source, target, journal, record, stamp, tables)
        for note in notes:
            log.warning("%s", note)
        return Prepared(migration_id=str(record.id), waves=_waves(journal, record), notes=tuple(notes))


def _check_target(m: Migration, target: Connection) -> None:
    """Without a journal, a target that holds rows may serve applications: the fence would shut them out."""
    for table in catalog.tables(target, Tables()):
        if scalar(target, sql.SQL("SELECT EXISTS (SELECT FROM ONLY {})").format(table.identifier)):
            raise PreconditionError(
                f"the target {m.target.address} holds rows ({table.full_name}) and no journal. It may serve "
                "applications, which preparing would shut out. Nothing was changed. Make it an empty database, or move "
                "into another"
            )


def _check_tables(m: Migration, journal: Journal, tables: Sequence[catalog.Table]) -> None:
    if not tables:
        raise PreconditionError(
            f"the plan {m.plan.name} selects no table: tables.include is {list(m.plan.tables.include)}, "
            f"exclude {list(m.plan.tables.exclude)}. Nothing was changed"
        )
    if serving := journal.others_serving(m.plan.name):
        raise PreconditionError(
            f"the target serves applications since the cutover of {', '.join(serving)}: preparing would shut them out. "
            "Nothing was changed. Move into a database of its own"
        )
    taken = journal.others_tables(m.plan.name)
    if shared := [f"{t.full_name} ({taken[t.full_name]})" for t in tables if t.full_name in taken]:
        raise SharedTable(
            f"other plans move these tables into the same target: {', '.join(shared)}. Exclude them in one"
        )


def _begin_anew_where_changed(
    m: Migration, source: Connection, target: Connection, journal: Journal, stamp: str, tables: Sequence[catalog.Table]
) -> None:
    """The source's definitions, or the plan's choice of tables or waves, are others than those that were restored."""
    record = journal.find(m.plan.name)
    if record is None or not journal.marked(record.id, PRE_DATA):
        return
    restored = {name for wave in journal.waves(record.id).values() for name in wave}
    same_tables = restored == {(table.schema, table.name) for table in tables}
    if record.stamp == stamp and same_tables and record.plan.load.waves == m.plan.load.waves:
        return
    if record.carrier == "slot" and Ledger(source, record.id).pending():
        raise PreconditionError(
            f"the rollback of {m.plan.name} is not confirmed: columns of the source are still nullable, as AWS DMS "
            "needs it to bring rows back. Nothing was changed. Wait for the task confirm of "
            f"{m.plan.name}.rollback, or clear it"
        )
    log.warning("the source's definitions or the plan's tables have changed: the target is emptied and made anew")
    for engine in all_carriers(m, source=source, target=target, record=record).engines:
        engine.drop()
    with target.transaction():
        log.info("dropped %s objects on the target", empty(target))
        Ledger(target, record.id).forget()
        journal.unmark(record.id)


def _restore(
    m: Migration,
    source: Connection,
    target: Connection,
    journal: Journal,
    record: MigrationRecord,
    stamp: str,
    tables: Sequence[catalog.Table],
) -> None:
    archive = dump_archive(m.source, m.plan.tables, target_major=capabilities(target).major)
    if catalog.definition_stamp(source) != stamp:
        raise TransientError("somebody ran DDL on the source while its schema was being dumped; run this task again")
    with target.transaction():
        restore_pre_data(target, archive, log.info)
        journal.keep_archive(record.id, archive, stamp)
        journal.assign(record.id, group(tables, m.plan.load.waves))
        journal.mark(record.id, PRE_DATA)


def _waves(journal: Journal, record: MigrationRecord) -> tuple[Wave, ...]:
    parts = journal.parts(record.id)
    numbers = sorted({part["wave"] for part in parts})
    return tuple(
        Wave(
            number=number,
            tables=tuple(part["table_name"] for part in parts if part["wave"] == number),
            bytes=sum(part["bytes"] for part in parts if part["wave"] == number),
        )
        for number in numbers
    )


def load_wave(m: Migration, wave: int) -> Loaded:
    """Copy a wave's tables from one snapshot, build their keys and indexes, and start its stream."""
    with m.session(Side.SOURCE, "load") as source, m.session(Side.TARGET, "load") as target:
        record = Journal(target).writable(m.plan.name, "load")
        return LogicalEngine(m, source=source, target=target, record=record).load(wave)


def harden(m: Migration) -> None:
    """Put on the target what waits for the rows: foreign keys, triggers, remaining indexes, comments, statistics."""
    with m.session(Side.SOURCE, "harden") as source, m.session(Side.TARGET, "harden") as target:
        record = Journal(target).writable(m.plan.name, "harden")
        archived = entries(record.archive or b"")
        harden_schema(target, archived, classify(source, archived), log.info)
        Ledger(target, record.id).restore(log.info)


def progress(m: Migration) -> Progress:
    """How far every table is."""
    with m.session(Side.SOURCE, "status") as source, m.session(Side.TARGET, "status") as target:
        record = Journal(target).get(m.plan.name)
        return engine_of(m, source=source, target=target, record=record).progress()


def record_approval(m: Migration, *, run_id: str, approver: str, approved_at: datetime) -> None:
    """Enter a person's yes, to the pinned plan and to the newest validation."""
    with m.journal() as journal:
        record = journal.get(m.plan.name)
        validation = journal.last_validation(record.id)
        if validation is None:
            raise PreconditionError("there is no validation to approve: clear the task validate")
        approval = Approval(
            approver=approver, approved_at=approved_at, plan_hash=record.plan.hash, validation_id=validation.id
        )
        journal.approve(record.id, run_id=run_id, approval=approval)
        log.info("%s approved the plan %s and the validation %s", approver, record.plan.hash, validation.id)


def record_rollback_approval(m: Migration, *, run_id: str, approver: str, approved_at: datetime) -> None:
    """Enter a person's yes to going back to the source."""
    with m.journal() as journal:
        record = journal.get(m.plan.name)
        approval = Approval(
            approver=approver, approved_at=approved_at, plan_hash=record.plan.hash, action=Direction.BACK.noun
        )
        journal.approve(record.id, run_id=run_id, approval=approval)
        log.info("%s approved going back to the source", approver)
