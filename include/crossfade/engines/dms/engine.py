"""The engine `dms`: a replication task of AWS DMS that loads, then carries changes; how far it is, and its end."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from psycopg import sql

from crossfade import control
from crossfade.connect import Connection, scalar
from crossfade.cutover import fence
from crossfade.engines.base import Drained, Lag, Progress, TableProgress
from crossfade.engines.dms import task
from crossfade.engines.dms.access import (
    RoleUnknown,
    begin_writing,
    dms_of,
    dms_role,
    end_writing,
    let_nobody_write,
    let_not_read,
    require_role,
    writers_of,
)
from crossfade.engines.dms.endpoints import UnknownEndpoint
from crossfade.engines.dms.failures import explained, failure_of
from crossfade.engines.dms.lobs import require_whole
from crossfade.engines.dms.opinion import SecondOpinion
from crossfade.engines.dms.records import DmsRecords
from crossfade.engines.dms.refusals import Client
from crossfade.engines.dms.resource import Kind, name_of
from crossfade.engines.dms.resources import delete_made
from crossfade.engines.dms.slots import SlotLost, SlotUnknown, drop_slot, find_slot, unread_slots
from crossfade.engines.dms.statistics import COMPLETED, TableStatistics, statistics
from crossfade.engines.logical.waves import stream_name
from crossfade.engines.watermarks import Watermarks, flush
from crossfade.errors import DeadlineExceeded, PreconditionError
from crossfade.journal import Journal, MigrationRecord
from crossfade.routers.base import Side
from crossfade.schema.ledger import Ledger
from crossfade.schema.not_null import restore_not_null

if TYPE_CHECKING:
    from crossfade.migration import Migration

log = logging.getLogger(__name__)

STOP_SECONDS = 900.0  #: DMS finishes what it holds before it stops
DELETE_SECONDS = 1800.0  #: of task, endpoints and instance


class TaskNotRunning(PreconditionError):
    """The replication task carries no changes."""


class DmsEngine:
    """
    One replication task that carries all tables of a plan.

    :param source: an autocommit session on the source
    :param target: an autocommit session on the target
    """

    def __init__(self, m: Migration, *, source: Connection, target: Connection, record: MigrationRecord) -> None:
        self.m, self.source, self.target, self.record = m, source, target, record
        self.journal = Journal(target)
        self.plan = dms_of(m)
        self.records = DmsRecords(target, record.id)
        self.task = name_of(m.plan.name)
        self.watermark = stream_name(m.plan.name, 1)
        self.marks = Watermarks(source, target, [self.watermark])

    @cached_property
    def dms(self) -> Client:
        """The API of AWS DMS."""
        return self.m.clients(self.plan.aws, "dms")

    @cached_property
    def roles(self) -> Mapping[Side, str]:
        """
        As whom DMS logs in on each side. AWS may have to be asked: `check` does so before clients are held.

        Raises as `access.dms_role`.
        """
        return {side: dms_role(self.m, side) for side in Side}

    @property
    def tables(self) -> tuple[tuple[str, str], ...]:
        """Schema and name of everything that moves."""
        return tuple(name for wave in self.journal.waves(self.record.id).values() for name in wave)

    # --- the contract ---------------------------------------------------------------------------------------------

    def exempt(self, side: Side) -> set[str]:
        """DMS's own role. Raises `PreconditionError` where it is not there."""
        role = self.roles[side]
        require_role(self.source if side is Side.SOURCE else self.target, role, side)
        return {role}

    def carriers(self) -> set[str]:
        """DMS's role on the target, and the group through which it may write."""
        return {self.roles[Side.TARGET], writers_of(self.m.plan.name)}

    def progress(self) -> Progress:
        """What DMS counts for every table."""
        parts = {(part["schema"], part["name"]): part for part in self.journal.parts(self.record.id)}
        found = task.describe(self.dms, self.task)
        counted = {(t.schema, t.table): t for t in statistics(self.dms, found.arn)} if found else {}
        total = sum(part["bytes"] for part in parts.values()) or 1
        done = sum(part["bytes"] for name, part in parts.items() if name in counted and _loaded(counted[name]))
        return Progress(
            tables=tuple(
                TableProgress(
                    table=part["table_name"],
                    wave=part["wave"],
                    state=_state(counted.get(name)),
                    rows=counted[name].rows if name in counted else 0,
                    bytes=part["bytes"],
                )
                for name, part in parts.items()
            ),
            part=done / total,
        )

    def lag(self, patience: float = 10.0) -> Lag:
        """
        How far behind the target is: a watermark is written on the source and awaited that many seconds.

        Bytes are the WAL written since the last watermark that has arrived: DMS moves its slot's position seldom.
        """
        before = str(scalar(self.source, "SELECT pg_current_wal_insert_lsn()"))
        try:
            seconds: float | None = self.round_trip(time.monotonic() + patience)
        except DeadlineExceeded:
            slot = find_slot(self.source, self.records, self.roles[Side.SOURCE])
            return Lag(bytes=slot.bytes_behind, seconds=self.marks.age(), method="watermark")
        query = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)::bigint"
        return Lag(bytes=int(scalar(self.source, query, [before])), seconds=seconds, method="watermark")

    def round_trip(self, deadline: float) -> float:
        """Seconds that a watermark takes through DMS. Raises `DeadlineExceeded`."""
        return self.marks.round_trip(deadline)

    def wait_caught_up(self, deadline: float) -> None:
        """
        Return when the target has applied all that the source had committed when this was called.

        Several may wait at once, each for a watermark of its own. Raises `DeadlineExceeded`.
        """
        self.marks.round_trip(deadline)

    def check(self) -> None:
        """
        Raise unless the task carries every table, its slot keeps all it needs, and no LOB has outgrown its limit.

        Raises `TaskFailed`, `TaskInterrupted`, `TablesBroken`, `TaskNotRunning`, `SlotLost`, `LobsOutgrown`.
        """
        found = task.existing(self.dms, self.task)
        tables = statistics(self.dms, found.arn)
        if failure := failure_of(found, tables):
            raise failure
        if found.status != "running":
            raise TaskNotRunning(f"{explained(found, tables)}. The task that resumes it is resume_task")
        missing = set(self.tables) - {(t.schema, t.table) for t in tables}
        if missing:
            names = ", ".join(sorted(".".join(name) for name in missing))
            raise TaskNotRunning(f"replication task {self.task} does not carry {names}: clear load.create_task")
        find_slot(self.source, self.records, self.roles[Side.SOURCE])
        require_whole(self.records.limits())

    def drain(self, deadline: float) -> Drained:
        """
        Wait until all that was committed on the source before this call has been applied, and is safe on the disk.

        The proof is a watermark: without batch apply DMS commits in the source's order, so that what is seen of a
        transaction tells that all before it are there. With batch apply a second one must follow, since a batch may
        tear transactions apart. CloudWatch's CDCIncomingChanges is the second opinion: heard where it is about the
        time since this call, which with a resolution of a minute it seldom is. Raises `DeadlineExceeded`.
        """
        start, began = time.monotonic(), datetime.now(UTC)
        lsn = str(scalar(self.source, "SELECT pg_current_wal_insert_lsn()"))
        opinion = SecondOpinion(self.m, self.plan.aws, self.task)
        for _ in range(2 if self._batches else 1):
            self.marks.round_trip(deadline)
        opinion.agree(began, deadline)
        flush(self.target)
        return Drained(lsn=lsn, seconds=time.monotonic() - start)

    @cached_property
    def _batches(self) -> bool:
        return bool(self.plan.settings.get("TargetMetadata", {}).get("BatchApplyEnabled"))

    def stop(self, deadline: float) -> None:
        """
        Lock DMS's role out of the target: StopReplicationTask takes longer than clients can wait.

        Its sessions are ended, then it loses what it may write, for good: the fence is lifted long before the task
        has stopped. Raises `FenceIncomplete`, `WritesByOtherMeans`, `DeadlineExceeded`.
        """
        role = self.roles[Side.TARGET]
        fence.shut_out(self.target, role, deadline)
        with self.target.transaction():
            end_writing(self.target, self.m.plan.name, role, self.tables)

    def resume(self) -> None:
        """Let DMS in again, and the task go on where it gave up meanwhile."""
        self.admit()
        found = task.describe(self.dms, self.task)
        if found is not None and found.has_run and found.status in {"failed", "stopped"}:
            task.resume(self.dms, self.task)

    def admit(self) -> None:
        """Let DMS's role write, and then connect to the target, which is fenced."""
        role = self.roles[Side.TARGET]
        begin_writing(self.target, self.m.plan.name, role)
        fence.let_in(self.target, role)

    def note_slot(self) -> None:
        """Keep the name of the slot that a task reads right now: it shows only then. Nothing where none is seen."""
        with suppress(SlotUnknown, SlotLost, RoleUnknown, UnknownEndpoint):
            find_slot(self.source, self.records, self.roles[Side.SOURCE])

    def wait_for_slot(self, deadline: float) -> str:
        """
        The name of DMS's slot, once a running task reads from it.

        Raises `DeadlineExceeded`, `SlotLost`, and the error that the task's state is, see `failures.failure_of`.
        """
        role = self.roles[Side.SOURCE]
        while True:
            try:
                return find_slot(self.source, self.records, role).name
            except SlotUnknown as error:
                if failure := failure_of(task.existing(self.dms, self.task)):
                    raise failure from error
                if time.monotonic() > deadline:
                    raise DeadlineExceeded("finding the slot of AWS DMS", seconds=0, seen=str(error)) from error
                time.sleep(0.5)

    def retire(self) -> None:
        """After the decision: tell the task to stop, so that it reads nothing that flows back. Does not wait."""
        found = task.describe(self.dms, self.task)
        if found is not None and found.status == "running":
            task.ask_to_stop(self.dms, found)

    def finish(self) -> None:
        """
        After the cutover: the task has stopped, its slot is gone, NOT NULL is back, DMS's role may do nothing more.

        Safe to call again. Raises `NullsFound`, `DeadlineExceeded`.
        """
        task.stop(self.dms, self.task, time.monotonic() + STOP_SECONDS)
        drop_slot(self.source, self.records)
        Ledger(self.target, self.record.id).restore(log.info)
        restore_not_null(self.target, self.record.id, log.info)
        let_nobody_write(self.target, self.m.plan.name, self.tables)

    def drop(self) -> None:
        """Remove the task, its slot, its control tables, the watermark and DMS's privileges; safe to call again."""
        self.note_slot()
        task.delete(self.dms, self.task, time.monotonic() + DELETE_SECONDS)
        self.records.forget("task")
        drop_slot(self.source, self.records)
        if left := unread_slots(self.source):
            log.warning(
                "nobody reads these replication slots of the source's database: %s. Drop those that AWS DMS has left: "
                "they keep the source's WAL",
                ", ".join(left),
            )
        for row in self.target.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'crossfade'::regnamespace AND relkind = 'r'"
            " AND starts_with(relname, 'awsdms_')"
        ).fetchall():  # DMS's role owns them; the schema's owner may drop them without being a member of it
            self.target.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier("crossfade", row["relname"])))
        self._forget_roles()
        for conn in (self.source, self.target):
            control.drop_stream(conn, self.watermark)

    def _forget_roles(self) -> None:
        """What DMS's roles were granted goes. Where AWS no longer knows an endpoint, one that is left is named."""
        let_nobody_write(self.target, self.m.plan.name, self.tables)
        try:
            roles = self.roles
        except PreconditionError as error:
            log.warning("CONNECT on the target and USAGE of the schema crossfade stay with DMS's roles: %s", error)
            return
        if fence.is_fenced(self.target):
            fence.keep_out(self.target, roles[Side.TARGET])
        if control.version(self.source):
            let_not_read(self.source, roles[Side.SOURCE])

    def release(self) -> None:
        """Delete endpoints and instance that were made for this plan. The task must be gone: `drop`."""
        delete_made(self.dms, self.records.made(), plan=self.m.plan.name, deadline=time.monotonic() + DELETE_SECONDS)
        kinds: tuple[Kind, ...] = ("source endpoint", "target endpoint", "instance")
        for kind in kinds:
            self.records.forget(kind)


def _loaded(table: TableStatistics) -> bool:
    return table.state == COMPLETED and not table.trouble


def _state(table: TableStatistics | None) -> Literal["waiting", "copying", "indexing", "streaming"]:
    if table is None or table.state == "Before load":
        return "waiting"
    return "streaming" if _loaded(table) else "copying"
