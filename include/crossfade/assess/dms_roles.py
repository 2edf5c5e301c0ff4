"""The roles that AWS DMS logs in as: what they may not do and must, and what the one on the target must not be.

The cutover locks DMS out of the target by taking CONNECT from its role, which therefore must have it from nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from psycopg import sql

from crossfade.assess.dms_columns import on_top
from crossfade.assess.dms_scene import DMS, End
from crossfade.assess.registry import Problem, Severity, check
from crossfade.assess.scene import Database
from crossfade.catalog import Table
from crossfade.engines.dms.endpoints import EndpointSide
from crossfade.plan import Plan
from crossfade.queries import named_queries

_QUERIES = named_queries(__file__)

_PARAMETER_PRIVILEGES = 15  #: the major version from which GRANT SET ON PARAMETER exists

Ends = Mapping[EndpointSide, End]


@check("dms_roles.known", severity=Severity.BLOCKER, engines=DMS)
def roles_are_known(ends: Ends) -> Iterator[Problem]:
    """Endpoints whose login is in a secret, while the plan does not name the role: nothing could be asked of it."""
    for end in ends.values():
        if end.role is None:
            yield Problem(
                end.name,
                f"AWS does not tell as whom DMS logs in on the {end.side}: its login is in a secret",
                f"dms: {{{end.side}_role: …}}  # in the plan",
            )


@check("dms_roles.source", severity=Severity.BLOCKER, engines=DMS)
def role_may_read_the_source(source: Database, plan: Plan, ends: Ends) -> Iterator[Problem]:
    """What DMS's role on the source lacks: login, replication, the tables; docs/privileges/dms_source.sql grants it."""
    end, role = ends.get("source"), _role(source, ends, "source")
    if end and end.role in plan.cutover.application_roles:
        yield Problem(
            end.role,
            "DMS's role on the source is an application's: DMS must pass the fence that keeps applications off",
            f"{end.key}: …  # in the plan: a role that is DMS's alone, made by docs/privileges/dms_source.sql",
        )
        return
    if isinstance(role, Problem):
        yield role
        return
    if role is None:
        return
    if role["superuser"]:
        yield Problem(
            role["name"],
            "a superuser on the source, where DMS needs no more than to replicate and to read",
            f"ALTER ROLE {sql.Identifier(role['name']).as_string()} NOSUPERUSER REPLICATION;",
            severity=Severity.WARNING,
        )
        return
    name = sql.Identifier(role["name"]).as_string()
    if not role["may_replicate"]:
        yield Problem(
            role["name"],
            "DMS's role may not replicate on the source",
            f"GRANT rds_replication TO {name};" if source.platform.by_aws else f"ALTER ROLE {name} REPLICATION;",
        )
    if not role["may_connect"]:
        yield _may_not_connect(source, role["name"])
    yield from _unreadable(source, plan, role["name"])


def _role(database: Database, ends: Ends, side: EndpointSide) -> dict[str, Any] | Problem | None:
    """DMS's role there, or what is wrong with it; None where it is not known, which `dms_roles.known` tells."""
    end = ends.get(side)
    if end is None or end.role is None:
        return None
    name = sql.Identifier(end.role).as_string()
    rows = database.rows(_QUERIES["role"], name=end.role)
    if not rows:
        return Problem(
            end.role,
            f"DMS is to log in on the {side} as this role, which does not exist there",
            f"psql -v role={name} -v password=… -v database={sql.Identifier(database.endpoint.dbname).as_string()} "
            f"-f docs/privileges/dms_{side}.sql",
        )
    if not rows[0]["login"]:
        return Problem(end.role, f"DMS is to log in on the {side} as it, and it may not", f"ALTER ROLE {name} LOGIN;")
    return rows[0]


def _may_not_connect(database: Database, role: str) -> Problem:
    name, dbname = sql.Identifier(role).as_string(), sql.Identifier(database.endpoint.dbname).as_string()
    return Problem(
        role,
        f"DMS's role may not connect to {database.endpoint.dbname} on the {database.side}",
        f"GRANT CONNECT ON DATABASE {dbname} TO {name};",
    )


def _unreadable(source: Database, plan: Plan, role: str) -> Iterator[Problem]:
    tables = {table.oid: table for table in source.tables(plan)}
    name = sql.Identifier(role).as_string()
    unreadable = [tables[row["oid"]] for row in source.rows(_QUERIES["unreadable"], role=role, oids=list(tables))]
    if unreadable:
        yield Problem(
            role,
            f"DMS's role may not read {_listed(unreadable)}",
            f"GRANT pg_read_all_data TO {name};\n-- or: " + _grants("SELECT", unreadable, name),
        )
    filtered = [tables[row["oid"]] for row in source.rows(_QUERIES["filtered"], role=role, oids=list(tables))]
    if filtered:
        yield Problem(
            role,
            f"row level security hides rows of {_listed(filtered)} from it, without an error: they would be missing",
            f"ALTER ROLE {name} BYPASSRLS;  -- a superuser, or on RDS the master user, may",
        )


@check("dms_roles.target", severity=Severity.BLOCKER, engines=DMS)
def role_may_write_the_target(target: Database, plan: Plan, ends: Ends) -> Iterator[Problem]:
    """What DMS's role on the target lacks: a login, the replica role; docs/privileges/dms_target.sql grants it."""
    role = _role(target, ends, "target")
    if isinstance(role, Problem):
        yield role
        return
    if role is None or role["superuser"] or _taken(target, plan, role["name"]):
        return  # dms_roles.locked_out tells
    name = sql.Identifier(role["name"]).as_string()
    if not role["rds_superuser"] and not may_be_replica(target, role["name"]):
        yield Problem(
            role["name"],
            "it may not set session_replication_role: triggers would fire and foreign keys be checked, row by row",
            replica_remedy(target, name),
        )
    tables = {table.oid: table for table in target.tables(plan)}
    unwritable = [
        tables[row["oid"]] for row in target.rows(_QUERIES["unwritable"], role=role["name"], oids=list(tables))
    ]
    if unwritable:
        yield Problem(
            role["name"],
            f"it may not write {_listed(unwritable)} yet; the task `provision` grants it",
            _grants("SELECT, INSERT, UPDATE, DELETE, TRUNCATE", unwritable, name),
            severity=Severity.NOTE,
        )


def may_be_replica(target: Database, role: str) -> bool:
    """Whether a role may let no trigger fire for what it writes."""
    query = "SELECT has_parameter_privilege(%(role)s, 'session_replication_role', 'SET')"
    return target.can.major >= _PARAMETER_PRIVILEGES and bool(target.value(query, role=role))


def replica_remedy(target: Database, role: str) -> str:
    """What lets it, by version and platform. :param role: quoted"""
    if target.platform.by_aws:
        return f"GRANT rds_superuser TO {role};"
    if target.can.major >= _PARAMETER_PRIVILEGES:
        return f"GRANT SET ON PARAMETER session_replication_role TO {role};"
    return f"Use a target of PostgreSQL {_PARAMETER_PRIVILEGES} or newer: before, only a superuser may, and it stays in"


@check("dms_roles.locked_out", severity=Severity.BLOCKER, engines=DMS)
def role_can_be_locked_out(target: Database, plan: Plan, ends: Ends) -> Iterator[Problem]:
    """A role of DMS's on the target that the cutover could not lock out, or would lock out with others."""
    end = ends.get("target")
    if end is None or end.role is None:
        return
    name = sql.Identifier(end.role).as_string()
    own = f"{end.key}: …  # in the plan: a role that is DMS's alone, made by docs/privileges/dms_target.sql"
    if taken := _taken(target, plan, end.role):
        yield Problem(end.role, taken, own)
        return
    for row in target.rows(_QUERIES["lock"], role=end.role):
        if row["superuser"]:
            yield Problem(end.role, "a superuser: the cutover cannot lock DMS out", f"ALTER ROLE {name} NOSUPERUSER;")
        if row["owner"]:
            yield Problem(end.role, "it owns the target's database: the cutover cannot lock DMS out", own)
        if row["replication"]:
            yield Problem(
                end.role,
                "it may replicate, so the fence leaves it alone; DMS needs that on the source only",
                f"ALTER ROLE {name} NOREPLICATION;",
                severity=Severity.WARNING,
            )
    keep = [target.role["rolname"], *plan.cutover.application_roles]
    for row in target.rows(_QUERIES["memberships"], role=end.role, keep=keep):
        group = sql.Identifier(row["name"]).as_string()
        yield Problem(
            end.role,
            f"it is a member of {row['name']}, which goes on connecting: the cutover cannot lock DMS out",
            f"REVOKE {group} FROM {name};",
        )


def _taken(target: Database, plan: Plan, role: str) -> str | None:
    """Whose role on the target it is already."""
    if role == target.role["rolname"]:
        return "DMS's role on the target is the migration's own, which the cutover cannot lock out"
    if role in plan.cutover.application_roles:
        return "DMS's role on the target is an application's, which would be locked out with it"
    return None


def _listed(tables: list[Table]) -> str:
    names = list(dict.fromkeys(".".join(table.root) for table in tables))
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _grants(privileges: str, tables: list[Table], role: str) -> str:
    """Partitions are read and written by themselves, so each has its own; a root's would not do."""
    schemas = ", ".join(dict.fromkeys(sql.Identifier(table.schema).as_string() for table in tables))
    roots = {table.root for table in tables}
    if len(roots) == 1 and tables[0].root == (tables[0].schema, tables[0].name):
        return f"GRANT {privileges} ON {on_top(tables[0])} TO {role}; GRANT USAGE ON SCHEMA {schemas} TO {role};"
    return f"GRANT {privileges} ON ALL TABLES IN SCHEMA {schemas} TO {role}; GRANT USAGE ON SCHEMA {schemas} TO {role};"
