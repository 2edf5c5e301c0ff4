"""
Putting rows right that differ, by those of the side that serves. Only where somebody asked for it.

The stream goes on meanwhile, and may carry a change of the very same row: so rows are held where they are written until
the other side has applied everything before, and are replaced there while nothing new can come. Rows that the serving
side lacks cannot be held: for these its table takes no writes meanwhile, for as long as the stream is behind.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from psycopg import sql

from crossfade.connect import Connection, scalar
from crossfade.errors import PreconditionError
from crossfade.routers.base import Direction
from crossfade.validation.compare import Pair
from crossfade.validation.digest import Digests, Key, Row

log = logging.getLogger(__name__)

_AT_ONCE = 200  #: rows held at the same time
_LOCK_TIMEOUT = "2s"  #: for which a row or table is waited for, with who comes after waiting, too
_ASIDE = sql.Identifier("pg_temp", "crossfade_repair")
ORIGIN = "crossfade_repair"  #: what is written under it is sent back by no stream


class NotRepairable(PreconditionError):
    """Rows that cannot be told one by one."""

    def __init__(self, *, table: str, reason: str) -> None:
        super().__init__(f"{table} was not repaired: {reason}. Clear the load task of its wave: it is copied again")


def repair(pair: Pair, digests: Digests, differing: dict[Key, tuple[Row, Row]]) -> int:
    """
    Replace rows on the side that follows by those of the side that serves; how many.

    Triggers and foreign keys do not act: rows come as the stream brings them. Safe to run again.
    Raises `NotRepairable`, `psycopg.Error`, and what waiting for the stream raises.
    """
    table = digests.table
    if not table.key:
        raise NotRepairable(table=table.full_name, reason="it has no key")
    forward = pair.direction is Direction.FORWARD
    serves, follows = (pair.source, pair.target) if forward else (pair.target, pair.source)
    with _as_replication(follows):
        for some in _batches(sorted(differing, key=str)):
            unheld = any(not differing[key][0 if forward else 1][1] for key in some)
            _replace(pair, digests, serves, follows, some, unheld=unheld)
    log.info("%s: %s rows were replaced", table.full_name, len(differing))
    return len(differing)


def _batches(keys: Sequence[Key]) -> Iterator[list[Key]]:
    for start in range(0, len(keys), _AT_ONCE):
        yield list(keys[start : start + _AT_ONCE])


@contextmanager
def _as_replication(conn: Connection) -> Iterator[None]:
    """Write as a stream does: no trigger or foreign key acts, and no stream sends it back where origins are told."""
    conn.execute("SET session_replication_role = replica")
    if scalar(conn, "SELECT pg_replication_origin_oid(%s)", [ORIGIN]) is None:
        conn.execute("SELECT pg_replication_origin_create(%s)", [ORIGIN])
    conn.execute("SELECT pg_replication_origin_session_setup(%s)", [ORIGIN])
    try:
        yield
    finally:
        if not conn.closed and not conn.broken:
            conn.execute("SELECT pg_replication_origin_session_reset()")
            conn.execute("RESET session_replication_role")


def _replace(
    pair: Pair, digests: Digests, serves: Connection, follows: Connection, keys: Collection[Key], *, unheld: bool
) -> None:
    table = digests.table
    names = [sql.Identifier(column.name) for column in table.copied_columns]
    columns = sql.SQL(", ").join(names)
    listed, condition = digests.listed(keys)
    chosen = sql.SQL("SELECT {} FROM ONLY {} AS t JOIN {} ON {}").format(
        sql.SQL(", ").join(sql.SQL("t.{}").format(name) for name in names), table.identifier, listed, condition
    )
    with serves.transaction():
        serves.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(_LOCK_TIMEOUT)))
        if unheld:
            serves.execute(sql.SQL("LOCK TABLE ONLY {} IN SHARE ROW EXCLUSIVE MODE").format(table.identifier))
        serves.execute(chosen + sql.SQL(" FOR UPDATE OF t"))
        pair.caught_up()
        pair.still()
        with follows.transaction():
            follows.execute(
                sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM ONLY {} LIMIT 0").format(
                    _ASIDE, columns, table.identifier
                )
            )
            out = sql.SQL("COPY ({}) TO STDOUT").format(chosen)
            into = sql.SQL("COPY {} FROM STDIN").format(_ASIDE)
            with serves.cursor().copy(out) as rows, follows.cursor().copy(into) as here:
                for block in rows:
                    here.write(block)
            follows.execute(
                sql.SQL("DELETE FROM ONLY {} AS t USING {} WHERE {}").format(table.identifier, listed, condition)
            )
            follows.execute(
                sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {}").format(
                    table.identifier, columns, columns, _ASIDE
                )
            )
