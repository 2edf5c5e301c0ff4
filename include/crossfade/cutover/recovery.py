"""Bringing traffic to the side that has authority, from any state, by what the old side's attempt row says."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from crossfade import control
from crossfade.connect import Connection, end_sessions
from crossfade.cutover import decision, fence
from crossfade.cutover.decision import Attempt, Decision, Undecided
from crossfade.cutover.steps import open_router, open_target
from crossfade.engines.declared import engine_of
from crossfade.errors import CrossfadeError, NotOursToWrite, TransientError, Unreachable
from crossfade.journal import Journal, State
from crossfade.routers.base import Router, Side
from crossfade.schema.ledger import Ledger
from crossfade.schema.not_null import relax, restore_not_null

if TYPE_CHECKING:
    from crossfade.migration import Migration

log = logging.getLogger(__name__)


class RecoveryIncomplete(TransientError):
    """Traffic flows where it could be brought, but something could not be reached."""

    def __init__(self, *, sentence: str, problems: list[str]) -> None:
        super().__init__(f"{sentence} But not everything could be done, run this again: {'; '.join(problems)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """Where traffic flows now."""

    side: Side
    sentence: str


def settle(m: Migration) -> Settled:
    """
    End what is under way, and open the side that the decision names; without one, decide to abort.

    Safe to call at any time and twice. What needs only the old side and the routers comes first, and is done even
    where the target is dead. Raises `Undecided`, `RecoveryIncomplete`.
    """
    try:
        with m.session(Side.SOURCE, "abort") as old:
            end_sessions(old, f"crossfade/{m.plan.name}/cutover")
            decision.act_alone(old, m.plan.name, seconds=15)
            attempt = decision.newest(old, m.plan.name)
            if attempt and _decided(old, attempt) is Decision.COMMIT:
                return _forward(m, old, attempt)
            return _back(m, old, attempt)
    except Unreachable as error:
        raise Undecided(plan=m.plan.name, reason=str(error)) from error


def _decided(old: Connection, attempt: Attempt) -> Decision:
    return attempt.decision or decision.decide(old, attempt.id, Decision.ABORT)


def _forward(m: Migration, old: Connection, attempt: Attempt) -> Settled:
    """The cutover is final: finish opening the target."""
    problems: list[str] = []
    with m.journal() as journal:
        record = journal.find(m.plan.name)
        if record is not None:
            open_target(journal, record.id, m.plan.name)
        else:
            fence.lift(journal.conn, m.plan.name)
    _each_router(m, lambda router: open_router(router, Side.TARGET), problems)
    sentence = f"The cutover of {m.plan.name} is final: the target serves."
    if problems:
        raise RecoveryIncomplete(sentence=sentence, problems=problems)
    decision.finish(old, attempt.id)
    return Settled(side=Side.TARGET, sentence=sentence)


def _back(m: Migration, old: Connection, attempt: Attempt | None) -> Settled:
    """No cutover is final: the source serves. Traffic first, the streams afterwards."""
    problems: list[str] = []
    if control.version(old):
        with old.transaction():
            fence.lift(old, m.plan.name)
    _each_router(m, lambda router: router.resume(), problems)  # nobody repoints before the decision
    sentence = f"No cutover of {m.plan.name} is final: the source serves."
    try:
        _tidy(m, old)
    except CrossfadeError as error:
        problems.append(str(error))
    if problems:
        raise RecoveryIncomplete(sentence=sentence, problems=problems)
    if attempt and not attempt.finished:
        decision.finish(old, attempt.id)
    return Settled(side=Side.SOURCE, sentence=sentence)


def _tidy(m: Migration, old: Connection) -> None:
    with m.session(Side.TARGET, "abort") as new:
        end_sessions(new, f"crossfade/{m.plan.name}/cutover")
        journal = Journal(new)
        record = journal.find(m.plan.name)
        if record is None or record.state is not State.CUTTING_OVER:
            return
        relax(new, record.id)
        engine_of(m, source=old, target=new, record=record).resume()
        journal.set_state(record.id, State.ACTIVE)


def _each_router(m: Migration, act: Callable[[Router], None], problems: list[str]) -> None:
    for router in m.routers():
        try:  # not opened as a whole: one dead instance must not keep the others from being told
            act(router)
        except CrossfadeError as error:
            problems.append(str(error))
        finally:
            router.close()


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
        if record.state is State.CUT_OVER or settled.side is Side.TARGET:
            raise NotOursToWrite(plan=m.plan.name, state=State.CUT_OVER, task="abandon")
        engine = engine_of(m, source=old, target=new, record=record)
        engine.drop()
        left = _restored(new, record.id)
        engine.release()
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
