"""Checks of what moves: where sequences stand, and what carries rows."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from crossfade.engines.base import Carrier, Lag
from crossfade.engines.logical.replication import Replication
from crossfade.engines.logical.stream import Stream
from crossfade.errors import FatalError, PreconditionError
from crossfade.quantities import format_size
from crossfade.schema.compare import compare_sequences, sequence_states
from crossfade.validation.result import Mode
from crossfade.validation.sides import BothSides, Line, counted, unseen, wrong

_LATE = 2.0  #: seconds that a watermark may take before it is asked who is to apply it


def sequences(sides: BothSides, mode: Mode) -> Generator[Line, None, str]:
    """
    Sequences of the target that are behind the source's.

    Replication does not carry them. While a cutover is still to come that is no fault: it sets them.
    """
    note = counted(len(sequence_states(sides.source, sides.tables)), "sequence")
    behind = [
        each for each in compare_sequences(sides.source, sides.target, sides.tables) if each.on_target is not None
    ]
    if sides.cutover_to_come:
        return f"{note}; {len(behind)} behind on the target: the cutover sets them"
    for each in behind:
        yield wrong(
            f"sequence {each.identity} would hand out numbers again: {each.on_source} on the source, "
            f"{each.on_target} on the target. There: SELECT setval(…), to what the source has or past it"
        )
    return note


def replication(sides: BothSides, mode: Mode) -> Generator[Line, None, str]:
    """Whether rows are carried, by what the carrier says of itself; the lag is measured by a watermark."""
    carrier = sides.carrier
    if carrier is None:
        return "nothing carries rows from one side to the other"
    try:
        carrier.check()
    except (FatalError, PreconditionError) as error:
        yield wrong(" ".join(str(error).split()))
        return "the lag was not measured"
    lag = carrier.lag()
    if lag.seconds is None:
        yield unseen("no watermark has arrived yet: it is not known how far behind rows are")
    if isinstance(carrier, Replication):
        yield from _stopped(carrier, lag)
    return _in_words(lag, carrier)


def _stopped(carrier: Replication, lag: Lag) -> Iterator[Line]:
    """Subscriptions that do not apply. A worker that is only starting again is no fault: its watermark is not late."""
    late = lag.seconds is None or lag.seconds > _LATE
    for stream in carrier.streams:
        found = stream.subscription(carrier.subscriber)
        where = f"the subscription {stream.name} on the {carrier.direction.new}"
        if found is None:
            yield wrong(f"{where} is missing: nothing is applied there")
        elif not found["enabled"]:
            yield wrong(f"{where} is disabled: nothing is applied there")
        elif late and not found["pid"]:
            yield wrong(f"{where} has no worker: the log of its server tells why")


def _in_words(lag: Lag, carrier: Carrier) -> str:
    behind = "" if lag.seconds is None else f" and {lag.seconds:.2f} s"
    slots = [_slot_in_words(carrier, stream) for stream in carrier.streams] if isinstance(carrier, Replication) else []
    return "; ".join([f"{format_size(lag.bytes)}{behind} behind, by {lag.method}", *slots])


def _slot_in_words(carrier: Replication, stream: Stream) -> str:
    slot = stream.slot(carrier.publisher)
    if slot is None:
        return f"slot {stream.name}: missing"
    return f"slot {stream.name}: {slot['wal_status']}, {'read' if slot['active_pid'] else 'not read'}"
