"""Long transactions on the old side, dealt with before clients are held: the pause would have to wait for them."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import psycopg

from crossfade.catalog import OpenTransaction
from crossfade.connect import Connection
from crossfade.errors import PreconditionError
from crossfade.queries import named_queries

log = logging.getLogger(__name__)

_QUERIES = named_queries(__file__)

Policy = Literal["wait", "terminate", "abort"]

_BETWEEN_LOOKS = 0.1  #: seconds
_BETWEEN_REMINDERS = 10.0  #: seconds


class LongTransactions(PreconditionError):
    """Transactions have been open for long: holding clients now would mean to wait for them."""

    def __init__(self, transactions: Sequence[LongTransaction], *, after: timedelta | None, remedy: str) -> None:
        self.pids = tuple(transaction.open.pid for transaction in transactions)
        waited = f" after {after.total_seconds():.3g} s of waiting" if after else ""
        named = "; ".join(str(transaction) for transaction in transactions)
        super().__init__(f"{len(self.pids)} long transaction(s) on the old side{waited}: {named}. {remedy}")


@dataclass(frozen=True, kw_only=True, slots=True)
class LongTransaction:
    """A transaction that was open for longer than is allowed."""

    open: OpenTransaction
    since: datetime  #: its start; with the pid, which transaction it is
    superuser: bool  #: only a superuser may end it

    @property
    def identity(self) -> tuple[int, datetime]:
        """Tells it from a later transaction of the same session."""
        return self.open.pid, self.since

    def __str__(self) -> str:
        return f"{self.open}{' (a superuser)' if self.superuser else ''}"


def long_transactions(conn: Connection, *, older_than: timedelta, exempt: Sequence[str] = ()) -> list[LongTransaction]:
    """
    Transactions of the connection's database open for longer than that, oldest first.

    Without our own sessions, walsenders, and those of the exempt roles: the fence leaves these alone, nobody waits for
    them.
    """
    rows = conn.execute(_QUERIES["long"], {"older_than": older_than, "exempt": list(exempt)}).fetchall()
    return [
        LongTransaction(since=row.pop("xact_start"), superuser=row.pop("superuser"), open=OpenTransaction(**row))
        for row in rows
    ]


def clear_long_transactions(
    conn: Connection, policy: Policy, *, older_than: timedelta, timeout: timedelta, exempt: Sequence[str]
) -> list[str]:
    """
    Return once no transaction of the old side's database is open for longer than `older_than`.

    ``wait`` waits for them, ``terminate`` ends their sessions (a superuser's it waits for), ``abort`` waits for nobody.
    Returns who was waited for, or ended, as sentences; nothing where there was nobody.
    :param conn: an autocommit session on the old side, of a role that may see and end others' (pg_monitor,
        pg_signal_backend)
    :param timeout: of waiting, also for those that become long meanwhile
    :param exempt: roles that are no application's
    Raises `LongTransactions`, which names those that are left.
    """
    start = time.monotonic()
    seen: dict[tuple[int, datetime], str] = {}
    reminded = start
    while left := long_transactions(conn, older_than=older_than, exempt=exempt):
        if policy == "abort":
            raise LongTransactions(left, after=None, remedy="Let them end, or end them: pg_terminate_backend(pid)")
        for transaction in left:
            if transaction.identity not in seen:
                seen[transaction.identity] = _dealt_with(conn, policy, transaction)
                log.info("%s", seen[transaction.identity])
        now = time.monotonic()
        if now - start > timeout.total_seconds():
            raise LongTransactions(left, after=timeout, remedy=_remedy(policy))
        if now - reminded > _BETWEEN_REMINDERS:
            reminded = now
            log.info("still waiting for %s", "; ".join(str(transaction) for transaction in left))
        time.sleep(_BETWEEN_LOOKS)
    return list(seen.values())


def _dealt_with(conn: Connection, policy: Policy, transaction: LongTransaction) -> str:
    """What was done about it; it may still be there for a moment. Raises `LongTransactions` where we may not."""
    if policy == "terminate" and not transaction.superuser:
        pid, since = transaction.identity
        try:
            conn.execute(_QUERIES["terminate"], {"pid": pid, "xact_start": since})
        except psycopg.errors.InsufficientPrivilege as error:
            remedy = f"It could not be ended: {error.diag.message_primary}. GRANT pg_signal_backend to {conn.info.user}"
            raise LongTransactions([transaction], after=None, remedy=remedy) from error
        return f"ended the session of a long transaction: {transaction}"
    return f"waited for a long transaction: {transaction}"


def _remedy(policy: Policy) -> str:
    return (
        "Let them end, or end them: pg_terminate_backend(pid). Where such transactions are ordinary, raise "
        "cutover.long"
        + (", or choose cutover.long_transactions: terminate" if policy == "wait" else "")
        + ", and clear prepare"
    )
