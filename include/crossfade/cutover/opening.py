"""Opening the side that serves from now on: its database, and a router. Each may be done again until it holds."""

from __future__ import annotations

from uuid import UUID

from crossfade.connect import Connection
from crossfade.cutover import decision, fence
from crossfade.cutover.decision import Attempt
from crossfade.journal import Journal, State
from crossfade.routers.base import Direction, Router, Side


def open_database(conn: Connection, attempt: Attempt, migration: UUID | None) -> None:
    """
    Lift the fence of the side that serves from now on, and keep the decision there, in one transaction.

    On the target the journal says so in the same one; the source's is on the other server, which may be dead.
    :param conn: to that side
    """
    with conn.transaction():
        conn.execute("SET LOCAL synchronous_commit = on")
        decision.keep(conn, attempt)
        fence.lift(conn, attempt.plan.name)
        if attempt.direction is Direction.FORWARD and migration is not None:
            Journal(conn).set_state(migration, State.CUT_OVER)


def open_router(router: Router, side: Side) -> None:
    """Point a router at a side, verified, and let clients go on: also where an instance could not be told."""
    try:
        router.repoint(side)
    finally:
        router.resume()
