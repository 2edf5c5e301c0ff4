"""Counting again: does the database hold exactly what the ledger says was acknowledged?"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from crossfade_lab import ledger
from crossfade_lab.ledger import DELETED, Outcome, Write

#: kind -> query for (name, value) of the rows that workloads wrote. An order's value is its total, and says so when
#: its payment or items, written by the same transaction, do not agree.
ROWS: Mapping[str, str] = {
    "order": """
        SELECT o.request_id, CASE
            WHEN p.amount = o.total AND i.lines = 2 AND i.price = o.total THEN (o.total::bigint)::text
            ELSE format('torn: total %s, payment %s, %s items', o.total, p.amount, i.lines) END
        FROM orders AS o
        LEFT JOIN payments AS p ON p.id = o.final_payment_id
        CROSS JOIN LATERAL (SELECT count(*) AS lines, max(unit_price) FILTER (WHERE line = 2) AS price
                            FROM order_items WHERE order_id = o.id) AS i
        WHERE o.request_id IS NOT NULL""",
    "document": "SELECT title, body ->> 'value' FROM documents WHERE body ? 'value'",
    "archive": 'SELECT "naïve""quote", "select"::text FROM "Order Items Archive" WHERE "Order Id" > 1000000000000',
    "price": "SELECT sku, (price::bigint)::text FROM prices WHERE sku NOT LIKE 'SKU-%'",
    "invoice": "SELECT memo, (amount::bigint)::text FROM billing.invoices WHERE memo NOT LIKE 'Invoice for %'",
}
EVENTS = "SELECT uid, value FROM events WHERE kind <> 'sample'"


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """What workloads left in a database."""

    events: Sequence[tuple[str, int]]  #: uid and number of every event
    rows: Sequence[tuple[str, str]]  #: key and value of every row


@dataclass(kw_only=True, slots=True)
class Verdict:
    """The ledger against the database."""

    attempted: int = 0
    acked_writes: int = 0
    failed: int = 0  #: definitely not applied
    unknown: int = 0  #: outcome never known; may or may not be there
    lost_writes: int = 0  #: acknowledged, but absent or with another value
    duplicated_writes: int = 0  #: there more often than once
    phantom_writes: int = 0  #: there, though never attempted or known not to be applied
    examples: list[str] = field(default_factory=list)  #: the first findings, for people

    @property
    def ok(self) -> bool:
        return not (self.lost_writes or self.duplicated_writes or self.phantom_writes)

    def note(self, text: str) -> None:
        if len(self.examples) < 20:
            self.examples.append(text)


def verify(directory: Path, dsn: str) -> Verdict:
    """Count again from a ledger directory and the database that serves.

    Rows of workloads whose ledger is elsewhere are left out of account.
    """
    writes = ledger.read(directory)
    return judge(writes, contents(dsn, {write.run for write in writes}))


def contents(dsn: str, runs: set[str]) -> Contents:
    """Read what these runs of the workload left in the database, in one snapshot."""

    def ours(name: str) -> bool:
        return name.partition("-")[0] in runs

    with psycopg.connect(dsn, prepare_threshold=None) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        events = [(uid, value) for uid, value in connection.execute(EVENTS) if ours(uid)]
        rows = [
            (f"{kind}:{name}", value)
            for kind, query in ROWS.items()
            for name, value in connection.execute(query.encode())
            if name is not None and ours(name)
        ]
    return Contents(events=events, rows=rows)


def judge(writes: Iterable[Write], found: Contents) -> Verdict:
    """Compare a ledger, per client in its order, with what was found."""
    by_uid = {write.uid: write for write in writes}
    outcomes = Counter(write.outcome for write in by_uid.values())
    verdict = Verdict(
        attempted=len(by_uid),
        acked_writes=outcomes[Outcome.ACKNOWLEDGED],
        failed=outcomes[Outcome.NOT_APPLIED],
        unknown=outcomes[Outcome.UNKNOWN],
    )
    lost = _judge_events(by_uid, found.events, verdict) | _judge_rows(by_uid, found.rows, verdict)
    verdict.lost_writes = len(lost)
    return verdict


def _judge_events(writes: Mapping[str, Write], events: Sequence[tuple[str, int]], verdict: Verdict) -> set[str]:
    """Compare the event that each write inserts; returns the uids of lost writes."""
    lost = set()
    times = Counter(uid for uid, _ in events)
    for uid, number in events:
        write = writes.get(uid)
        if write is None or write.outcome is Outcome.NOT_APPLIED:
            verdict.phantom_writes += 1
            verdict.note(f"phantom: event {uid} is there, its write {'failed' if write else 'was never attempted'}")
        elif number != write.number:
            lost.add(uid)
            verdict.note(f"lost: event {uid} has value {number} instead of {write.number}")
    for uid, count in times.items():
        if count > 1:
            verdict.duplicated_writes += count - 1
            verdict.note(f"duplicated: event {uid} is there {count} times")
    for uid, write in writes.items():
        if write.outcome is Outcome.ACKNOWLEDGED and uid not in times:
            lost.add(uid)
            verdict.note(f"lost: {uid} ({write.key}) was acknowledged, its event is absent")
    return lost


def _judge_rows(writes: Mapping[str, Write], rows: Sequence[tuple[str, str]], verdict: Verdict) -> set[str]:
    """Compare the last state of every key; returns the uids of lost writes."""
    histories: dict[str, list[Write]] = {}
    for write in writes.values():
        histories.setdefault(write.key, []).append(write)
    values: dict[str, list[str]] = {}
    for key, value in rows:
        values.setdefault(key, []).append(value)
    for key, copies in values.items():
        if len(copies) > 1:
            verdict.duplicated_writes += len(copies) - 1
            verdict.note(f"duplicated: {key} is there {len(copies)} times")
        if all(write.outcome is Outcome.NOT_APPLIED for write in histories.get(key, [])):
            verdict.phantom_writes += 1
            verdict.note(f"phantom: {key} is there, no write of it succeeded")
    lost = set()
    for key, history in histories.items():
        last, allowed = _allowed(history)
        seen = values.get(key, [DELETED])
        if last is not None and not set(seen) <= allowed:
            lost.add(last.uid)
            verdict.note(f"lost: {key} should be {' or '.join(sorted(allowed))}, is {', '.join(seen)}")
    return lost


def _allowed(history: Sequence[Write]) -> tuple[Write | None, set[str]]:
    """The last acknowledged write of a key, and the values it may have: that write's, or a later unknown one's."""
    last: Write | None = None
    allowed: set[str] = set()
    for write in history:
        if write.outcome is Outcome.ACKNOWLEDGED:
            last, allowed = write, {write.value}
        elif write.outcome is Outcome.UNKNOWN:
            allowed.add(write.value)
    return last, allowed
