"""Read traffic: led to the new side once its replicas hold what was committed there before they serve.

Never in the way of writes: whatever goes wrong here leaves readers where they were, is told, and can be done again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import psycopg

from crossfade.connect import Connection, Endpoint
from crossfade.errors import CrossfadeError, DeadlineExceeded, FatalError, TransientError, Unreachable
from crossfade.queries import named_queries
from crossfade.routers.base import Forewarning, Pausing, Router, Side

if TYPE_CHECKING:
    from crossfade.migration import Migration

log = logging.getLogger(__name__)
T = TypeVar("T")
_QUERIES = named_queries(__file__)
POLL = 0.02  #: seconds between two looks at a replica


class ReadersLeftBehind(TransientError):
    """Some read traffic is still led to the side that was left; all other is on the new one."""

    def __init__(self, *, side: Side, left: dict[str, Exception]) -> None:
        self.left = left
        reasons = "; ".join(f"{label}: {' '.join(str(error).split()).rstrip('.')}" for label, error in left.items())
        super().__init__(
            f"read traffic could not be led to the {side} by {len(left)} router(s): {reasons}. It flows where it did; "
            "the side that was left is fenced, and so are its replicas for new sessions. Do it again"
        )


def hold(readers: Sequence[Router], deadline: float) -> None:
    """
    Hold the clients of the routers that can, all at once. What cannot be held flows on; that is logged and no error.

    :param deadline: of `time.monotonic()`
    """
    pausing = [router for router in readers if isinstance(router, Pausing)]
    for _, error in _each(pausing, lambda router: router.pause(deadline)):
        if error is not None:
            log.warning("read traffic is not held, it flows on: %s", error)


def release(readers: Sequence[Router]) -> list[str]:
    """Let held clients go on, everywhere that can be done. Raises nothing: returns what could not be, in words."""
    return [str(error) for _, error in _each(readers, lambda router: router.resume()) if error is not None]


def switch(m: Migration, side: Side, lsn: str, deadline: float, readers: Sequence[Router] | None = None) -> None:
    """
    Lead read traffic to that side, each router as soon as what it leads to has replayed `lsn`; then let clients go on.

    Where that is no standby there is nothing to wait for. A router whose replica is not ready in time is left, its
    clients let go on, and named in the error; all others are switched. May be done again at any time.

    :param lsn: of that side's primary, as text; taken after its fence was lifted: logins are refused on a replica that
        has not seen that
    :param deadline: of `time.monotonic()`
    :param readers: `Migration.readers`, where they are open already. Raises `ReadersLeftBehind`.
    """
    own = m.readers() if readers is None else []
    routers = own if readers is None else readers
    pairs = list(zip(routers, m.reader_endpoints(side), strict=True))
    try:
        outcome = _each(pairs, lambda pair: _lead(*pair, side=side, lsn=lsn, deadline=deadline, plan=m.plan.name))
    finally:
        for router in own:
            router.close()
    if left := {router.label: error for (router, _), error in outcome if error is not None}:
        raise ReadersLeftBehind(side=side, left=left)


def _lead(router: Router, endpoint: Endpoint, *, side: Side, lsn: str, deadline: float, plan: str) -> None:
    try:
        wait_replayed(endpoint, lsn, deadline, plan=plan)
        router.repoint(side)
    finally:
        router.resume()


def wait_replayed(endpoint: Endpoint, lsn: str, deadline: float, *, plan: str) -> None:
    """
    Until a standby has replayed up to `lsn`; nothing to wait for where it is none. Raises `DeadlineExceeded`,
    `Unreachable`.
    """
    start, seen = time.monotonic(), "nothing yet"
    while True:
        try:
            with endpoint.session(f"{plan}/readers") as conn:
                while True:
                    standby, seen, replayed = _replayed(conn, lsn)
                    if replayed or not standby:
                        return
                    _still(deadline, endpoint, lsn, start, seen)
        except psycopg.OperationalError as error:
            seen = f"its connection was lost: {error}"
            _still(deadline, endpoint, lsn, start, seen)
        except Unreachable:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL)


def _replayed(conn: Connection, lsn: str) -> tuple[bool, str, bool]:
    """Whether it is a standby, up to where it has replayed, and whether that is far enough."""
    row = conn.execute(_QUERIES["replayed"], {"lsn": lsn}).fetchone()
    if row is None:
        raise FatalError("a SELECT without FROM returned no row")
    return row["standby"], f"replayed up to {row['at'] or 'nothing that it tells'}", bool(row["replayed"])


def _still(deadline: float, endpoint: Endpoint, lsn: str, start: float, seen: str) -> None:
    """Wait a little. Raises `DeadlineExceeded` where that is over."""
    now = time.monotonic()
    if now > deadline:
        what = f"replaying up to {lsn} on {endpoint.name} ({endpoint.address})"
        raise DeadlineExceeded(what, seconds=max(now - start, 0.0), seen=seen)
    time.sleep(POLL)


def obstacles(m: Migration, side: Side = Side.TARGET) -> list[str]:
    """
    What would keep read traffic from being led to that side, as sentences that say what was seen and what to do.

    Raises what `Migration.endpoint` raises, and `Unreachable` where that side's primary is.
    """
    return [
        sentence
        for router, endpoint in zip(m.readers(), m.reader_endpoints(side), strict=True)
        for sentence in (*_of_router(router, side), *_of_replica(m, endpoint, side))
    ]


def _of_router(router: Router, side: Side) -> Iterator[str]:
    try:
        if router.serving() is not side.other:
            yield f"the router {router.label}, of read traffic, does not lead to the {side.other}: lead it there"
        if isinstance(router, Forewarning):
            yield from router.obstacles()
    except CrossfadeError as error:
        yield str(error)
    finally:
        router.close()


def _of_replica(m: Migration, endpoint: Endpoint, side: Side) -> Iterator[str]:
    """Whether what readers are led to follows that side's primary, and closely."""
    who = f"{endpoint.name} ({endpoint.address}), to which read traffic is led,"
    with m.session(side, "readers") as conn:
        primary = conn.execute(_QUERIES["primary"]).fetchone() or {}
    try:
        with endpoint.session(f"{m.plan.name}/readers") as conn:
            replica = conn.execute(_QUERIES["replica"], {"lsn": primary["at"]}).fetchone() or {}
    except Unreachable as error:
        yield str(error)
        return
    if replica["system_identifier"] != primary["system_identifier"]:
        yield f"{who} is neither the {side} nor a replica of it: its system identifier differs. Correct the plan"
    elif not replica["standby"] and replica["timeline_id"] != primary["timeline_id"]:
        yield f"{who} was promoted and follows the {side} no longer: make it a replica anew"
    elif replica["standby"] and (replica["behind"] is None or replica["behind"] > m.plan.lag.max_bytes):
        behind = "an unknown number of" if replica["behind"] is None else replica["behind"]
        yield f"{who} is {behind} bytes behind the {side}, the plan allows {m.plan.lag.max_bytes}: wait, or see to it"


def _each(things: Sequence[T], call: Callable[[T], None]) -> list[tuple[T, Exception | None]]:
    """Do it for all at once: what each raised of our errors. A bug is raised as it is."""

    def attempt(thing: T) -> Exception | None:
        try:
            call(thing)
        except CrossfadeError as error:
            return error
        return None

    with ThreadPoolExecutor(max(len(things), 1), "readers") as pool:
        return list(zip(things, pool.map(attempt, things), strict=True))
