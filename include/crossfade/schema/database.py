"""What belongs to the database itself, which the archive does not carry: owner, grants, settings, comment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from crossfade.connect import Connection, scalar
from crossfade.queries import named_queries
from crossfade.schema.settings import set_clause
from crossfade.schema.statements import Report

_QUERIES = named_queries(__file__)
_REFUSALS = (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject)


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectGrant:
    """That a role may connect to the database: what opening it must restore, no more and no less."""

    role: str | None  #: None is PUBLIC
    grantable: bool


def connect_grants(conn: Connection) -> list[ConnectGrant]:
    """Who may connect to this database, its owner included; without superusers and the migration role."""
    return [
        ConnectGrant(role=row["role"], grantable=row["grantable"])
        for row in conn.execute(_QUERIES["grants"]).fetchall()
        if row["privilege"] == "CONNECT"
    ]


def carry_database(source: Connection, target: Connection, report: Report) -> list[ConnectGrant]:
    """
    Give the target's database the source's owner, grants (but CONNECT, which the fence rules), settings, comment
    and limit of connections. All or nothing, repeatable. What is not ours to do is reported.

    Returns who may connect to the source, for opening the target. Roles must be there (`roles.ensure_roles`).
    """
    with target.transaction():
        carrier = _Carrier(target, report)
        carrier.settings(source)
        carrier.properties(source)
        carrier.grants(source)
        carrier.owner(source)
    return connect_grants(source)


def give_up_grants(target: Connection) -> None:
    """
    Take from our own role what `carry_database` granted it on the database, but CONNECT; in the caller's transaction.
    """
    database = sql.Identifier(target.info.dbname)
    ourselves = sql.Identifier(str(scalar(target, "SELECT current_user")))
    owner = _database(target)["owner"]
    if owner == scalar(target, "SELECT current_user"):
        return
    with suppress(*_REFUSALS), target.transaction():  # where we cannot act for the owner, we were granted nothing
        target.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(owner)))
        target.execute(sql.SQL("REVOKE CREATE, TEMPORARY ON DATABASE {} FROM {}").format(database, ourselves))
        target.execute("SET LOCAL ROLE NONE")


class _Carrier:
    """Carries the parts one after the other; a refusal costs only its part."""

    def __init__(self, target: Connection, report: Report) -> None:
        self._target, self._report = target, report
        self._database = sql.Identifier(target.info.dbname)

    def _try(self, statement: str, *parts: sql.Composable) -> None:
        composed = sql.SQL(statement).format(*parts)
        try:
            with self._target.transaction():
                self._target.execute(composed)
        except _REFUSALS as error:
            self._report(f"not carried: {composed.as_string()}: {error.diag.message_primary}")

    def settings(self, source: Connection) -> None:
        there = {row["name"]: row["value"] for row in self._target.execute(_QUERIES["settings"]).fetchall()}
        for row in source.execute(_QUERIES["settings"]).fetchall():
            if there.get(row["name"]) != row["value"]:
                self._try("ALTER DATABASE {} {}", self._database, set_clause(row["name"], row["value"]))

    def properties(self, source: Connection) -> None:
        wanted, there = _database(source), _database(self._target)
        if wanted["comment"] != there["comment"]:
            self._try("COMMENT ON DATABASE {} IS {}", self._database, sql.Literal(wanted["comment"]))
        if wanted["connection_limit"] != there["connection_limit"]:
            limit = sql.Literal(wanted["connection_limit"])
            self._try("ALTER DATABASE {} WITH CONNECTION LIMIT {}", self._database, limit)

    def grants(self, source: Connection) -> None:
        wanted, there = _grants(source), _grants(self._target)
        with self._as_owner():
            for role, privilege, _ in sorted(there - wanted, key=str):
                self._try("REVOKE {} ON DATABASE {} FROM {}", sql.SQL(privilege), self._database, _grantee(role))
            for role, privilege, grantable in sorted(wanted - there, key=str):
                option = sql.SQL(" WITH GRANT OPTION" if grantable else "")
                self._try("GRANT {} ON DATABASE {} TO {}{}", sql.SQL(privilege), self._database, _grantee(role), option)

    def owner(self, source: Connection) -> None:
        wanted, there = _database(source), _database(self._target)
        if wanted["owner"] == there["owner"]:
            return
        if not wanted["movable"]:
            self._report(f"not carried: the database's owner {wanted['owner']}, an administrator of the source")
            return
        self._try("ALTER DATABASE {} OWNER TO {}", self._database, sql.Identifier(wanted["owner"]))
        # ours were the owner's rights, and went with the ownership
        ourselves = sql.Identifier(str(scalar(self._target, "SELECT current_user")))
        with self._as_owner():
            self._try("GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {} TO {}", self._database, ourselves)

    @contextmanager
    def _as_owner(self) -> Iterator[None]:
        """
        Act as the database's owner where we can: whoever belongs to several roles grants as any of them that may, and
        a REVOKE in the name of one who never granted does nothing, without an error.
        """
        owner = sql.Identifier(_database(self._target)["owner"])
        with suppress(*_REFUSALS), self._target.transaction():
            self._target.execute(sql.SQL("SET LOCAL ROLE {}").format(owner))
        yield
        self._target.execute("RESET ROLE")


def _database(conn: Connection) -> dict[str, Any]:
    row: dict[str, Any] = conn.execute(_QUERIES["database"]).fetchall()[0]
    return row


def _grants(conn: Connection) -> set[tuple[str | None, str, bool]]:
    rows = conn.execute(_QUERIES["grants"]).fetchall()
    return {
        (row["role"], row["privilege"], row["grantable"])
        for row in rows
        if row["privilege"] != "CONNECT" and not row["owner"]
    }


def _grantee(role: str | None) -> sql.Composable:
    return sql.SQL("PUBLIC") if role is None else sql.Identifier(role)
