"""
The inventory of a database: every object that a plan moves, with a definition that prints the same on every version.

Left out: the system, schema crossfade, members of extensions, publications and subscriptions, and what the plan leaves
out. Roles that cannot be carried (superusers, the migration's own) do not show in grants.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from crossfade.connect import Connection
from crossfade.plan import Tables
from crossfade.queries import named_queries
from crossfade.schema.scope import left_out
from crossfade.schema.statements import set_locally

_QUERIES = named_queries(__file__)
_SCOPE = _QUERIES.pop("scope")
_PRIVILEGES = named_queries(__file__.replace("inventory.py", "privileges.py"))


class Key(NamedTuple):
    """What an object is, and its qualified, quoted name."""

    kind: str
    identity: str


def inventory(conn: Connection, tables: Tables, carriers: Collection[str] = ()) -> dict[Key, str]:
    """
    Every object, grant, owner, comment and setting of a database, by kind and identity; with its definition.

    :param carriers: roles whose grants do not show, as they are there for the migration only
    """
    with conn.transaction():
        set_locally(conn, {"search_path": "", "quote_all_identifiers": "off"})  # every name prints qualified
        relations = [relation.oid for relation in left_out(conn, tables)]
        scope = conn.execute(_SCOPE, {"left_out": relations}).fetchall()[0]
        given = {"left_out": relations, "carriers": list(carriers)}
        parameters = {key: value or [] for key, value in scope.items()} | given
        return {
            Key(row["kind"], row["identity"]): row["definition"] or ""
            for query in (*_QUERIES.values(), *_PRIVILEGES.values())
            for row in conn.execute(query, parameters).fetchall()
        }
