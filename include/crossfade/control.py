"""The control schema ``crossfade``, on both sides: creating it, and refusing one that a newer version wrote."""

from __future__ import annotations

from typing import LiteralString

from psycopg import sql

from crossfade.connect import Connection, scalar
from crossfade.errors import PreconditionError
from crossfade.queries import named_queries
from crossfade.routers.base import Side

VERSION = 5  #: of the tables; raised with every change to them

_DDL = named_queries(__file__)
#: What versions added, in their order, and a query that tells whether it is there: on both sides, and on a target.
_PARTS: dict[str, LiteralString] = {
    "both": "SELECT to_regclass('crossfade.attempt') IS NOT NULL",
    "both_3": (
        "SELECT EXISTS (SELECT FROM pg_attribute"
        " WHERE attrelid = to_regclass('crossfade.attempt') AND attname = 'generation')"
    ),
    "both_4": (
        "SELECT to_regclass('crossfade.restore') IS NOT NULL AND NOT EXISTS (SELECT FROM pg_constraint"
        " WHERE conrelid = to_regclass('crossfade.restore') AND contype = 'f')"
    ),
}
_PARTS_OF_TARGET: dict[str, LiteralString] = {
    "target": "SELECT to_regclass('crossfade.migration') IS NOT NULL",
    "target_2": "SELECT to_regclass('crossfade.lob') IS NOT NULL",
    "target_3": "SELECT to_regclass('crossfade.rehearsal') IS NOT NULL",
    "target_4": (
        "SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = to_regclass('crossfade.migration')"
        " AND conname = 'migration_carrier_check' AND position('slot' IN pg_get_constraintdef(oid)) > 0)"
    ),
    "target_5": "SELECT to_regclass('crossfade.validation_part') IS NOT NULL",
}


class NewerJournal(PreconditionError):
    """The control schema was written by a newer version of Crossfade."""

    def __init__(self, *, seen: int) -> None:
        super().__init__(
            f"the schema crossfade in this database has version {seen}, this program knows {VERSION}. "
            "Nothing was changed. Use the newer version of Crossfade that made it"
        )


def version(conn: Connection) -> int:
    """The version of the control schema in this database; 0 where there is none."""
    if scalar(conn, "SELECT to_regclass('crossfade.version')") is None:
        return 0
    return int(scalar(conn, "SELECT version FROM crossfade.version") or 0)


def check(conn: Connection) -> None:
    """Raise `NewerJournal` where this program is too old for the control schema that is there."""
    if (seen := version(conn)) > VERSION:
        raise NewerJournal(seen=seen)


def install(conn: Connection, side: Side) -> None:
    """
    Create or update the control schema of that side, all or nothing. Raises `NewerJournal`.

    A database can be the source of one migration and the target of another: each side's tables are looked for.
    """
    check(conn)
    if _complete(conn, side):
        return
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(hashtext('crossfade.control'))")
        check(conn)
        if version(conn) == 0:
            conn.execute("CREATE SCHEMA IF NOT EXISTS crossfade")
            conn.execute("CREATE TABLE crossfade.version (version integer NOT NULL)")
            conn.execute("INSERT INTO crossfade.version VALUES (%s)", [VERSION])
        for name in _missing(conn, side):
            conn.execute(_DDL[name])
        conn.execute("UPDATE crossfade.version SET version = %s", [VERSION])


def _complete(conn: Connection, side: Side) -> bool:
    return version(conn) == VERSION and not _missing(conn, side)


def _missing(conn: Connection, side: Side) -> list[str]:
    """Which parts of that side's tables are not there."""
    parts = _PARTS | (_PARTS_OF_TARGET if side is Side.TARGET else {})
    return [name for name, there in parts.items() if not scalar(conn, there)]


def add_stream(conn: Connection, stream: str) -> None:
    """Give a stream its own, empty partition of the watermark table, so that its publication can name it alone."""
    leaf = sql.Identifier("crossfade", watermark_table(stream))
    with conn.transaction():
        conn.execute(
            sql.SQL("CREATE TABLE IF NOT EXISTS {} PARTITION OF crossfade.watermark FOR VALUES IN ({})").format(
                leaf, sql.Literal(stream)
            )
        )
        conn.execute(sql.SQL("TRUNCATE {}").format(leaf))


def drop_stream(conn: Connection, stream: str) -> None:
    """Remove a stream's partition of the watermark table, where it is there."""
    conn.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier("crossfade", watermark_table(stream))))


def watermark_table(stream: str) -> str:
    """Name of the partition of ``crossfade.watermark`` that belongs to a stream."""
    return f"watermark_{stream}"
