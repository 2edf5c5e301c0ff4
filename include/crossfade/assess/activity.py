"""Activity: transactions that a new slot would wait for, and sessions that a fence could not end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from psycopg import sql

from crossfade import catalog
from crossfade.assess.registry import Problem, Severity, check
from crossfade.assess.scene import Database
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
