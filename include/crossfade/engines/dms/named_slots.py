"""A replication slot that is made for AWS DMS to read, under a name of its own."""

from __future__ import annotations

from typing import Any

from crossfade.connect import Connection
from crossfade.engines.slots import drop_slot
from crossfade.errors import TransientError
from crossfade.queries import named_queries

_QUERIES = named_queries(__file__)

DEFAULT_PLUGIN = "test_decoding"  #: what AWS DMS reads on every PostgreSQL
TRY_SECONDS = 20.0  #: how long a slot that is only tried may wait for open transactions


class NamedSlot:
    """
    One slot. It belongs to whoever made it: DMS, which is given its name, neither makes nor drops it.

    :param conn: an autocommit session on the side that rows come from
    :param plugin: its output plugin
    """

    def __init__(self, conn: Connection, name: str, plugin: str | None = None) -> None:
        self.conn, self.name, self.plugin = conn, name, plugin or DEFAULT_PLUGIN

    def _find(self) -> dict[str, Any] | None:
        return self.conn.execute(_QUERIES["slot"], {"name": self.name}).fetchone()

    def try_out(self) -> None:
        """
        Make such a slot and drop it again: this session may, the plugin is installed, one is free.

        Raises psycopg's error where the server refuses, or waits too long for open transactions.
        """
        name = f"{self.name}_try"
        self._within(TRY_SECONDS, "SELECT pg_create_logical_replication_slot(%s, %s, true)", name, self.plugin)
        self.conn.execute("SELECT pg_drop_replication_slot(%s)", [name])

    def make(self, seconds: float) -> None:
        """Make it where it is not there. It waits that long for transactions that are open on the server."""
        if self._find() is None:
            self._within(seconds, "SELECT pg_create_logical_replication_slot(%s, %s)", self.name, self.plugin)

    def _within(self, seconds: float, statement: str, *parameters: str) -> None:
        timeout = f"{max(int(seconds * 1000), 1)}"
        self.conn.execute("SELECT set_config('statement_timeout', %s, false)", [timeout])
        try:
            self.conn.execute(statement.encode(), list(parameters))
        finally:
            if not self.conn.closed:
                self.conn.execute("SET statement_timeout = 0")

    def lost(self) -> str | None:
        """Why changes are lost, in words; None where the slot keeps them."""
        found = self._find()
        if found is None:
            return "missing"
        return "invalidated (wal_status = lost)" if found["wal_status"] == "lost" else None

    def unusable(self) -> str | None:
        """Why DMS could not read from it all that is written from now on, in words; None where it could."""
        found = self._find()
        if found is None or found["wal_status"] == "lost":
            return f"the slot {self.name} is {self.lost()}"
        if found["plugin"] != self.plugin:
            return f"the slot {self.name} has the plugin {found['plugin']}, not {self.plugin}"
        if found["active"]:
            return f"somebody reads the slot {self.name}"
        if not found["begun"]:
            return f"the slot {self.name} begins at {found['position']}, which is past what is written now"
        return None

    def position(self) -> str:
        """Up to where its reader has confirmed, as an LSN. Raises `TransientError` where it is gone."""
        found = self._find()
        if found is None:
            raise TransientError(f"the replication slot {self.name} is gone")
        return str(found["position"])

    def bytes_behind(self) -> int:
        """WAL that was written since its reader confirmed; 0 where it is gone."""
        found = self._find()
        return int(found["bytes_behind"]) if found else 0

    def drop(self) -> None:
        """Remove it, ending its reader; nothing where it is gone. Raises `DeadlineExceeded`."""
        drop_slot(self.conn, self.name)
