"""Native logical replication from one side to the other: how far it is, its drain and its end; and its beginning."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import psycopg

from crossfade import control
from crossfade.capabilities import capabilities
from crossfade.connect import Connection, scalar
from crossfade.cutover import fence
from crossfade.engines.base import Drained, Lag
from crossfade.engines.watermarks import Watermarks, flush, wait_until
from crossfade.errors import DeadlineExceeded, FatalError, PreconditionError
from crossfade.queries import named_queries
from crossfade.routers.base import Direction, Side

if TYPE_CHECKING:
    from crossfade.migration import Migration

_QUERIES = named_queries(__file__)

AHEAD_SECONDS = 30  #: for which a server may try to log in to the other
SLOT_SECONDS = 20  #: how long a slot that is made ahead may wait for open transactions
PROOF_SECONDS = 10.0  #: for the first watermark, which waits for the workers to start


class SlotMissing(FatalError):
    """A slot that the stream needs is gone or has lost its WAL."""

    def __init__(self, *, slot: str, seen: str, direction: Direction) -> None:
        remedy = (
            "Clear the load task of its wave, with all that follows: it is copied again from the start"
            if direction is Direction.FORWARD
            else "The way back is lost: compare both sides, and keep the target"
        )
        super().__init__(f"the slot {slot} on the {direction.old} is {seen}: changes since then are lost. {remedy}")


class CannotArm(PreconditionError):
    """Replication from the new side to the old one can not be made ready."""

    def __init__(self, *, direction: Direction, reason: str) -> None:
        super().__init__(
            f"replication from the {direction.old} to the {direction.new} can not be made ready: {reason.strip()}"
        )


class Replication:
    """
    The streams of a plan's waves in one direction.

    :param direction: from which side to which rows are carried
    :param publisher: an autocommit session on the side that rows come from
    :param subscriber: an autocommit session on the side they go to
    :param waves: number -> schema and name of its tables
    """

    proved_in_pause: ClassVar[bool] = True

    def __init__(
        self,
        m: Migration,
        direction: Direction,
        *,
        publisher: Connection,
        subscriber: Connection,
        waves: Mapping[int, tuple[tuple[str, str], ...]],
    ) -> None:
        self.m, self.direction, self.publisher, self.subscriber = m, direction, publisher, subscriber
        self.streams = m.streams(waves, direction)
        self.marks = Watermarks(publisher, subscriber, [stream.watermark for stream in self.streams])
        self._live = False  #: `arm_ahead` made it run

    def exempt(self, side: Side) -> set[str]:
        """The role with which the subscriber logs in, on the publisher."""
        return {stream.publisher.user for stream in self.streams} if side is self.direction.old else set()

    # --- how far it is --------------------------------------------------------------------------------------------

    def lag(self, patience: float = 2.0) -> Lag:
        """
        How far behind the slowest stream is; writes a watermark on the publisher and waits for it that many seconds.

        Raises `SlotMissing`.
        """
        size = max((slot["bytes_behind"] for slot in self._slots()), default=0)
        try:
            return Lag(bytes=size, seconds=self.round_trip(time.monotonic() + patience), method="watermark")
        except DeadlineExceeded:
            return Lag(bytes=size, seconds=self.marks.age(), method="watermark")

    def round_trip(self, deadline: float) -> float:
        """Seconds that a watermark takes through the slowest stream. Raises `DeadlineExceeded`."""
        return self.marks.round_trip(deadline)

    def wait_caught_up(self, deadline: float) -> None:
        """
        Return when the subscriber has applied all that the publisher had committed when this was called.

        Reads only, so that several may wait at once. Raises `DeadlineExceeded`.
        """
        self._await_flush(str(scalar(self.publisher, "SELECT pg_current_wal_insert_lsn()")), deadline)

    def _await_flush(self, lsn: str, deadline: float) -> None:
        def passed() -> bool:
            return all(slot["passed"] for slot in self._slots(lsn))

        wait_until(passed, deadline, f"confirming {lsn}", "a slot is behind it")

    def _slots(self, lsn: str | None = None) -> list[dict[str, Any]]:
        names = [stream.name for stream in self.streams]
        rows = self.publisher.execute(_QUERIES["slots"], {"names": names, "lsn": lsn}).fetchall()
        for name in set(names) - {row["slot_name"] for row in rows}:
            raise SlotMissing(slot=name, seen="missing", direction=self.direction)
        for row in rows:
            if row["wal_status"] == "lost":
                raise SlotMissing(
                    slot=row["slot_name"], seen="invalidated (wal_status = lost)", direction=self.direction
                )
        return rows

    def check(self) -> None:
        """Raise `StreamIncomplete` or `SlotMissing` unless every stream carries all of its tables."""
        self._slots()
        for stream in self.streams:
            stream.check(self.subscriber)

    # --- the end of it --------------------------------------------------------------------------------------------

    def drain(self, deadline: float) -> Drained:
        """
        Wait until all that was committed on the publisher before this call has been applied, and is safe on the disk.

        The position is taken now, after the writers have stopped. Two proofs: a watermark through every stream,
        and every slot's confirmed_flush_lsn at or past the position. Raises `DeadlineExceeded`.
        """
        start = time.monotonic()
        lsn = str(scalar(self.publisher, "SELECT pg_current_wal_insert_lsn()"))
        self.marks.round_trip(deadline)
        flush(self.subscriber)
        self.marks.write()  # what arrives makes the worker report its flush position, else up to 200 ms late
        self._await_flush(lsn, deadline)
        return Drained(lsn=lsn, seconds=time.monotonic() - start)

    def stop(self, deadline: float) -> None:
        """Disable every subscription; returns when nothing can be applied any more. Raises `DeadlineExceeded`."""
        for stream in self.streams:
            stream.disable(self.subscriber)
        for stream in self.streams:
            wait_until(
                partial(stream.stopped, self.subscriber, self.publisher),
                deadline,
                f"stopping the subscription {stream.name}",
                "its worker is still there",
            )

    def resume(self) -> None:
        """Go on applying, where it was stopped and no reverse traffic has been."""
        for stream in self.streams:
            stream.enable(self.subscriber)

    def retire(self) -> None:
        """
        Remove subscriptions and slots; a slot that is kept would replay, after a rollback, what came back.

        Publications go with `drop`: nothing reads them, and they cost nothing. Raises `DeadlineExceeded`.
        """
        for stream in self.streams:
            stream.drop_subscription(self.subscriber)
            stream.drop_slot(self.publisher)

    finish = retire  # where retiring failed, it is done again by who finishes

    def drop(self) -> None:
        """Remove subscriptions, slots, publications and watermarks; safe to call again."""
        self._live = False
        self.retire()
        for stream in self.streams:
            stream.unpublish(self.publisher)
            control.drop_stream(self.publisher, stream.watermark)
            control.drop_stream(self.subscriber, stream.watermark)

    # --- arming it ------------------------------------------------------------------------------------------------

    def arm_ahead(self, *, live: bool) -> None:
        """
        Make ready, before clients are held, what takes its time: publications, and subscriptions that do not run yet.

        What an earlier try left is removed. Creating a subscription logs in from its server to the publisher's, which
        proves network, password and privileges.
        :param live: make the slots, too, and start applying, proved by a watermark. Only where the subscriber ignores
            what came by replication (16 on both sides, and a forward stream that marks it); and only seconds before
            clients follow. Raises `CannotArm`.
        """
        try:
            self._require_identities()
            self.drop()
            self.subscriber.execute("SELECT set_config('statement_timeout', %s, false)", [f"{AHEAD_SECONDS}s"])
            for stream in self.streams:
                if fence.is_fenced(self.publisher):
                    fence.let_in(self.publisher, stream.publisher.user, keep=True)
                stream.publish(self.publisher)
                control.add_stream(self.subscriber, stream.watermark)
                stream.subscribe(self.subscriber, enabled=False)
            if live:
                self.arm(SLOT_SECONDS)
                self.round_trip(time.monotonic() + PROOF_SECONDS)
                self._live = True
        except (psycopg.Error, DeadlineExceeded) as error:
            raise CannotArm(direction=self.direction, reason=str(error)) from error
        finally:
            if not self.subscriber.closed:
                self.subscriber.execute("SET statement_timeout = 0")

    def _require_identities(self) -> None:
        tables = [table for stream in self.streams for table in stream.tables]
        rows = self.publisher.execute(
            _QUERIES["without_identity"],
            {"schemas": [schema for schema, _ in tables], "names": [name for _, name in tables]},
        ).fetchall()
        if rows:
            raise CannotArm(
                direction=self.direction,
                reason=f"these tables have no replica identity there, and publishing them would make UPDATE and DELETE "
                f"fail: {', '.join(row['name'] for row in rows)}. Give them a primary key or REPLICA IDENTITY FULL",
            )

    def _make_slots(self, seconds: float) -> None:
        self.publisher.execute("SELECT set_config('statement_timeout', %s, false)", [f"{max(int(seconds * 1000), 1)}"])
        try:
            for stream in self.streams:
                if stream.slot(self.publisher) is None:
                    stream.make_slot(self.publisher)
        finally:
            if not self.publisher.closed:
                self.publisher.execute("SET statement_timeout = 0")

    def arm(self, seconds: float) -> None:
        """
        Make the slots that are not there, and start applying. Before any application writes to the publisher.

        Nothing where `arm_ahead` made it live; `prove` tells whether it still is.
        """
        if not self._live:
            self._make_slots(seconds)
            self.resume()

    def prove(self, deadline: float) -> str:
        """A watermark through every stream. Raises `DeadlineExceeded`."""
        return f"a watermark took {self.round_trip(deadline) * 1000:.1f} ms"

    def disarm(self) -> None:
        """Undo of arming, at any point of it: nothing is left."""
        self.drop()


def marks_origins(publisher: Connection, subscriber: Connection) -> bool:
    """Whether a stream between these servers can leave out what came by replication: both are 16 or newer."""
    return capabilities(publisher).origin_filter and capabilities(subscriber).origin_filter
