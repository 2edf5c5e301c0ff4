"""What a replication task of AWS DMS that carries changes can be asked and told, whichever side it reads from."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from psycopg import sql

from crossfade.connect import Connection, scalar
from crossfade.cutover import fence
from crossfade.engines.base import Drained, Lag
from crossfade.engines.dms import task
from crossfade.engines.dms.access import begin_writing, dms_of, end_writing, require_role, writers_of
from crossfade.engines.dms.opinion import SecondOpinion
from crossfade.engines.dms.records import DmsRecords
from crossfade.engines.dms.refusals import Client
from crossfade.engines.watermarks import Watermarks, flush
from crossfade.errors import DeadlineExceeded, PreconditionError
from crossfade.journal import Journal, MigrationRecord
from crossfade.routers.base import Direction, Side

if TYPE_CHECKING:
    from crossfade.migration import Migration

STOP_SECONDS = 900.0  #: DMS finishes what it holds before it stops
DELETE_SECONDS = 1800.0  #: of task, endpoints and instance


class TaskNotRunning(PreconditionError):
    """The replication task carries no changes."""


class DmsCarrier(ABC):
    """
    One replication task that carries all tables of a plan in one direction.

    :param source: an autocommit session on the source
    :param target: an autocommit session on the target
    :param task: identifier of the replication task
    :param watermark: name of its watermark stream
    """

    def __init__(
        self,
        m: Migration,
        direction: Direction,
        *,
        source: Connection,
        target: Connection,
        record: MigrationRecord,
        task: str,
        watermark: str,
    ) -> None:
        self.m, self.direction, self.record = m, direction, record
        self.source, self.target = source, target
        sides = {Side.SOURCE: source, Side.TARGET: target}
        self.publisher, self.subscriber = sides[direction.old], sides[direction.new]
        self.journal = Journal(target)
        self.plan = dms_of(m)
        self.records = DmsRecords(target, record.id)
        self.task, self.watermark = task, watermark
        self.writers = writers_of(m.plan.name, direction)  #: the group that may write what moves
        self.marks = Watermarks(self.publisher, self.subscriber, [watermark])

    @property
    @abstractmethod
    def reader(self) -> str:
        """As whom DMS logs in where rows come from. AWS may have to be asked. Raises as `access.dms_role`."""

    @property
    @abstractmethod
    def writer(self) -> str:
        """As whom DMS logs in where they go. AWS may have to be asked. Raises as `access.dms_role`."""

    @abstractmethod
    def bytes_behind(self) -> int:
        """WAL that the task's slot keeps from being removed. Raises where the slot is lost."""

    @cached_property
    def dms(self) -> Client:
        """The API of AWS DMS."""
        return self.m.clients(self.plan.aws, "dms")

    @property
    def tables(self) -> tuple[tuple[str, str], ...]:
        """Schema and name of everything that moves."""
        return tuple(name for wave in self.journal.waves(self.record.id).values() for name in wave)

    def exempt(self, side: Side) -> set[str]:
        """DMS's own role. Raises `PreconditionError` where it is not there."""
        reads = side is self.direction.old
        role = self.reader if reads else self.writer
        require_role(self.publisher if reads else self.subscriber, role, side)
        return {role}

    def lag(self, patience: float = 10.0) -> Lag:
        """
        How far behind the side is that rows go to: a watermark is written and awaited that many seconds.

        Bytes are the WAL written since the last watermark that has arrived: DMS moves its slot's position seldom.
        """
        before = str(scalar(self.publisher, "SELECT pg_current_wal_insert_lsn()"))
        try:
            seconds: float | None = self.round_trip(time.monotonic() + patience)
        except DeadlineExceeded:
            return Lag(bytes=self.bytes_behind(), seconds=self.marks.age(), method="watermark")
        query = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), %s)::bigint"
        return Lag(bytes=int(scalar(self.publisher, query, [before])), seconds=seconds, method="watermark")

    def round_trip(self, deadline: float) -> float:
        """Seconds that a watermark takes through DMS. Raises `DeadlineExceeded`."""
        return self.marks.round_trip(deadline)

    def wait_caught_up(self, deadline: float) -> None:
        """
        Return when all is applied that had been committed where rows come from when this was called.

        Several may wait at once, each for a watermark of its own. Raises `DeadlineExceeded`.
        """
        self.marks.round_trip(deadline)

    def drain(self, deadline: float) -> Drained:
        """
        Wait until all that was committed before this call where rows come from has been applied, and is on the disk.

        The proof is a watermark: without batch apply DMS commits in the order of the side it reads, so that what is
        seen of a transaction tells that all before it are there. With batch apply a second one must follow, since a
        batch may tear transactions apart. CloudWatch's CDCIncomingChanges is the second opinion: heard where it is
        about the time since this call, which with a resolution of a minute it seldom is. Raises `DeadlineExceeded`.
        """
        start, began = time.monotonic(), datetime.now(UTC)
        lsn = str(scalar(self.publisher, "SELECT pg_current_wal_insert_lsn()"))
        opinion = SecondOpinion(self.m, self.plan.aws, self.task)
        for _ in range(2 if self._batches else 1):
            self.marks.round_trip(deadline)
        opinion.agree(began, deadline)
        flush(self.subscriber)
        return Drained(lsn=lsn, seconds=time.monotonic() - start)

    @cached_property
    def _batches(self) -> bool:
        return bool(self.plan.settings.get("TargetMetadata", {}).get("BatchApplyEnabled"))

    def stop(self, deadline: float) -> None:
        """
        Lock DMS's role out of where it writes: StopReplicationTask takes longer than clients can wait.

        Its sessions are ended, then it loses what it may write, for good: the fence is lifted long before the task
        has stopped. Raises `FenceIncomplete`, `WritesByOtherMeans`, `DeadlineExceeded`.
        """
        fence.shut_out(self.subscriber, self.writer, deadline)
        with self.subscriber.transaction():
            end_writing(self.subscriber, self.writers, self.writer, self.tables)

    def resume(self) -> None:
        """Let DMS in again, and the task go on where it gave up meanwhile."""
        self.admit()
        found = task.describe(self.dms, self.task)
        if found is not None and found.has_run and found.status in {"failed", "stopped"}:
            task.resume(self.dms, self.task)

    def admit(self) -> None:
        """Let DMS's role write, and then connect to the side it writes to, which is fenced."""
        begin_writing(self.subscriber, self.writers, self.writer)
        fence.let_in(self.subscriber, self.writer)

    def drop_control_tables(self) -> None:
        """Drop the tables that DMS has made where it writes. Its task must be gone; safe to call again."""
        for row in self.subscriber.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'crossfade'::regnamespace AND relkind = 'r'"
            " AND starts_with(relname, 'awsdms_')"
        ).fetchall():  # DMS's role owns them; the schema's owner may drop them without being a member of it
            self.subscriber.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier("crossfade", row["relname"])))

    def retire(self) -> None:
        """After the decision: tell the task to stop, so that it reads nothing that flows back. Does not wait."""
        found = task.describe(self.dms, self.task)
        if found is not None and found.status == "running":
            task.ask_to_stop(self.dms, found)
