"""After the decision: the task that a cutover or rollback has armed is started, and proved with clients on the way."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from crossfade.cutover import decision
from crossfade.engines.declared import carrier_of
from crossfade.engines.dms.engine import DmsEngine
from crossfade.engines.dms.stream import DmsStream
from crossfade.errors import DeadlineExceeded, PreconditionError
from crossfade.journal import Journal, State
from crossfade.routers.base import Direction, Side

if TYPE_CHECKING:
    from crossfade.engines.base import Carrier
    from crossfade.migration import Migration

log = logging.getLogger(__name__)

LOCK_SECONDS = 15.0  #: for which a cutover, rollback or abort that is under way is waited for
PROOF_SECONDS = 120.0  #: for a watermark's way through a task that has just come up


class NothingArmed(PreconditionError):
    """No task of AWS DMS waits to be started."""


def start_armed(m: Migration) -> str:
    """
    Start the task that the last cutover or rollback has armed, at its slot's position; its identifier.

    What carried rows before has stopped by then, and its slot is gone: it would take what comes back for changes to
    carry. What takes its time comes first; columns and rights are changed under the plan's lock, and only where nobody
    has begun to go the other way meanwhile.
    Safe to call again. Raises `NothingArmed`, `stream_errors.StreamLost`, `DeadlineExceeded`, `decision.AnotherActs`.
    """
    with _armed(m) as (stream, before):
        before.end()
        stream.ready()
        decision.act_alone(stream.publisher, m.plan.name, seconds=LOCK_SECONDS)
        now = stream.journal.get(m.plan.name)
        if (now.state, now.cut_over_at) != (stream.record.state, stream.record.cut_over_at):
            raise NothingArmed(f"{m.plan.name} is {now.state} by now: nothing was started. Look at it, and try again")
        stream.start()
        return stream.task


def prove_armed(m: Migration, seconds: float = PROOF_SECONDS) -> float:
    """
    Seconds that a watermark took through the task that was started; from then on one can go the other way.

    Raises `NothingArmed`, `DeadlineExceeded`, and what the task's state is, as `stream.DmsStream.check`.
    """
    with _armed(m) as (stream, _):
        try:
            took = stream.round_trip(time.monotonic() + seconds)
        except DeadlineExceeded:
            stream.check()  # what is wrong with the task says more
            raise
        stream.check()
        log.info("replication to the %s is proved: a watermark took %.1f s", stream.direction.new, took)
        return took


@contextmanager
def _armed(m: Migration) -> Iterator[tuple[DmsStream, DmsEngine | DmsStream]]:
    """What is to be started, and what carried rows before."""
    with m.session(Side.SOURCE, "start") as source, m.session(Side.TARGET, "start") as target:
        record = Journal(target).get(m.plan.name)

        def carrier(direction: Direction) -> Carrier:
            return carrier_of(m, direction, source=source, target=target, record=record)

        direction = Direction.BACK if record.state is State.CUT_OVER else Direction.FORWARD
        stream, before = carrier(direction), carrier(direction.other)
        waits = record.state is State.CUT_OVER or (record.state is State.ACTIVE and record.carrier == "slot")
        if not waits or not isinstance(stream, DmsStream) or not isinstance(before, DmsEngine | DmsStream):
            raise NothingArmed(
                f"no task of AWS DMS waits to be started: {m.plan.name} is {record.state}, and rollback.way_back of "
                f"its plan is {record.plan.rollback.way_back}. Nothing was changed"
            )
        yield stream, before
