"""Statements that wait for locks on tables that live streams write to: short waits, a bounded number of tries."""

from __future__ import annotations

import time
from collections.abc import Callable

import psycopg

from crossfade.connect import Connection
from crossfade.errors import DeadlineExceeded
from crossfade.schema.statements import Report, set_locally

LOCK_TIMEOUT = "3s"  #: one wait for a lock: everybody else on the table queues behind it
PATIENCE = 300.0  #: seconds in all
_PAUSE = 0.2  #: seconds between two tries, so that those queued behind us get through

LOCKED = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)


def patiently(
    target: Connection,
    what: str,
    action: Callable[[], object],
    report: Report,
    *,
    retry: tuple[type[psycopg.Error], ...] = LOCKED,
    seconds: float = PATIENCE,
) -> None:
    """
    Run an action in a transaction of its own, with a lock timeout; again where it failed with one of `retry`.

    Raises `DeadlineExceeded` when the time is over.
    """
    started = time.monotonic()
    while True:
        try:
            with target.transaction():
                set_locally(target, {"lock_timeout": LOCK_TIMEOUT})
                action()
            return
        except retry as error:
            seen = f"{error.diag.message_primary} {error.diag.message_detail or ''}".strip()
            if time.monotonic() - started > seconds:
                raise DeadlineExceeded(what, seconds=seconds, seen=seen) from error
            report(f"{what}: {seen}; trying again")
            time.sleep(_PAUSE)
