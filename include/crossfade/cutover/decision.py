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
from crossfade.routers.base import Direction, Side


class Decision(StrEnum):
    """What was decided."""

    COMMIT = "commit"
    ABORT = "abort"


class Undecided(TransientError):
    """A side that decides can not be read, so that nobody knows the decision; nothing was opened."""

    def __init__(self, *, plan: str, reason: str) -> None:
        super().__init__(
            f"the old side can not be read, so the decision of {plan} is not known and nothing was opened: "
            f"{reason}. Bring the old side back, then run the DAG abort (or `crossfade abort {plan}`): "
            "it opens the side that the decision names"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One cutover or rollback, as its old side knows it."""

    id: UUID
    plan: Plan
    direction: Direction
    generation: int  #: counted over both sides: later attempts have higher ones
    decision: Decision | None
    finished: bool
    silent: float = 0.0  #: seconds since its heartbeat

    @property
    def authority(self) -> Side:
        """The side that has it as far as this attempt tells."""
        return self.direction.new if self.decision is Decision.COMMIT else self.direction.old


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


class WithoutAuthority(TransientError):
    """Another cutover was committed meanwhile: this side is not the one that serves any more."""


def open_attempt(
    old: Connection, new: Connection, plan: Plan, direction: Direction, attempt: UUID | None = None
) -> Attempt:
    """
    Enter a new attempt on the old side; whatever is undecided there of earlier ones is void from now on.

    A task that was believed dead can then neither commit nor lift the fence of this attempt. The generation, higher
    than any on either side, tells later which of two sides' attempts came last. Under the lock of the old side.
    :param attempt: its id, where others have to know it beforehand. Raises `WithoutAuthority`.
    """
    attempt = attempt or uuid4()
    generation = 1 + max(_highest(old, plan.name), _highest(new, plan.name))
    with old.transaction():
        old.execute(
            "UPDATE crossfade.attempt SET decision = 'abort', decided_at = clock_timestamp()"
            " WHERE plan = %s AND decision IS NULL",
            [plan.name],
        )
        last = max((newest(conn, plan.name) for conn in (old, new)), key=lambda each: each.generation if each else 0)
        if (last.authority if last else Side.SOURCE) is not direction.old:
            raise WithoutAuthority
        old.execute(
            "INSERT INTO crossfade.attempt (id, plan, direction, generation, document) VALUES (%s, %s, %s, %s, %s)",
            [attempt, plan.name, direction, generation, Jsonb(json.loads(plan.to_json()))],
        )
    return Attempt(id=attempt, plan=plan, direction=direction, generation=generation, decision=None, finished=False)


def keep(conn: Connection, attempt: Attempt) -> None:
    """
    Enter on the side that was moved to that this attempt is committed, in the caller's transaction.

    So that side alone can tell that it has authority, should the other one die.
    """
    conn.execute(
        "INSERT INTO crossfade.attempt"
        " (id, plan, direction, generation, document, decision, decided_at, finished_at)"
        " VALUES (%s, %s, %s, %s, %s, 'commit', clock_timestamp(), clock_timestamp()) ON CONFLICT (id) DO NOTHING",
        [
            attempt.id,
            attempt.plan.name,
            attempt.direction,
            attempt.generation,
            Jsonb(json.loads(attempt.plan.to_json())),
        ],
    )


def _highest(conn: Connection, plan: str) -> int:
    return int(scalar(conn, "SELECT COALESCE(max(generation), 0) FROM crossfade.attempt WHERE plan = %s", [plan]))


def newest(conn: Connection, plan: str) -> Attempt | None:
    """
    The newest attempt of that plan on this side, be it the old one of it; None where there was none.

    Where the control schema is an older version's, it is brought up to date first.
    """
    if control.version(conn) == 0:
        return None
    if control.version(conn) < control.VERSION:
        control.install(conn, Side.SOURCE)
    row = conn.execute(
        "SELECT id, document, direction, generation, decision, finished_at IS NOT NULL AS finished,"
        " extract(epoch FROM clock_timestamp() - heartbeat_at)::float8 AS silent"
        " FROM crossfade.attempt WHERE plan = %s ORDER BY generation DESC, started_at DESC LIMIT 1",
        [plan],
    ).fetchone()
    if row is None:
        return None
    return Attempt(
        id=row["id"],
        plan=parse_plan(row["document"], name=plan, file=f"{plan} as kept with its cutover"),
        direction=Direction(row["direction"]),
        generation=row["generation"],
        decision=Decision(row["decision"]) if row["decision"] else None,
        finished=row["finished"],
        silent=row["silent"],
    )


def beat(conn: Connection, attempt: UUID) -> None:
    """Enter that the host on which the attempt runs is alive."""
    conn.execute(
        "UPDATE crossfade.attempt SET heartbeat_at = clock_timestamp() WHERE id = %s AND finished_at IS NULL", [attempt]
    )


def ask_to_abort(conn: Connection, attempt: UUID) -> None:
    """Ask an attempt to give up: its steps look between one another."""
    conn.execute(
        "UPDATE crossfade.attempt SET abort_asked_at = clock_timestamp() WHERE id = %s AND decision IS NULL", [attempt]
    )


def asked_to_abort(conn: Connection, attempt: UUID) -> bool:
    """Whether somebody asked for it."""
    query = "SELECT abort_asked_at IS NOT NULL OR decision = 'abort' FROM crossfade.attempt WHERE id = %s"
    return bool(scalar(conn, query, [attempt]))


def finish(conn: Connection, attempt: UUID) -> None:
    """Enter that traffic flows again on the side the decision names, and that nothing is left to be tidied."""
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
