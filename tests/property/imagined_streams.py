"""Streams of the imagination: publication, slot and subscription, and the rows and watermarks that they carry."""

from __future__ import annotations

import itertools
from typing import Any

import psycopg
from imagined_database import MOVER, Database, Entry, Session, Subscription

from crossfade.errors import DeadlineExceeded
from crossfade.routers.base import Direction

_ids = itertools.count(1)


class Wires:
    """
    What the servers do by themselves: senders send, workers apply.

    :param origins: both sides are 16 or newer: what came by replication is not sent back
    """

    def __init__(self, source: Database, target: Database, *, origins: bool) -> None:
        self.source, self.target, self.origins = source, target, origins

    def ends(self, direction: Direction) -> tuple[Database, Database]:
        """Publisher and subscriber."""
        return (self.source, self.target) if direction is Direction.FORWARD else (self.target, self.source)

    def flow(self, direction: Direction) -> bool:
        """Apply all that is there; False where nothing can flow."""
        publisher, subscriber = self.ends(direction)
        name = stream_name(direction)
        subscription = subscriber.state.subscriptions.get(name)
        slot = publisher.state.slots.get(name)
        if not (publisher.up and subscriber.up and subscription and subscription.enabled and slot is not None):
            return False
        if name not in publisher.state.publications or not publisher.may_connect(MOVER):
            return False
        applied = [entry.position for entry in subscriber.wal if entry.origin == subscription.id]
        start = max([slot, *applied])
        for position, entry in enumerate(publisher.wal[start : publisher.flushed], start + 1):
            if self.origins and entry.origin is not None:
                continue
            assert entry.row not in subscriber.rows, f"{name} applies the row {entry.row} a second time"
            subscriber.wal.append(Entry(row=entry.row, origin=subscription.id, position=position))
        if subscriber.flushed == len(subscriber.wal):
            publisher.state.slots[name] = max(slot, publisher.flushed)
        return True


def stream_name(direction: Direction) -> str:
    """Of publication, slot, subscription and watermark."""
    return f"crossfade_shop_{direction}"


class ImaginedStream:
    """Stands for `crossfade.engines.logical.stream.Stream`."""

    tables = (("public", "orders"),)

    def __init__(self, direction: Direction, wires: Wires, user: str) -> None:
        self.direction, self.wires = direction, wires
        self.name = self.watermark = stream_name(direction)
        self.publisher = _Login(user)

    def publish(self, publisher: Session) -> None:
        """On the publisher; its watermark's partition, too."""
        state = publisher.database.state

        def do() -> None:
            if self.name in publisher.database.state.publications:
                raise psycopg.errors.DuplicateObject(self.name)
            publisher.database.state.publications.add(self.name)
            state.partitions.add(self.watermark)

        publisher.effect("create publication", do)

    def subscribe(self, subscriber: Session, *, enabled: bool = True) -> None:
        """The subscriber's server logs in to the publisher's for it."""

        def do() -> None:
            publisher, _ = self.wires.ends(self.direction)
            if not publisher.up or not publisher.may_connect(MOVER):
                raise psycopg.OperationalError("could not connect to the publisher")
            if self.name in subscriber.database.state.subscriptions:
                raise psycopg.errors.DuplicateObject(self.name)
            subscriber.database.state.subscriptions[self.name] = Subscription(id=next(_ids), enabled=enabled)

        subscriber.effect("create subscription", do)

    def make_slot(self, publisher: Session) -> None:
        """From now on."""

        def do() -> None:
            database = publisher.database
            if self.name in database.state.slots:
                raise psycopg.errors.DuplicateObject(self.name)
            database.flushed = len(database.wal)
            database.state.slots[self.name] = database.flushed

        publisher.effect("create slot", do)

    def check(self, subscriber: Session) -> None:
        """It carries what it must, where it is."""
        subscriber.execute("SELECT 1")
        assert self.name in subscriber.database.state.subscriptions, f"{self.name} is not subscribed to"

    def slot(self, publisher: Session) -> dict[str, Any] | None:
        """None where there is none."""
        publisher.execute("SELECT 1")
        there = self.name in publisher.database.state.slots
        return {"active_pid": None, "wal_status": "reserved"} if there else None

    def disable(self, subscriber: Session) -> None:
        """Its worker ends at once."""
        self._set(subscriber, enabled=False)

    def stopped(self, subscriber: Session, publisher: Session) -> bool:
        """By both sides' word."""
        subscriber.execute("SELECT 1")
        publisher.execute("SELECT 1")
        return not subscriber.database.state.subscriptions[self.name].enabled

    def enable(self, subscriber: Session) -> None:
        """Go on."""
        self._set(subscriber, enabled=True)

    def _set(self, subscriber: Session, *, enabled: bool) -> None:
        def do() -> None:
            if self.name not in subscriber.database.state.subscriptions:
                raise psycopg.errors.UndefinedObject(self.name)
            subscriber.database.state.subscriptions[self.name].enabled = enabled

        subscriber.effect(f"{'enable' if enabled else 'disable'} subscription", do)

    def drop_subscription(self, subscriber: Session) -> None:
        """Without reaching for the publisher."""
        subscriber.effect("drop subscription", lambda: subscriber.database.state.subscriptions.pop(self.name, None))

    def drop_slot(self, publisher: Session, *, seconds: float = 15) -> None:
        """Nothing where there is none."""
        publisher.effect("drop slot", lambda: publisher.database.state.slots.pop(self.name, None))

    def unpublish(self, publisher: Session) -> None:
        """Nothing where there is none."""
        publisher.effect("drop publication", lambda: publisher.database.state.publications.discard(self.name))


class _Login:
    """How the subscriber's server logs in."""

    def __init__(self, user: str) -> None:
        self.user = user


class ImaginedWatermarks:
    """Stands for `crossfade.engines.watermarks.Watermarks`: a token arrives when everything before it has."""

    wires: Wires  #: set for each world

    def __init__(self, source: Session, target: Session, streams: list[str]) -> None:
        self.source, self.target, self.streams = source, target, streams

    def write(self) -> dict[str, int]:
        """The workers report their position when they have applied it."""
        self.source.effect("write watermark", self._flow)
        return dict.fromkeys(self.streams, 1)

    def round_trip(self, deadline: float) -> float:
        """Raises `DeadlineExceeded`."""
        arrived = self.source.effect("write watermark", self._flow)
        self.target.execute("SELECT 1")
        if not arrived:
            scheduler = self.source.database.scheduler
            scheduler.now = max(scheduler.now, deadline) + 0.1
            raise DeadlineExceeded("the watermark's way", seconds=1, seen="nothing")
        return 0.01

    def _flow(self) -> bool:
        both = (self.source.database, self.target.database)
        assert all(set(self.streams) <= each.state.partitions for each in both if each.up), "no partition for its token"
        return all(self.wires.flow(Direction(name.rsplit("_", 1)[1])) for name in self.streams)

    def age(self) -> float | None:
        """Not known."""
        return None


def flush(target: Session) -> None:
    """All that was applied is on the disk."""

    def do() -> None:
        target.database.flushed = len(target.database.wal)

    target.effect("flush", do)


def add_stream(conn: Session, stream: str) -> None:
    """A partition for its token."""
    conn.effect("add partition", lambda: conn.database.state.partitions.add(stream))


def drop_stream(conn: Session, stream: str) -> None:
    """Nothing where there is none."""
    conn.effect("drop partition", lambda: conn.database.state.partitions.discard(stream))
