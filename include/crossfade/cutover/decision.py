"""The decision: one row on the old side, set once by compare-and-set, that makes a cutover final or void."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID, uuid4

import psycopg
from psycopg.types.json import Jsonb

from crossfade import control
from crossfade.connect import Connection, Endpoint, end_sessions, scalar
from crossfade.cutover import fence
from crossfade.errors import TransientError, Unreachable
from crossfade.plan import Plan, parse_plan


class Decision(StrEnum):
    """What was decided."""

    COMMIT = "commit"
    ABORT = "abort"


class Undecided(TransientError):
    """The old side can not be read, so that nobody knows the decision; nothing was opened."""

    def __init__(self, *, plan: str, reason: str) -> None:
        super().__init__(
            f"the old side can not be read, so the decision of {plan}'s cutover is not known and nothing was opened: "
            f"{reason}. Bring the old side back, then run the DAG abort (or `crossfade abort {plan}`): "
            "it opens the side that the decision names"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One cutover, as the old side knows it."""

    id: UUID
    plan: Plan
    decision: Decision | None
    finished: bool


class AnotherActs(TransientError):
    """Another cutover or abort of this plan is under way."""

    def __init__(self, *, plan: str, seconds: float) -> None:
        super().__init__(
            f"another cutover or abort of {plan} is under way and did not end within {seconds:g} s. "
            "Nothing was changed. Wait for it and look at its outcome, then try again"
        )


def act_alone(conn: Connection, plan: str, *, seconds: float) -> None:
    """
    Hold the plan's lock on the old side for as long as this session lives: only its holder touches traffic.

    Raises `AnotherActs`.
    """
    deadline = time.monotonic() + seconds
    while not scalar(conn, "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", [f"crossfade cutover {plan}"]):
        if time.monotonic() > deadline:
            raise AnotherActs(plan=plan, seconds=seconds)
        time.sleep(0.05)


def open_attempt(conn: Connection, plan: Plan) -> UUID:
    """
    Enter a new attempt on the old side; whatever is undecided of earlier ones is void from now on.

    A task that was believed dead can then neither commit nor lift the fence of this attempt.
    """
    attempt = uuid4()
    with conn.transaction():
        conn.execute(
            "UPDATE crossfade.attempt SET decision = 'abort', decided_at = clock_timestamp()"
            " WHERE plan = %s AND decision IS NULL",
            [plan.name],
        )
        conn.execute(
            "INSERT INTO crossfade.attempt (id, plan, direction, document) VALUES (%s, %s, 'forward', %s)",
            [attempt, plan.name, Jsonb(json.loads(plan.to_json()))],
        )
    return attempt


def newest(conn: Connection, plan: str) -> Attempt | None:
    """The newest attempt of that plan on this side; None where there was none."""
    if control.version(conn) == 0:
        return None
    row = conn.execute(
        "SELECT id, document, decision, finished_at IS NOT NULL AS finished FROM crossfade.attempt"
        " WHERE plan = %s ORDER BY started_at DESC LIMIT 1",
        [plan],
    ).fetchone()
    if row is None:
        return None
    return Attempt(
        id=row["id"],
        plan=parse_plan(row["document"], name=plan, file=f"{plan} as kept with its cutover"),
        decision=Decision(row["decision"]) if row["decision"] else None,
        finished=row["finished"],
    )


def finish(conn: Connection, attempt: UUID) -> None:
    """Enter that traffic flows again on the side the decision names."""
    conn.execute("UPDATE crossfade.attempt SET finished_at = clock_timestamp() WHERE id = %s", [attempt])


def decide(conn: Connection, attempt: UUID, decision: Decision) -> Decision:
    """
    Take the decision if nobody has; whoever comes second obeys the first. Returns what holds.

    The abort that is taken lifts the old side's fence in the same transaction: a void cutover never leaves it closed.
    One that comes second does not: the fence may be another attempt's by then.
    """
    with conn.transaction():
        conn.execute("SET LOCAL synchronous_commit = on")
        taken = conn.execute(
            "UPDATE crossfade.attempt SET decision = %s, decided_at = clock_timestamp()"
            " WHERE id = %s AND decision IS NULL",
            [decision, attempt],
        ).rowcount
        row = conn.execute("SELECT plan, decision FROM crossfade.attempt WHERE id = %s", [attempt]).fetchone()
        if row is None:
            raise Undecided(plan="this plan", reason=f"its attempt {attempt} is not on the old side")
        held = Decision(row["decision"])
        if taken and held is Decision.ABORT:
            fence.lift(conn, row["plan"])
    return held


def decide_surely(
    conn: Connection, endpoint: Endpoint, purpose: str, attempt: UUID, decision: Decision, *, seconds: float
) -> Decision:
    """
    `decide`, and where the answer was lost, ask again on new connections: a COMMIT of unknown outcome is never assumed.

    Before asking again the old session is ended, since its pending statement could still land.
    Raises `Undecided` where the old side cannot be read within that many seconds.
    """
    deadline = time.monotonic() + seconds
    try:
        return decide(conn, attempt, decision)
    except psycopg.OperationalError as error:
        lost: Exception = error
    while time.monotonic() < deadline:
        try:
            with endpoint.session(f"{purpose}/again") as again:
                end_sessions(again, f"crossfade/{purpose}")
                return decide(again, attempt, decision)
        except (psycopg.OperationalError, Unreachable) as error:
            lost = error
            time.sleep(0.2)
    raise Undecided(plan=purpose, reason=str(lost)) from lost
