"""Activity: transactions that a new slot waits for, sessions that no fence ends, and clients that bypass PgBouncer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta

from psycopg import sql

from crossfade import catalog
from crossfade.assess.registry import Problem, Severity, check
from crossfade.assess.scene import Database, Pooler
from crossfade.plan import Plan
from crossfade.queries import named_queries

_QUERIES = named_queries(__file__)
LONG = timedelta(minutes=1)


@check("activity.prepared_transactions", severity=Severity.BLOCKER)
def nothing_is_prepared(source: Database) -> Iterator[Problem]:
    """Prepared transactions: a new slot waits for each of them for good, and they could commit behind the fence."""
    for prepared in catalog.prepared_transactions(source.conn):
        gid = sql.Literal(prepared.gid).as_string()
        yield Problem(
            prepared.gid,
            f"prepared by {prepared.role} {prepared.age} ago, neither committed nor rolled back",
            f"COMMIT PREPARED {gid};  -- or: ROLLBACK PREPARED {gid};",
        )


@check("activity.long_transactions", severity=Severity.WARNING)
def nothing_has_been_open_for_long(source: Database) -> Iterator[Problem]:
    """Transactions open for more than a minute, in any database: a new slot waits for their end."""
    for transaction in catalog.blocking_transactions(source.conn):
        if transaction.age > LONG:
            yield Problem(
                f"pid {transaction.pid}", str(transaction), f"SELECT pg_terminate_backend({transaction.pid});"
            )


@check("activity.superuser_sessions", severity=Severity.WARNING)
def no_superuser_is_connected(source: Database) -> Iterator[Problem]:
    """Sessions of superusers in the source's database: the fence can neither refuse nor end them."""
    if source.role["rolsuper"]:
        return
    for row in source.rows(_QUERIES["superuser_sessions"]):
        yield Problem(
            row["role"],
            f"a superuser is connected (pid {row['pid']}, {row['application_name'] or 'no name'}); the cutover is "
            "refused while it is",
            f"SELECT pg_terminate_backend({row['pid']});  -- as a superuser; then keep it away during the cutover",
        )


@check("activity.direct_sessions", severity=Severity.WARNING)
def clients_come_through_a_pooler(source: Database, plan: Plan, poolers: Sequence[Pooler]) -> Iterator[Problem]:
    """
    Sessions on the source that no pooler of the plan holds: the cutover ends them, and leads their clients nowhere.

    They are told apart by the pid that PgBouncer knows of each of its sessions, since addresses may be translated on
    the way. Not asked where a router of another kind leads clients too, whose sessions look like direct ones.
    """
    if len(poolers) < len(plan.routers):
        return
    seen = _sessions(source)
    pooled = set().union(*(pooler.fleet.server_pids() for pooler in poolers))
    lasting = _sessions(source)  # a pooler's session that ended meanwhile is known to it no more
    direct = Counter(key for session, key in seen.items() if session in lasting and session[0] not in pooled)
    for (role, address, application), count in sorted(direct.items()):
        ours = role in plan.cutover.application_roles
        yield Problem(
            f"{role} from {address}",
            f"{count} session(s) of {application or 'a program without a name'} come through none of the plan's "
            "poolers: the cutover ends them, and their client goes on asking the source, where it is refused",
            "Let it connect to PgBouncer before the cutover, or stop it; or name the console of the pooler that it "
            "comes through in routers.admin of the plan",
            severity=None if ours else Severity.NOTE,
        )


def _sessions(source: Database) -> dict[tuple[int, float], tuple[str, str, str]]:
    """Pid and start of sessions that the fence would end -> role, address, application_name."""
    return {
        (row["pid"], row["started"]): (row["role"], row["address"], row["application_name"])
        for row in source.rows(_QUERIES["sessions"])
    }
