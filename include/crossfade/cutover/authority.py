"""Which side has authority over the rows: found from both sides' decisions, or from one where the other is dead."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Self

from crossfade.connect import OF_TRAFFIC, Connection
from crossfade.cutover import decision
from crossfade.cutover.decision import Attempt, Decision, Undecided
from crossfade.errors import CrossfadeError, PreconditionError, Unreachable
from crossfade.journal import Journal, State
from crossfade.routers.base import Router, Side

if TYPE_CHECKING:
    from crossfade.migration import Migration


class NothingKnown(PreconditionError):
    """No journal tells of a cutover, yet clients may be on the target: what the source has may be long out of date."""

    def __init__(self, *, plan: str, seen: Sequence[str]) -> None:
        super().__init__(
            f"neither side's journal knows of a cutover of {plan}: nothing was opened and nothing was led elsewhere. "
            f"Seen: {'; '.join(seen)}. After a cleanup the target serves for good, and there is nothing to abort. If "
            "the source is to serve, lead the router there and let the application roles connect to it"
        )


class Sides:
    """A session on each side; both are connected to at once, and each is waited for only where it is needed."""

    def __init__(self, m: Migration, purpose: str) -> None:
        self.m, self.purpose = m, purpose
        self._pool = ThreadPoolExecutor(len(Side))
        self._sessions: dict[Side, Future[Connection]] = {}

    def __enter__(self) -> Self:
        for side in Side:
            self._sessions[side] = self._pool.submit(self._connect, side)
        return self

    def _connect(self, side: Side) -> Connection:
        return self.m.endpoint(side).impatient().connect(f"{self.m.plan.name}/{self.purpose}", settings=OF_TRAFFIC)

    def get(self, side: Side) -> Connection:
        """The session on that side. Raises `Unreachable`."""
        return self._sessions[side].result()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=False)
        for session in self._sessions.values():
            session.add_done_callback(_close)


def _close(session: Future[Connection]) -> None:
    if session.exception() is None:
        session.result().close()


def find(m: Migration, sides: Sides) -> tuple[Side, Attempt | None]:
    """
    The side that has authority, and the newest attempt there was.

    A decision is taken on the side being left. The old side of an attempt has authority until it is committed, the new
    one from then on, and only the side that has it begins another. So the newest attempt of both tells; and where one
    side is dead, the other's does if it names that side: undecided or void there, or committed and kept there when it
    was opened. Raises `Undecided`, `NothingKnown`, `Unreachable`.
    """
    plan = m.plan.name
    found: dict[Side, Attempt | None] = {}
    dead: Unreachable | None = None
    for side in Side:
        try:
            attempt = decision.newest(sides.get(side), plan)
        except Unreachable as error:
            dead = error
            continue
        if attempt is not None and attempt.decision is not Decision.COMMIT and attempt.direction.old is side:
            return side, attempt
        found[side] = attempt
    known = [each for each in found.values() if each is not None]
    # of a decision that was kept on the new side, too, the original tells what is left to do
    newest = max(known, key=lambda each: (each.generation, not each.finished), default=None)
    if newest is not None and (dead is None or newest.authority in found):
        return newest.authority, newest
    if dead is not None:
        raise Undecided(plan=plan, reason=str(dead)) from dead
    return _where_no_cutover_is_known(m, sides), None


def _where_no_cutover_is_known(m: Migration, sides: Sides) -> Side:
    """
    The source knows of no attempt: none was begun yet, or its journal went with a cleanup, or was lost.

    The target's journal tells; where it does not either, only routers that are all seen to lead to the source allow it
    to be opened. Raises `NothingKnown`.
    """
    record = Journal(sides.get(Side.TARGET)).find(m.plan.name)
    if record is not None:
        return Side.TARGET if record.state is State.CUT_OVER else Side.SOURCE
    if seen := [words for router in m.routers() if (words := _not_on_the_source(router))]:
        raise NothingKnown(plan=m.plan.name, seen=seen)
    return Side.SOURCE


def _not_on_the_source(router: Router) -> str | None:
    try:
        with router:
            side = router.serving()
    except CrossfadeError as error:
        return f"{router.label} does not tell where it leads: {error}"
    return None if side is Side.SOURCE else f"{router.label} leads clients to the {side}"
