"""The engine `dms`: a replication task of AWS DMS that loads, then carries changes; how far it is, and its end."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from crossfade import control
from crossfade.connect import Connection
from crossfade.cutover import fence
from crossfade.engines.base import Progress, TableProgress
from crossfade.engines.dms import task
from crossfade.engines.dms.access import (
    RoleUnknown,
    dms_role,
    let_nobody_write,
    let_not_read,
    role_of_way_back,
    role_of_way_forward,
    writers_of,
)
from crossfade.engines.dms.carrying import DELETE_SECONDS, STOP_SECONDS, DmsCarrier, TaskNotRunning
from crossfade.engines.dms.endpoints import UnknownEndpoint
from crossfade.engines.dms.failures import explained, failure_of
from crossfade.engines.dms.lobs import require_whole
from crossfade.engines.dms.resource import ENDPOINTS_AND_INSTANCE, name_of, tags_of
from crossfade.engines.dms.resources import delete_made
from crossfade.engines.dms.slots import SlotLost, SlotUnknown, drop_slot, find_slot, unread_slots
from crossfade.engines.dms.statistics import COMPLETED, TableStatistics, statistics
from crossfade.engines.logical.waves import stream_name
from crossfade.errors import DeadlineExceeded, PreconditionError
from crossfade.journal import MigrationRecord
from crossfade.routers.base import Direction, Side
from crossfade.schema.ledger import Ledger
from crossfade.schema.not_null import restore_not_null

if TYPE_CHECKING:
    from crossfade.migration import Migration

log = logging.getLogger(__name__)


class DmsEngine(DmsCarrier):
    """
    One replication task that carries all tables of a plan.

    :param source: an autocommit session on the source
    :param target: an autocommit session on the target
    """

    def __init__(self, m: Migration, *, source: Connection, target: Connection, record: MigrationRecord) -> None:
        super().__init__(
            m,
            Direction.FORWARD,
            source=source,
            target=target,
            record=record,
            task=name_of(m.plan.name),
            watermark=stream_name(m.plan.name, 1),
        )

    @cached_property
    def roles(self) -> Mapping[Side, str]:
        """
        As whom DMS logs in on each side. AWS may have to be asked: `check` does so before clients are held.

        Raises as `access.dms_role`.
        """
        return {side: dms_role(self.m, side) for side in Side}

    @property
    def reader(self) -> str:
        return self.roles[Side.SOURCE]

    @property
    def writer(self) -> str:
        return self.roles[Side.TARGET]

    def bytes_behind(self) -> int:
        return find_slot(self.source, self.records, self.reader).bytes_behind

    # --- the contract ---------------------------------------------------------------------------------------------

    def carriers(self) -> set[str]:
        """DMS's roles for either direction, and the groups through which they may write."""
        found = {self.writer, self.writers}
        if self.m.plan.rollback.way_back == "dms":
            found |= {role_of_way_back(self.m, side) for side in Side} | {role_of_way_forward(self.m)}
            found.add(writers_of(self.m.plan.name, Direction.BACK))
        return found

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

    def end(self) -> None:
        """Return when the task has stopped and its slot is gone: nothing more is read. Raises `DeadlineExceeded`."""
        task.stop(self.dms, self.task, time.monotonic() + STOP_SECONDS)
        drop_slot(self.source, self.records)

    def finish(self) -> None:
        """
        After the cutover: the task has stopped, its slot is gone, NOT NULL is back, DMS's role may do nothing more.

        Safe to call again. Raises `NullsFound`, `DeadlineExceeded`.
        """
        self.end()
        Ledger(self.target, self.record.id).restore(log.info)
        restore_not_null(self.target, self.record.id, log.info)
        let_nobody_write(self.target, self.writers, self.tables)

    def drop(self) -> None:
        """Remove the task, its slot, its control tables, the watermark and DMS's privileges; safe to call again."""
        self.note_slot()
        if self.records.identifier("task") is not None:  # else one of that name belongs to another plan
            task.delete(self.dms, self.task, time.monotonic() + DELETE_SECONDS, tags=tags_of(self.m.plan.name))
        self.records.forget("task")
        drop_slot(self.source, self.records)
        if left := unread_slots(self.source):
            log.warning(
                "nobody reads these replication slots of the source's database: %s. Drop those that AWS DMS has left: "
                "they keep the source's WAL",
                ", ".join(left),
            )
        self.drop_control_tables()
        self._forget_roles()
        for conn in (self.source, self.target):
            control.drop_stream(conn, self.watermark)

    def _forget_roles(self) -> None:
        """What DMS's roles were granted goes. Where AWS no longer knows an endpoint, one that is left is named."""
        let_nobody_write(self.target, self.writers, self.tables)
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
        for kind in ENDPOINTS_AND_INSTANCE:
            self.records.forget(kind)


def _loaded(table: TableStatistics) -> bool:
    return table.state == COMPLETED and not table.trouble


def _state(table: TableStatistics | None) -> Literal["waiting", "copying", "indexing", "streaming"]:
    if table is None or table.state == "Before load":
        return "waiting"
    return "streaming" if _loaded(table) else "copying"
