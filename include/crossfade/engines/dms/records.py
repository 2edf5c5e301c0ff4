"""What the journal keeps of AWS DMS: how each table's LOBs travel, and what is used and was made in AWS."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from crossfade.connect import Connection, scalar
from crossfade.engines.dms.lobs import LobLimit
from crossfade.engines.dms.resource import Kind


class DmsRecords:
    """
    The tables ``crossfade.lob`` and ``crossfade.resource`` of one migration. The only writer of them.

    :param conn: an autocommit connection to the target
    :param migration: the journal's id
    """

    def __init__(self, conn: Connection, migration: UUID) -> None:
        self.conn, self.migration = conn, migration

    def limits(self) -> tuple[LobLimit, ...]:
        """How the LOBs of each table travel, and the largest value seen when they were last measured."""
        rows = self.conn.execute(
            "SELECT schema, table_name AS name, mode, limit_kb, columns, largest_column, largest_bytes"
            " FROM crossfade.lob WHERE migration_id = %s ORDER BY 1, 2",
            [self.migration],
        ).fetchall()
        return tuple(LobLimit(**row) for row in rows)

    def keep_limits(self, limits: Sequence[LobLimit]) -> None:
        """Keep these instead of what was kept before."""
        rows = [
            (self.migration, one.schema, one.name, one.mode, one.limit_kb, one.columns, one.largest_column,
             one.largest_bytes)
            for one in limits
        ]  # fmt: skip
        with self.conn.transaction(), self.conn.cursor() as cur:
            cur.execute("DELETE FROM crossfade.lob WHERE migration_id = %s", [self.migration])
            cur.executemany(
                "INSERT INTO crossfade.lob (migration_id, schema, table_name, mode, limit_kb, columns, largest_column,"
                " largest_bytes) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                rows,
            )

    def keep(self, kind: Kind, identifier: str, *, made: bool) -> None:
        """Keep what is used. What was made by Crossfade stays so, though it is found again later."""
        self.conn.execute(
            "INSERT INTO crossfade.resource (migration_id, kind, identifier, made) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (migration_id, kind) DO UPDATE SET identifier = excluded.identifier, made = excluded.made"
            " OR (resource.made AND resource.identifier = excluded.identifier)",
            [self.migration, kind, identifier, made],
        )

    def identifier(self, kind: Kind) -> str | None:
        """What is used as that; None where it is not known."""
        found = scalar(
            self.conn,
            "SELECT identifier FROM crossfade.resource WHERE migration_id = %s AND kind = %s",
            [self.migration, kind],
        )
        return None if found is None else str(found)

    def made(self) -> list[tuple[str, str]]:
        """Kind and identifier of everything that Crossfade made."""
        rows = self.conn.execute(
            "SELECT kind, identifier FROM crossfade.resource WHERE migration_id = %s AND made ORDER BY kind",
            [self.migration],
        ).fetchall()
        return [(row["kind"], row["identifier"]) for row in rows]

    def forget(self, kind: Kind) -> None:
        """It is gone."""
        self.conn.execute(
            "DELETE FROM crossfade.resource WHERE migration_id = %s AND kind = %s", [self.migration, kind]
        )
