"""What must be so after a fault: which side serves, that all lead there, that no write is lost, doubled or on both."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, groupby, pairwise

import psycopg
from world import PLAN, World

from crossfade.routers.base import Side
from crossfade_lab import ledger, samples, verdict
from crossfade_lab.ledger import Outcome
from crossfade_lab.pgbouncer import PgBouncer

#: Events of one run of the workload, with the side that took each: those that replication brought have an origin.
EVENTS = """
    SELECT uid, extract(epoch FROM stamp.timestamp) AS at, stamp.roident = 0 AS local
    FROM events, pg_xact_commit_timestamp_origin(events.xmin) AS stamp
    WHERE kind <> 'sample' AND starts_with(uid, %s)"""

#: Errors that no fault explains: a row or number that another side has handed out, or that is gone.
INEXCUSABLE = ("UniqueViolation", "RowMissing", "ForeignKeyViolation", "UndefinedTable", "InsufficientPrivilege")


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """The newest attempt that a side knows of."""

    id: str
    decision: str | None
    finished: bool


def attempt(world: World, side: Side) -> Attempt | None:
    """The newest attempt as that side has it; None where there was none, or where the side cannot be read now."""
    query = (
        "SELECT id::text, decision, finished_at IS NOT NULL FROM crossfade.attempt WHERE plan = %s"
        " ORDER BY started_at DESC LIMIT 1"
    )
    try:
        with world.look(side) as conn:
            row = conn.execute(query, [PLAN]).fetchone()
    except psycopg.OperationalError:
        return None
    return Attempt(id=row[0], decision=row[1], finished=row[2]) if row else None


def open_sides(world: World) -> list[Side]:
    """Sides that let the application in."""
    found = []
    for side in Side:
        try:
            psycopg.connect(world.dsn(side, "shop_app"), connect_timeout=10).close()
            found.append(side)
        except psycopg.OperationalError:
            pass
    return found


def leads_to(world: World, bouncer: PgBouncer) -> Side:
    """The side that takes a write by way of that pooler. Raises `psycopg.Error` where none does."""
    with psycopg.connect(world.through(bouncer), connect_timeout=10, prepare_threshold=None) as client:
        client.execute("SET statement_timeout = '10s'")
        client.execute("UPDATE orders SET updated_at = now() WHERE id = (SELECT min(id) FROM orders)")
        port = int(client.execute("SELECT current_setting('port')").fetchone()[0])  # type: ignore[index]
    return next(side for side, server in world.servers.items() if server.port == port)


def one_side_serves(world: World, side: Side) -> list[str]:
    """Everything against the claim that this side serves, it alone, and by way of every pooler."""
    wrong = []
    if (found := open_sides(world)) != [side]:
        wrong.append(f"open to applications: {', '.join(found) or 'no side'}; should be {side}")
    for number, bouncer in enumerate(world.bouncers, 1):
        try:
            if (led := leads_to(world, bouncer)) is not side:
                wrong.append(f"pooler {number} leads to {led}, should be {side}")
        except psycopg.Error as error:
            wrong.append(f"no write by way of pooler {number}: {str(error).strip()}")
    return wrong


def attempts_left_open(world: World) -> list[str]:
    """Attempts that nobody decided, on either side, and whether the last of all is not finished."""
    wrong, last = [], (0, True)
    for side in Side:
        with world.look(side) as conn:
            rows = conn.execute(
                "SELECT id::text, decision, generation, finished_at IS NOT NULL FROM crossfade.attempt"
            ).fetchall()
        wrong += [f"attempt {row[0]} on the {side} is not decided" for row in rows if row[1] is None]
        last = max([last, *((row[2], row[3]) for row in rows)])
    return wrong if last[1] else [*wrong, f"the last attempt, of generation {last[0]}, is not finished"]


def journal_state(world: World) -> str:
    """Where the journal says that the migration is."""
    with world.m.journal() as journal:
        return str(journal.get(PLAN).state)


CARRIERS = """
    WITH mine AS (
        SELECT subenabled FROM pg_subscription JOIN pg_database AS d ON d.oid = subdbid
        WHERE datname = current_database()
    )
    SELECT 'slots', count(*) FROM pg_replication_slots WHERE database = current_database() AND NOT temporary
    UNION ALL SELECT 'subscriptions', count(*) FROM mine
    UNION ALL SELECT 'enabled subscriptions', count(*) FROM mine WHERE subenabled
    UNION ALL SELECT 'fences', count(*) FROM crossfade.fence"""


def left_behind(world: World, serving: Side) -> list[str]:
    """What is there, or is not, against: streams lead from the side that serves to the other one, which is fenced."""
    waves = world.document["load"]["waves"]
    expected = {
        serving: {"slots": waves, "subscriptions": 0, "enabled subscriptions": 0, "fences": 0},
        serving.other: {"slots": 0, "subscriptions": waves, "enabled subscriptions": waves, "fences": 1},
    }
    wrong = []
    for side in Side:
        with world.look(side) as conn:
            there = dict(conn.execute(CARRIERS).fetchall())
        wrong += [
            f"{there[what]} {what} on the {side}, should be {count}"
            for what, count in expected[side].items()
            if there[what] != count
        ]
    return wrong


def events(world: World, side: Side, run: str) -> list[tuple[str, float, bool]]:
    """Uid, commit time (epoch seconds) and whether clients wrote it there, of every event of a workload's run."""
    with world.look(side) as conn:
        return [(uid, float(at), local) for uid, at, local in conn.execute(EVENTS.encode(), [f"{run}-"])]


def same_on_both(world: World, serving: Side, run: str, *, seconds: float) -> list[str]:
    """What the other side has that the serving one lacks; and what does not arrive there within that many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        there = {uid for uid, _, _ in events(world, serving, run)}
        here = {uid for uid, _, _ in events(world, serving.other, run)}
        if extra := sorted(here - there):
            return [f"{len(extra)} writes only on the side that does not serve, the first {extra[0]}"]
        if here == there:
            return []
        if time.monotonic() > deadline:
            return [f"{len(there - here)} writes did not arrive on the {serving.other} within {seconds:g} s"]
        time.sleep(0.1)


def taken_in_turn(world: World, run: str, expected: Sequence[Side]) -> list[str]:
    """Whether sides took writes one after the other, in this order: clients' writes by the time of their commit."""
    taken = sorted((at, side) for side in Side for _, at, local in events(world, side, run) if local)
    turns = [side for side, _ in groupby(side for _, side in taken)]
    wanted = [side for side, _ in groupby(expected)]
    if turns == wanted:
        return []
    return [f"writes were taken by {' > '.join(turns)}; should be {' > '.join(wanted)}"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Clients:
    """What clients saw from a moment on. Times are milliseconds."""

    longest_gap: float  #: without an acknowledged write of any client
    slowest_client: float  #: the longest that one client was without one


def clients(world: World, run: str, start: float, end: float) -> Clients:
    """What clients of a run saw between two moments, in epoch seconds."""
    files = world.ledger.glob(f"{run}-*.samples")
    each = [sorted(s.end for s in samples.read_file(file) if s.ok and start <= s.end < end) for file in files]
    return Clients(
        longest_gap=_gap(sorted(chain.from_iterable(each)), start, end),
        slowest_client=max(_gap(mine, start, end) for mine in each),
    )


def _gap(ends: Sequence[float], start: float, end: float) -> float:
    return max(after - before for before, after in pairwise([start, *ends, end])) * 1000


def acknowledged(world: World, run: str) -> int:
    """Writes of a run that were acknowledged so far."""
    files = world.ledger.glob(f"{run}-*.ledger")
    return sum(file.read_bytes().count(f"\n{Outcome.ACKNOWLEDGED.value}\t".encode()) for file in files)


@dataclass(frozen=True, kw_only=True, slots=True)
class Writes:
    """The ledger against the database that serves."""

    acked: int
    failed: int
    unknown: int
    wrong: list[str]
    errors: dict[str, int]  #: how often each, without what differs from one to the next


def writes(world: World, serving: Side, run: str) -> Writes:
    """Judge every write of every run of this world; the numbers are those of the given one."""
    judged = verdict.verify(world.ledger, world.dsn(serving))
    mine = [write for write in ledger.read(world.ledger) if write.run == run]
    outcomes = Counter(write.outcome for write in mine)
    errors = Counter(" ".join(write.error.split()[:9]) for write in mine if write.error)
    wrong = (
        []
        if judged.ok
        else [
            f"{judged.lost_writes} acknowledged writes lost, {judged.duplicated_writes} doubled, "
            f"{judged.phantom_writes} there though they failed: {'; '.join(judged.examples[:5])}"
        ]
    )
    wrong += [f"a client was told: {error}" for error in errors if error.startswith(INEXCUSABLE)]
    return Writes(
        acked=outcomes[Outcome.ACKNOWLEDGED],
        failed=outcomes[Outcome.NOT_APPLIED],
        unknown=outcomes[Outcome.UNKNOWN],
        wrong=wrong,
        errors=dict(errors.most_common(5)),
    )
