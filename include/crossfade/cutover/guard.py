"""The guard: notices from elsewhere that a cutover's host is lost, and settles its traffic."""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING

import psycopg

from crossfade.connect import Connection
from crossfade.cutover import decision, recovery
from crossfade.cutover.decision import Attempt
from crossfade.cutover.recovery import Settled
from crossfade.errors import CrossfadeError
from crossfade.routers.base import Side

if TYPE_CHECKING:
    from crossfade.migration import Migration

log = logging.getLogger(__name__)

#: Seconds without a heartbeat, which comes every second for as long as the watchdog's host lives. Entering the attempt
#: is the first: the watchdog runs before that.
STALE = 5.0
CLOCKS = 5.0  #: seconds that the clocks of our hosts may differ


class Guard:
    """
    Looks at the attempts of a plan on both sides, over connections that it keeps. Not for several threads at once.

    A watchdog dies with the host or container of its task. The guard is to run elsewhere: in Airflow's triggerer.

    :param since: Unix time; an attempt that was last heard of before is not looked after: whoever tries next does that
    """

    def __init__(self, m: Migration, *, since: float = 0.0) -> None:
        self.m, self.since = m, since
        self._sessions: dict[Side, Connection] = {}

    def look(self) -> Attempt | None:
        """
        The attempt that is under way or was left unfinished, if it is the newest of both sides.

        None where there is none, or no side can be read.
        """
        found = [attempt for side in Side if (attempt := self._newest(side)) is not None]
        newest = max(found, key=lambda attempt: (attempt.generation, not attempt.finished), default=None)
        recent = time.time() - self.since + CLOCKS
        return newest if newest is not None and not newest.finished and newest.silent < recent else None

    def over(self) -> bool:
        """Whether both sides were read, and no attempt is under way or was left unfinished."""
        return self.look() is None and len(self._sessions) == len(Side)

    def _newest(self, side: Side) -> Attempt | None:
        try:
            if side not in self._sessions:
                self._sessions[side] = self.m.endpoint(side).impatient().connect(f"{self.m.plan.name}/guard")
            return decision.newest(self._sessions[side], self.m.plan.name)
        except (CrossfadeError, psycopg.Error) as error:
            log.info("the %s can not be asked: %s", side, error)
            if (broken := self._sessions.pop(side, None)) is not None:
                with contextlib.suppress(psycopg.Error):
                    broken.close()
            return None

    def act(self) -> Settled | None:
        """
        Settle an attempt whose host is lost; None where there is none. To be called again and again.

        Raises what `recovery.settle` raises: then again a little later.
        """
        attempt = self.look()
        if attempt is None or attempt.silent < STALE:
            return None
        log.warning("the heartbeat of attempt %s is %.1f s old: settling its traffic", attempt.id, attempt.silent)
        return recovery.settle(self.m, only=attempt.id, patience=0)

    def close(self) -> None:
        """Give up the connections."""
        for conn in self._sessions.values():
            conn.close()
        self._sessions.clear()
