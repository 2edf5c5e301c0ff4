"""Giving a migration up: traffic settled on the source, its streams dropped, so that the source keeps no WAL for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING
from uuid import UUID

from crossfade.connect import Connection
from crossfade.cutover.recovery import settle
from crossfade.engines.declared import all_carriers
from crossfade.errors import CrossfadeError, NotOursToWrite
from crossfade.journal import Journal, State
from crossfade.routers.base import Side
from crossfade.schema.ledger import Ledger
from crossfade.schema.not_null import restore_not_null

if TYPE_CHECKING:
    from crossfade.migration import Migration

log = logging.getLogger(__name__)


def abandon(m: Migration) -> str:
    """
    Settle, then give the migration up: streams, slots and publications are dropped, so that the source keeps no WAL.

    What was copied stays on the target, fenced. Raises `NotOursToWrite` after a cutover.
    """
    settled = settle(m)
    with m.session(Side.SOURCE, "abort") as old, m.session(Side.TARGET, "abort") as new:
        journal = Journal(new)
        record = journal.find(m.plan.name)
        if record is None:
            return f"{settled.sentence} The journal knows no migration of it, so there was nothing to give up."
        if record.state in (State.CUT_OVER, State.ROLLING_BACK) or settled.side is Side.TARGET:
            raise NotOursToWrite(plan=m.plan.name, state=record.state, task="abandon")
        carriers = all_carriers(m, source=old, target=new, record=record)
        carriers.drop()
        left = _restored(new, record.id)
        carriers.release()
        journal.set_state(record.id, State.ABANDONED)
    return (
        f"{settled.sentence} Its streams are dropped, the source keeps no WAL for it. {left}"
        "To begin anew, make the target an empty database again and trigger the migration"
    )


def _restored(new: Connection, migration: UUID) -> str:
    """Put back what was taken off the target's definitions; says what could not be, since rows may be missing."""
    problems = []
    restoring: tuple[Callable[[], int], ...] = (
        lambda: Ledger(new, migration).restore(log.info),
        lambda: restore_not_null(new, migration, log.info),
    )
    for restore in restoring:
        try:
            restore()
        except CrossfadeError as error:
            problems.append(str(error))
    if not problems:
        return ""
    left = ", ".join(str(entry) for entry in Ledger(new, migration).pending())
    return f"Not restored on the target: {left}: {'; '.join(problem.rstrip('.') for problem in problems)}. "
