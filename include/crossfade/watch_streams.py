"""What can go wrong with native streams and their slots, seen from the catalogs: a sentence each, with what to do."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql

from crossfade.capabilities import capabilities
from crossfade.connect import Connection
from crossfade.engines.base import Lag
from crossfade.engines.logical.replication import Replication, SlotMissing
from crossfade.engines.logical.stream import Stream
from crossfade.errors import CrossfadeError
from crossfade.quantities import format_size
from crossfade.queries import named_queries
from crossfade.routers.base import Direction, Side

_QUERIES = named_queries(__file__)

#: Columns of pg_stat_subscription_stats (18 and newer) that tell of rows that differ; another origin alone is no fault.
_CONFLICTS = (
    "confl_insert_exists",
    "confl_update_exists",
    "confl_update_missing",
    "confl_delete_missing",
    "confl_multiple_unique_conflicts",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """A slot, and the WAL that the server keeps for it."""

    name: str
    lost: bool  #: the server has removed what it needs
    retained: int  #: bytes

    def too_much(self, limit: int, side: Side) -> str:
        """That it keeps more than `limit` bytes, in words."""
        return (
            f"the slot {self.name} keeps {format_size(self.retained)} of WAL on the {side}, more than "
            f"source_protection.max_retained_wal ({format_size(limit)})"
        )


def kept(conn: Connection, names: Sequence[str]) -> list[Kept]:
    """Those of the named slots that are in this database."""
    return [Kept(**row) for row in conn.execute(_QUERIES["slots"], {"names": list(names)}).fetchall()]


def of_slots(slots: Sequence[Kept], limit: int, direction: Direction) -> Iterator[str]:
    """Slots of that direction that have lost their WAL, or keep more than `limit` bytes of it."""
    for slot in slots:
        if slot.lost:
            seen = "invalidated (wal_status = lost)"
            yield str(SlotMissing(slot=slot.name, seen=seen, direction=direction))
        elif slot.retained > limit:
            yield f"{slot.too_much(limit, direction.old)}. {_REMEDY[direction]}"


_REMEDY = {
    Direction.FORWARD: (
        "Find out why the target does not read on; or give the migration up, before the source's disk is full: the DAG "
        "abort with action abandon"
    ),
    Direction.BACK: (
        "Find out why the source does not read on; or give the way back up, before the target's disk is full: the DAG "
        "cleanup"
    ),
}


def look(replication: Replication, ready: Collection[str], patience: float) -> tuple[Lag | None, list[str]]:
    """
    The lag of streams that are all to be carrying rows, and what is wrong with them.

    :param ready: names of the streams that were started; the others are still being made
    :param patience: seconds for which a watermark is awaited
    """
    streams = [stream for stream in replication.streams if stream.name in ready]
    there = {slot.name for slot in kept(replication.publisher, [stream.name for stream in streams])}
    found = [finding for stream in streams for finding in _of_stream(replication, stream, there)]
    lag = None
    if len(streams) == len(replication.streams) and not found:
        try:
            lag = replication.lag(patience)
        except CrossfadeError as error:
            return None, [str(error)]
    late = lag is None or lag.seconds is None or lag.seconds > patience
    for stream in streams:
        found += _of_applying(replication.subscriber, stream, replication.direction, late=late)
    return lag, found


def _of_stream(replication: Replication, stream: Stream, there: Collection[str]) -> Iterator[str]:
    """A slot or a subscription that is missing, or that was disabled."""
    direction = replication.direction
    if stream.name not in there:
        yield str(SlotMissing(slot=stream.name, seen="missing", direction=direction))
    subscription = stream.subscription(replication.subscriber)
    if subscription is None:
        yield (
            f"the subscription {stream.name} on the {direction.new} is missing: nothing is applied there, and the "
            f"{direction.old} keeps WAL for it. {_REMEDY[direction]}"
        )
    elif not subscription["enabled"]:
        enable = sql.SQL("ALTER SUBSCRIPTION {} ENABLE").format(sql.Identifier(stream.name)).as_string()
        yield (
            f"the subscription {stream.name} on the {direction.new} is disabled: nothing is applied there, and the "
            f"{direction.old} keeps WAL for it. On the {direction.new}: {enable}"
        )


def _of_applying(subscriber: Connection, stream: Stream, direction: Direction, *, late: bool) -> Iterator[str]:
    """Errors while nothing arrives; and rows that were not what they had to be, which 18 and newer count."""
    if capabilities(subscriber).major < 15:
        return
    row = subscriber.execute(_QUERIES["errors"], {"name": stream.name}).fetchone()
    if row is None:
        return
    if late and row["errors"]:
        yield (
            f"the subscription {stream.name} has failed {row['errors']} times to apply a change and gets no further: "
            f"the log of the {direction.new}'s server names the row and the reason. Put it right there; it goes on by "
            "itself"
        )
    counted = {name: row["counted"].get(name, 0) for name in _CONFLICTS}
    if seen := ", ".join(f"{name.removeprefix('confl_')} {count}" for name, count in counted.items() if count):
        yield (
            f"the subscription {stream.name} has met rows on the {direction.new} that were not as they had to be "
            f"({seen}): somebody writes there. The log of its server names them; compare both sides: crossfade validate"
        )


def let_in(conn: Connection, roles: Sequence[str]) -> list[str]:
    """Which of these roles may connect to this database; superusers, whom nothing keeps off, are left out."""
    return [row["name"] for row in conn.execute(_QUERIES["let_in"], {"roles": list(roles)}).fetchall()]
