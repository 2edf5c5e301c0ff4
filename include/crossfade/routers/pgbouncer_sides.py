"""Telling which of a plan's two databases a PgBouncer leads to, from what its console shows."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence

from crossfade.connect import Endpoint
from crossfade.routers.base import Side
from crossfade.routers.pgbouncer_console import ServedDatabase
from crossfade.routers.pgbouncer_ini import Destination


class Sides:
    """
    Where each side is, as the poolers reach it.

    :param endpoints: of each side; host, port and dbname count
    :param names: under which clients ask for the database
    """

    def __init__(self, endpoints: Mapping[Side, Endpoint], names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.at = {
            side: Destination(host=where.host, port=where.port, dbname=where.dbname)
            for side, where in endpoints.items()
        }

    def of(self, seen: Destination) -> Side | None:
        """Which side a destination is: by its very host name, else by address. None: neither, or not to be told."""
        for same in (_same_name, _same_address):
            found = [
                side
                for side, at in self.at.items()
                if (seen.port, seen.dbname) == (at.port, at.dbname) and same(seen.host, at.host)
            ]
            if found:
                return found[0] if len(found) == 1 else None
        return None

    def shown(self, databases: Mapping[str, ServedDatabase]) -> Side | None:
        """The one side that all our names lead to on one instance; None where there is no such side."""
        found = {self.of(databases[name].destination) if name in databases else None for name in self.names}
        return found.pop() if len(found) == 1 else None

    def in_words(self, databases: Mapping[str, ServedDatabase]) -> str:
        """Where each of our names leads on one instance."""
        seen = {name: databases[name].destination if name in databases else "nothing" for name in self.names}
        return ", ".join(f"{name} -> {where}" for name, where in seen.items())


def _same_name(one: str, other: str) -> bool:
    return one.lower() == other.lower()


def _same_address(one: str, other: str) -> bool:
    return bool(_addresses(one) & _addresses(other))


def _addresses(host: str) -> set[str]:
    """The addresses of a host name; none for a socket's directory and for names unknown here."""
    if not host or host.startswith("/"):
        return set()
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError:
        return set()
