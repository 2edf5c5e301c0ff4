"""
Roles: those that matter to a database, read on the source and made on the target.

What exists on the target already belongs to somebody else: its password and attributes are never touched, only missing
memberships and settings are added. Verifiers are carried where the source lets us read them, and never shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from crossfade.capabilities import capabilities
from crossfade.connect import Connection, scalar
from crossfade.errors import PreconditionError
from crossfade.queries import named_queries
from crossfade.schema.settings import set_clause
from crossfade.schema.statements import Report

_QUERIES = named_queries(__file__)
_ATTRIBUTES = ("login", "inherit", "createdb", "createrole", "replication", "bypassrls")
_NOT_OURS = (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedObject, psycopg.errors.InvalidGrantOperation)


@dataclass(frozen=True, kw_only=True, slots=True)
class Membership:
    """That a role belongs to a group, and what it may do with that."""

    group: str
    admin: bool
    inherit: bool
    set: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """A parameter's default for a role."""

    name: str
    value: str  #: as stored
    in_database: bool  #: only in this database


@dataclass(frozen=True, kw_only=True, slots=True)
class Role:
    """A role of the source. The verifier never shows in its repr."""

    name: str
    login: bool
    inherit: bool
    createdb: bool
    createrole: bool
    replication: bool
    bypassrls: bool
    connection_limit: int
    valid_until: str | None
    owns: bool  #: something in this database, or the database: the migration must be able to act for it
    comment: str | None
    verifier: str | None = field(default=None, repr=False)  #: None: it has no password, or it could not be read
    memberships: tuple[Membership, ...] = ()
    settings: tuple[Setting, ...] = ()

    @property
    def identifier(self) -> sql.Identifier:
        """For statements."""
        return sql.Identifier(self.name)


def read_roles(source: Connection, application_roles: Iterable[str]) -> list[Role]:
    """
    The roles that matter to the source's database, by name.

    Those that own or are granted anything in it, have settings for it, or are the application's; the members of all
    these, since a reporting user may reach it only through a group; and every group that they belong to. Without
    superusers, the system's and the provider's roles, and the migration's own.
    """
    rows = source.execute(_QUERIES["read"], {"application_roles": list(application_roles)}).fetchall()
    names = {"names": [row["name"] for row in rows]}
    groups = _grouped(source.execute(_QUERIES["memberships"], names).fetchall(), "member")
    settings = _grouped(source.execute(_QUERIES["settings"], names).fetchall(), "role")
    verifiers: dict[str, str | None] = {}
    if scalar(source, _QUERIES["may_read_verifiers"]):
        verifiers = {row["name"]: row["verifier"] for row in source.execute(_QUERIES["verifiers"], names).fetchall()}
    return [
        Role(
            **row,
            verifier=verifiers.get(row["name"]),
            memberships=tuple(Membership(**group) for group in groups.get(row["name"], ())),
            settings=tuple(Setting(**setting) for setting in settings.get(row["name"], ())),
        )
        for row in rows
    ]


def _grouped(rows: Sequence[dict[str, Any]], key: str) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row.pop(key), []).append(row)
    return found


def ensure_roles(target: Connection, roles: Sequence[Role], report: Report) -> list[str]:
    """
    Make the roles that the target lacks, then add missing memberships and settings. All or nothing, repeatable.

    Returns what a person should know of: roles that were there already, passwords and attributes that could not be
    carried. Raises `PreconditionError` where the migration role could not act for an owner.
    """
    with target.transaction():
        maker = _Maker(target, report)
        for role in roles:
            maker.make(role)
        for role in roles:  # now that every group is there
            maker.add_memberships(role)
            maker.add_settings(role)
        maker.become_able_to_act_for(roles)
    return maker.notes


def stop_acting_for(target: Connection) -> list[str]:
    """
    Give up the memberships that the migration role gave itself to act for owners; in the caller's transaction.

    None where another database of the server shows signs of the role: it may need them there. Those that an
    administrator granted stay. Returns the roles.
    """
    if not capabilities(target).membership_options or scalar(target, _QUERIES["at_work_elsewhere"]):
        return []
    given = [row["role"] for row in target.execute(_QUERIES["self_given"]).fetchall()]
    for role in given:
        target.execute(sql.SQL("REVOKE {} FROM CURRENT_USER").format(sql.Identifier(role)))
    return given


class _Maker:
    """Makes roles on one target and collects what is worth knowing."""

    def __init__(self, target: Connection, report: Report) -> None:
        self._target, self._report = target, report
        self._options = capabilities(target).membership_options
        self._ours: Mapping[str, bool] = target.execute(_QUERIES["ours_to_give"]).fetchall()[0]
        self.notes: list[str] = []

    def _note(self, text: str) -> None:
        self.notes.append(text)
        self._report(text)

    def _try(self, statement: sql.Composed, otherwise: str) -> bool:
        """Run a statement that may not be ours to run; whether it was. `otherwise` says what is missing now."""
        try:
            with self._target.transaction():
                self._target.execute(statement)
        except _NOT_OURS as error:
            self._note(f"{otherwise}: {error.diag.message_primary}")
            return False
        return True

    def make(self, role: Role) -> None:
        """Create the role in one statement, password included, so that none is ever half made; or leave it alone."""
        now = self._target.execute(_QUERIES["attributes"], {"names": [role.name]}).fetchone()
        if now is not None:
            others = [
                key for key in (*_ATTRIBUTES, "connection_limit", "valid_until") if now[key] != getattr(role, key)
            ]
            differs = f"; on the source it has another {', '.join(others)}" if others else ""
            self._note(f"role {role.name} was there already: its password and attributes are kept{differs}")
            return
        self._target.execute(
            sql.SQL("CREATE ROLE {} WITH {}").format(role.identifier, sql.SQL(" ").join(self._clauses(role)))
        )
        self._report(f"role {role.name} created")
        if role.comment:
            self._target.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(role.identifier, sql.Literal(role.comment)))
        if role.login and role.verifier is None:
            self._note(
                f"role {role.name} has no password: the source has none, or we may not read it (SELECT on pg_authid). "
                f"Set it: \\password {role.name}"
            )

    def _clauses(self, role: Role) -> Iterator[sql.Composable]:
        for attribute in _ATTRIBUTES:
            wanted = getattr(role, attribute)
            if wanted and not self._ours.get(attribute, True):
                self._note(
                    f"role {role.name} lacks {attribute.upper()}, which is not the migration role's to give. "
                    f"An administrator: ALTER ROLE {role.identifier.as_string()} {attribute.upper()}"
                )
                wanted = False
            yield sql.SQL(attribute.upper() if wanted else f"NO{attribute.upper()}")
        yield sql.SQL("CONNECTION LIMIT {}").format(sql.Literal(role.connection_limit))
        if role.valid_until is not None:
            yield sql.SQL("VALID UNTIL {}").format(sql.Literal(role.valid_until))
        if role.verifier is not None:
            yield sql.SQL("PASSWORD {}").format(sql.Literal(role.verifier))

    def add_memberships(self, role: Role) -> None:
        """Grant the groups that it does not belong to yet."""
        rows = self._target.execute(_QUERIES["memberships"], {"names": [role.name]}).fetchall()
        there = {row["group"] for row in rows}
        for membership in role.memberships:
            if membership.group in there:
                continue
            grant = sql.SQL("GRANT {} TO {}").format(sql.Identifier(membership.group), role.identifier)
            self._try(grant + self._with(membership), f"role {role.name} is not in {membership.group}")

    def _with(self, membership: Membership) -> sql.Composable:
        if not self._options:
            return sql.SQL(" WITH ADMIN OPTION" if membership.admin else "")
        wanted = {"ADMIN": membership.admin, "INHERIT": membership.inherit, "SET": membership.set}
        return sql.SQL(" WITH ") + sql.SQL(", ").join(
            sql.SQL(f"{option} {'TRUE' if value else 'FALSE'}") for option, value in wanted.items()
        )

    def add_settings(self, role: Role) -> None:
        """Set the parameters that it has no default of its own for."""
        rows = self._target.execute(_QUERIES["settings"], {"names": [role.name]}).fetchall()
        there = {(row["in_database"], row["name"]): row["value"] for row in rows}
        for setting in role.settings:
            key = (setting.in_database, setting.name)
            if key in there:
                if there[key] != setting.value:
                    self._note(f"role {role.name} keeps {setting.name}={there[key]}; the source has {setting.value}")
                continue
            database = sql.SQL("IN DATABASE {} ").format(sql.Identifier(self._target.info.dbname))
            statement = sql.SQL("ALTER ROLE {} {}{}").format(
                role.identifier,
                database if setting.in_database else sql.SQL(""),
                set_clause(setting.name, setting.value),
            )
            self._try(statement, f"role {role.name} lacks the setting {setting.name}={setting.value}")

    def become_able_to_act_for(self, roles: Sequence[Role]) -> None:
        """See to it that SET ROLE to each role works, and that what they own is ours to alter."""
        refused = []
        for role in roles:
            able = "pg_has_role(%(role)s, 'SET')" if self._options else "pg_has_role(%(role)s, 'MEMBER')"
            query = sql.SQL(f"SELECT {able} AND pg_has_role(%(role)s, 'USAGE')")
            if scalar(self._target, query, {"role": role.name}):
                continue
            options = sql.SQL(" WITH INHERIT TRUE, SET TRUE" if self._options else "")
            grant = sql.SQL("GRANT {} TO CURRENT_USER").format(role.identifier) + options
            if not self._try(grant, f"the migration role cannot SET ROLE {role.name}") and role.owns:
                refused.append(role.identifier.as_string())
        if refused:
            ourselves = sql.Identifier(str(scalar(self._target, "SELECT current_user"))).as_string()
            raise PreconditionError(
                f"{', '.join(refused)} own objects of the source, but the migration role {ourselves} may not act "
                "for them on the target, so it cannot give them anything. Nothing was changed. An administrator: "
                + " ".join(f"GRANT {name} TO {ourselves} WITH INHERIT TRUE, SET TRUE;" for name in refused)
            )
