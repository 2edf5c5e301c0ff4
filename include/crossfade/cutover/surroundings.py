"""What surrounds the critical section: logins proved, long transactions cleared, hooks, a look through the router."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg

from crossfade.connect import scalar
from crossfade.cutover import hooks, logins, readers
from crossfade.cutover.transactions import clear_long_transactions
from crossfade.errors import CrossfadeError, PreconditionError

if TYPE_CHECKING:
    from crossfade.cutover.section import Section

log = logging.getLogger(__name__)

THROUGH_ROUTER_SECONDS = 30.0  #: in which the application must find itself on the new side
READERS_SECONDS = 60.0  #: in which replicas of the new side must have seen that it was opened


class Prevented(PreconditionError):
    """Something before the critical section says that it must not begin."""


@contextmanager
def surrounded(section: Section) -> Iterator[None]:
    """
    What comes before clients are held, and after they are served; where the block raises, the hooks for that.

    Raises `Prevented` before the block; what goes wrong after it is logged, since the cutover is final.
    """
    _before(section)
    try:
        yield
    except BaseException:
        if not section.decided:
            hooks.run_hooks(section.m, "undone", direction=section.direction)
        raise
    _after(section)


def _before(section: Section) -> None:
    m, cutover = section.m, section.m.plan.cutover
    try:
        if cutover.application is not None:
            logins.prove_login(m.resolve(cutover.application), m.endpoint(section.direction.new))
        clear_long_transactions(
            section.old,
            cutover.long_transactions,
            older_than=cutover.long_transaction,
            timeout=cutover.long_transactions_timeout,
            exempt=section.exempt,
        )
    except CrossfadeError as error:
        raise Prevented(str(error)) from error
    try:
        hooks.run_hooks(m, "before", direction=section.direction)
    except CrossfadeError as error:
        hooks.run_hooks(m, "undone", direction=section.direction)
        raise Prevented(str(error)) from error


def _after(section: Section) -> None:
    m, side = section.m, section.direction.new
    try:
        if section.readers:
            lsn = str(scalar(section.new, "SELECT pg_current_wal_flush_lsn()"))
            readers.switch(m, side, lsn, time.monotonic() + READERS_SECONDS, section.readers)
        if m.plan.cutover.application is not None:
            logins.smoke_through_router(
                m.resolve(m.plan.cutover.application),
                m.plan.cutover.smoke,
                expect=logins.identity(section.new),
                deadline=time.monotonic() + THROUGH_ROUTER_SECONDS,
            )
            log.info("the application reaches the %s through the router", side)
    except (CrossfadeError, psycopg.Error) as error:
        log.error("the %s serves, and this needs you: %s", side, error)
    hooks.run_hooks(m, "after", direction=section.direction)
