"""A replication task of AWS DMS that carries changes alone, from a slot that is made for it, in either direction."""

from __future__ import annotations

import logging
import time
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

import psycopg

from crossfade import control
from crossfade.connect import Connection
from crossfade.cutover import fence
from crossfade.engines.base import Progress, progress_of
from crossfade.engines.dms import stream_task, task
from crossfade.engines.dms.access import (
    RoleUnknown,
    dms_role,
    end_writing,
    let_nobody_write,
    let_not_read,
    let_read,
    let_write,
    require_reader,
    role_of_way_back,
    role_of_way_forward,
    writers_of,
)
from crossfade.engines.dms.carrying import DELETE_SECONDS, STOP_SECONDS, DmsCarrier
from crossfade.engines.dms.endpoints import UnknownEndpoint
from crossfade.engines.dms.failures import explained, failure_of
from crossfade.engines.dms.lobs import lob_tables
from crossfade.engines.dms.named_slots import NamedSlot
from crossfade.engines.dms.resource import Kind, name_of, tags_of
from crossfade.engines.dms.statistics import broken, statistics
from crossfade.engines.dms.stream_errors import NotProvedYet, SlotGone, StreamBroken, TablesLost, TaskGone
from crossfade.engines.logical.replication import CannotArm
from crossfade.engines.logical.waves import object_name, stream_name
from crossfade.errors import CrossfadeError
from crossfade.journal import MigrationRecord
from crossfade.routers.base import Direction, Side
from crossfade.schema.ledger import Ledger
from crossfade.schema.not_null import drop_not_null, restore_not_null

if TYPE_CHECKING:
    from crossfade.migration import Migration

log = logging.getLogger(__name__)


class DmsStream(DmsCarrier):
    """
    A task from a slot that is made in the pause of a cutover, and started once clients have gone on.

    The slot is no earlier: it must not see what the task in the other direction applies, which carries no mark of its
    origin. The task is no earlier: starting one takes longer than clients can wait.
    """

    proved_in_pause: ClassVar[bool] = False

    def __init__(
        self, m: Migration, direction: Direction, *, source: Connection, target: Connection, record: MigrationRecord
    ) -> None:
        super().__init__(
            m,
            direction,
            source=source,
            target=target,
            record=record,
            task=name_of(m.plan.name, "back" if direction is Direction.BACK else "again"),
            watermark=stream_name(m.plan.name, 1, direction),
        )
        self.kind: Kind = "back task" if direction is Direction.BACK else "again task"
        self.started = f"{self.kind} started"  #: the journal's mark: its task has begun to read the slot
        self.let_in = f"{self.kind} let in"  #: the same: its reader may connect to what was fenced, for its sake alone
        plugin = self.plan.back.plugin if self.plan.back else None
        self.slot = NamedSlot(self.publisher, object_name(m.plan.name, 1, direction), plugin)

    @cached_property
    def reader(self) -> str:
        back = self.direction is Direction.BACK
        return role_of_way_back(self.m, Side.TARGET) if back else role_of_way_forward(self.m)

    @cached_property
    def writer(self) -> str:
        back = self.direction is Direction.BACK
        return role_of_way_back(self.m, Side.SOURCE) if back else dms_role(self.m, Side.TARGET)

    def carriers(self) -> set[str]:
        """DMS's roles for either direction, and the groups through which they may write."""
        roles = {role for side in Side for role in (dms_role(self.m, side), role_of_way_back(self.m, side))}
        return (
            roles | {role_of_way_forward(self.m)} | {writers_of(self.m.plan.name, direction) for direction in Direction}
        )

    # --- arming it ------------------------------------------------------------------------------------------------

    def arm_ahead(self, *, live: bool) -> None:
        """
        Make ready what takes its time, before clients are held: roles, endpoints with their tests, and the task.

        The task is made and not started; one that has run is of an earlier cutover, and is made anew. A slot is tried
        and dropped again. Nothing that clients could see is changed on the side that serves.
        :param live: not heard: the slot is made in the pause. Raises `CannotArm`.
        """
        try:
            self.slot.drop()
            self.journal.forget_mark(self.record.id, self.started)  # of a slot that is gone
            for conn in (self.publisher, self.subscriber):
                control.add_stream(conn, self.watermark)
            let_read(self.publisher, self.reader, self.watermark)
            require_reader(self.publisher, self.reader, self.tables, self.direction.old)
            with self.subscriber.transaction():  # proved, and ended at once: applications write there, DMS not yet
                let_write(self.subscriber, self.writers, self.writer, self.tables, self.watermark)
                end_writing(self.subscriber, self.writers, self.writer, self.tables)
            if fence.is_fenced(self.publisher) and fence.let_in(self.publisher, self.reader, keep=True):
                self.journal.mark(self.record.id, self.let_in)
            self.slot.try_out()
            stream_task.make(self)
        except (psycopg.Error, CrossfadeError) as error:
            raise CannotArm(direction=self.direction, reason=str(error)) from error

    def arm(self, seconds: float) -> None:
        """Make the slot, before any application writes where it reads. AWS is asked nothing."""
        self.slot.make(seconds)

    def prove(self, deadline: float) -> str:
        """
        Prove what can be before clients go on: the slot is there for DMS to read, and begins before they write.

        Returns that in words. Raises `CannotArm`.
        """
        if problem := self.slot.unusable():
            raise CannotArm(direction=self.direction, reason=problem)
        return (
            f"the slot {self.slot.name} keeps every change from {self.slot.position()} on; the task of AWS DMS is "
            "started, and proved, after clients have gone on"
        )

    def disarm(self) -> None:
        """Undo of arming, at any point of it: the slot goes. The task stays, never started, for the next try."""
        self.slot.drop()

    # --- starting it, with clients on the other side --------------------------------------------------------------

    def ready(self) -> task.TaskState:
        """
        The task, waited for; made where somebody has deleted it and it was never started: the slot has everything.

        Raises `StreamLost`, `DeadlineExceeded`.
        """
        self._require_slot()
        if task.describe(self.dms, self.task) is None:
            self._require_unstarted()
            stream_task.make(self)
        return task.settled(self.dms, self.task)

    def start(self) -> None:
        """
        Start the task at the slot's position, or let it go on where it has stopped; nothing where it runs.

        Columns of large objects become nullable where it writes: DMS writes their rows in two steps. A task that was
        started once is not made anew, nor started from the slot's position again: what it has applied it alone knows.
        Raises `StreamLost`, and as `task.start_from`.
        """
        found = self.ready()
        if found.status in task.ACTIVE:
            log.info("replication task %s is %s already", self.task, found.status)
            return
        columns = [
            (table.schema, table.name, column)
            for table in lob_tables(self.publisher, self.tables)
            for column in table.columns
        ]
        drop_not_null(self.subscriber, self.record.id, columns, log.info)
        self.admit()
        if found.has_run:
            task.resume(self.dms, self.task)
        else:
            self.journal.mark(self.record.id, self.started)  # before: whatever is answered, it may have begun
            task.start_from(self.dms, found, self.slot.position())

    def bytes_behind(self) -> int:
        self._require_slot()
        return self.slot.bytes_behind()

    def proved(self) -> bool:
        """Whether a watermark has ever come through since it was armed."""
        return self.marks.age() is not None

    def check(self) -> None:
        """
        Raise unless the task carries every table from its slot, and has been proved.

        Raises `StreamLost`, `StreamBroken`, `NotProvedYet`.
        """
        self._require_slot()
        found = task.describe(self.dms, self.task)
        if found is None:
            self._require_unstarted()
            raise self._not_proved(f"AWS DMS has no replication task {self.task}")
        if not found.has_run:
            raise self._not_proved(f"replication task {self.task} was not started")
        tables = statistics(self.dms, found.arn)
        if bad := broken(tables):
            raise TablesLost(task=self.task, tables=bad, direction=self.direction)
        if failure := failure_of(found, tables):
            raise StreamBroken(direction=self.direction, reason=str(failure))
        if found.status == "starting":
            raise self._not_proved(f"replication task {self.task} is starting")
        if found.status != "running":
            raise StreamBroken(direction=self.direction, reason=explained(found, tables))
        if missing := set(self.tables) - {(t.schema, t.table) for t in tables}:
            names = ", ".join(sorted(".".join(name) for name in missing))
            raise StreamBroken(direction=self.direction, reason=f"replication task {self.task} leaves out {names}")
        if not self.proved():
            raise self._not_proved("no watermark has come through it")

    def _not_proved(self, seen: str) -> NotProvedYet:
        return NotProvedYet(plan=self.m.plan.name, direction=self.direction, seen=seen)

    def _require_slot(self) -> None:
        if seen := self.slot.lost():
            raise SlotGone(slot=self.slot.name, seen=seen, direction=self.direction)

    def _require_unstarted(self) -> None:
        if self.journal.marked(self.record.id, self.started):
            raise TaskGone(task=self.task, direction=self.direction)

    # --- the end of it --------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Return when the task has stopped and its slot is gone: nothing more is read. Raises `DeadlineExceeded`."""
        if self._made():
            task.stop(self.dms, self.task, time.monotonic() + STOP_SECONDS)
        self.slot.drop()

    def _made(self) -> bool:
        """Whether a task was ever made: else one of that name belongs to another plan, whose name leads to the same."""
        return self.records.identifier(self.kind) is not None

    def finish(self) -> None:
        """
        After the cutover: task and slot are gone, NOT NULL is back where it wrote, DMS's role may write nothing more.

        Safe to call again. Raises `NullsFound`, `DeadlineExceeded`.
        """
        self.end()
        if self._made():
            task.delete(self.dms, self.task, time.monotonic() + DELETE_SECONDS, tags=tags_of(self.m.plan.name))
        self.journal.forget_mark(self.record.id, self.started)
        self.records.forget(self.kind)
        Ledger(self.subscriber, self.record.id).restore(log.info)
        restore_not_null(self.subscriber, self.record.id, log.info)
        let_nobody_write(self.subscriber, self.writers, self.tables)

    def drop(self) -> None:
        """
        Remove slot, task, DMS's control tables, privileges and watermark; safe to call again.

        The slot first: it keeps WAL of a side that may serve, also where neither AWS nor the other side answers.
        """
        self.slot.drop()
        self.finish()
        self.drop_control_tables()
        try:
            let_not_read(self.publisher, self.reader)
            if self.journal.marked(self.record.id, self.let_in):
                with self.publisher.transaction():
                    fence.take_back(self.publisher, [self.reader])
                self.journal.forget_mark(self.record.id, self.let_in)
            if fence.is_fenced(self.subscriber):
                fence.keep_out(self.subscriber, self.writer)
        except (RoleUnknown, UnknownEndpoint) as error:
            log.warning("USAGE of the schema crossfade and CONNECT stay with DMS's roles: %s", error)
        if self.direction is Direction.BACK:
            Ledger(self.source, self.record.id).forget()
        for conn in (self.publisher, self.subscriber):
            control.drop_stream(conn, self.watermark)

    # --- as the engine of a migration that was rolled back --------------------------------------------------------

    def progress(self) -> Progress:
        """What the journal says of every table: nothing is copied any more."""
        return progress_of(self.journal.parts(self.record.id))

    def release(self) -> None:
        """Nothing: endpoints and instance are given back by the engine that the plan names."""
