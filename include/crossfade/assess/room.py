"""Room on a server for a plan's streams: slots and senders where rows come from, workers and origins where they go.

What the plan itself has taken already counts as free, so that a second assessment finds what the first one did.
"""

from __future__ import annotations

from collections.abc import Iterator

from crossfade.assess.platform import change_of
from crossfade.assess.registry import Problem
from crossfade.assess.scene import Database
from crossfade.plan import Plan
from crossfade.queries import named_queries

_QUERIES = named_queries(__file__)


def for_slots(publisher: Database, plan: Plan) -> Iterator[Problem]:
    """Problems where one replication slot a wave is not free."""
    used = publisher.value(_QUERIES["foreign_slots"], prefix=_prefix(plan))
    yield from _room(publisher, "max_replication_slots", used=used, needed=plan.load.waves, each="one slot a wave")


def for_senders(publisher: Database, plan: Plan) -> Iterator[Problem]:
    """Problems where one WAL sender a wave is not free."""
    used = publisher.value(_QUERIES["foreign_senders"], prefix=_prefix(plan))
    yield from _room(publisher, "max_wal_senders", used=used, needed=plan.load.waves, each="one sender a wave")


def for_apply_workers(subscriber: Database, plan: Plan) -> Iterator[Problem]:
    """Problems where one apply worker a wave is not free, among its own kind and among all background workers."""
    for name, query in (
        ("max_logical_replication_workers", "foreign_apply_workers"),
        ("max_worker_processes", "background_workers"),
    ):
        used = subscriber.value(_QUERIES[query], prefix=_prefix(plan))
        yield from _room(subscriber, name, used=used, needed=plan.load.waves, each="one apply worker a wave")


def for_origins(subscriber: Database, plan: Plan, *, copying: int) -> Iterator[Problem]:
    """
    Problems where the replication origins are not free.

    :param copying: connections a wave that mark the rows they copy, each with an origin of its own
    """
    name = "max_active_replication_origins" if subscriber.can.major >= 18 else "max_replication_slots"
    used = subscriber.value(_QUERIES["foreign_origins"], prefix=_prefix(plan))
    each = "one origin a wave and one a copying connection" if copying else "one origin a wave"
    yield from _room(subscriber, name, used=used, needed=plan.load.waves * (copying + 1), each=each)


def _room(server: Database, name: str, *, used: int, needed: int, each: str) -> Iterator[Problem]:
    """A problem where a limit leaves less room than needed."""
    limit = int(server.setting(name))
    if limit - used < needed:
        yield Problem(
            name,
            f"{limit} on {server.endpoint.name}, {used} taken by others; the plan needs {needed} ({each})",
            change_of(server.platform, server.endpoint, name, used + needed, restart=True)
            + "; or fewer load.waves in the plan",
        )


def _prefix(plan: Plan) -> str:
    """What the names of this plan's own slots, subscriptions and origins start with; they take no room from it."""
    return f"crossfade_{plan.name}_"
