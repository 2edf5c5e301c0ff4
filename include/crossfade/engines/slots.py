"""Removing a replication slot, whoever reads it."""

from __future__ import annotations

import time

import psycopg

from crossfade.connect import Connection
from crossfade.engines.watermarks import wait_until
from crossfade.queries import named_queries

_QUERIES = named_queries(__file__)

DROP_SECONDS = 15.0


def drop_slot(conn: Connection, name: str, *, seconds: float = DROP_SECONDS) -> None:
    """
    Remove the slot of that name, ending its reader; nothing to do where there is none.

    :param conn: an autocommit session on the slot's database. Raises `DeadlineExceeded`.
    """

    def gone() -> bool:
        if conn.execute(_QUERIES["there"], {"name": name}).fetchone() is None:
            return True
        conn.execute(_QUERIES["end_reader"], {"name": name})
        try:
            conn.execute("SELECT pg_drop_replication_slot(%s)", [name])
        except psycopg.errors.ObjectInUse:
            return False
        except psycopg.errors.UndefinedObject:
            pass
        return True

    wait_until(gone, time.monotonic() + seconds, f"dropping the slot {name}", "it is still in use")
