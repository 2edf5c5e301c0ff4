"""What a rehearsal does for real: the way back is armed, proved and removed; clients are held for an instant."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg

from crossfade.cutover import decision
from crossfade.cutover.decision import Decision
from crossfade.cutover.undo import let_traffic_flow
from crossfade.cutover.watchdog import Watchdog
from crossfade.engines.logical.replication import PROOF_SECONDS, Replication, marks_origins
from crossfade.errors import CrossfadeError
from crossfade.routers.base import Pausing

if TYPE_CHECKING:
    from crossfade.cutover.section import Section

log = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True)
class Tried:
    """What came of it. Times in milliseconds; None where it was not tried."""

    back_ms: float | None = None
    pause_ms: float | None = None
    held_ms: float | None = None
    problems: list[str] = field(default_factory=list)


def try_out(section: Section, *, hold: bool) -> Tried:
    """
    Arm the way back and prove it, where that can be done while rows are carried; then hold clients and let them go.

    All under an attempt that is void from the start, with a watchdog: were this process killed, or did it fail to tidy
    up, they would be let go by it, or by whoever looks at the attempt. Problems are returned, not raised.
    """
    tried = Tried()
    try:
        with Watchdog(section.m, section.attempt.id) as watchdog:
            watchdog.await_ready()
            decision.act_alone(section.old, section.m.plan.name, seconds=5)
            mine = decision.open_attempt(
                section.old, section.new, section.m.plan, section.direction, section.attempt.id
            )
            with watchdog.taking_over(but=()):
                decision.decide(section.old, mine.id, Decision.ABORT)
                _way_back(section, tried)
                if hold:
                    _held(section, watchdog, tried)
                decision.finish(section.old, mine.id)
    except (CrossfadeError, psycopg.Error) as error:
        tried.problems.append(str(error))
    return tried


def _way_back(section: Section, tried: Tried) -> None:
    """A slot must not see what a forward stream applies without a mark: then only what needs no slot is tried."""
    back = section.way_back
    if back is None:
        return
    live = isinstance(section.carrier, Replication) and marks_origins(section.new, section.old)
    try:
        back.arm_ahead(live=live)
        if live:
            tried.back_ms = back.round_trip(time.monotonic() + PROOF_SECONDS) * 1000
    except CrossfadeError as error:
        tried.problems.append(str(error))
    finally:
        back.disarm()


def _held(section: Section, watchdog: Watchdog, tried: Tried) -> None:
    pausing = [router for router in section.routers if isinstance(router, Pausing)]
    if not pausing:
        return
    budget = section.m.plan.cutover.rehearsal_pause.total_seconds()
    watchdog.budget(budget)
    start = time.monotonic()
    try:
        for router in pausing:
            router.pause(start + budget)
        tried.pause_ms = (time.monotonic() - start) * 1000
    except CrossfadeError as error:
        tried.problems.append(f"clients could not be held within {budget:g} s: {error}")
    finally:
        left = let_traffic_flow(section.routers)
        tried.held_ms = (time.monotonic() - start) * 1000
        tried.problems += left
        if left:  # an instance that could not be told may still hold its clients
            watchdog.go_on_alone()
        else:
            watchdog.opened()
