"""Roles: what the migration role may do, who replicates, and who the application is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from psycopg import sql

from crossfade.assess.registry import Problem, Severity, check
from crossfade.assess.scene import Database, Routes
from crossfade.plan import Plan
from crossfade.queries import named_queries

_QUERIES = named_queries(__file__)

#: function of a predefined role for us
_SOURCE_MEMBERSHIPS = {
    "pg_read_all_data": "read every table",
    "pg_monitor": "see transactions, sessions and slots of others",
    "pg_signal_backend": "end sessions in the fence",
}
_TARGET_MEMBERSHIPS = {**_SOURCE_MEMBERSHIPS, "pg_create_subscription": "subscribe"}
_ORIGIN_FUNCTIONS = (
    "pg_replication_origin_create(text)",
    "pg_replication_origin_drop(text)",
    "pg_replication_origin_oid(text)",
    "pg_replication_origin_session_setup(text)",
    "pg_replication_origin_session_reset()",
)


@check("roles.source_privileges", severity=Severity.BLOCKER)
def role_may_work_on_source(source: Database, plan: Plan) -> Iterator[Problem]:
    """What the migration role may not do on the source; docs/privileges/source.sql grants it all."""
    if source.role["rolsuper"]:
        return
    yield from _memberships(source, _SOURCE_MEMBERSHIPS)
    if plan.goes_natively:  # else DMS's own role replicates
        yield from replication_problems(source, source.endpoint.user)
    database = source.rows(_QUERIES["database"])[0]
    ours, name = _ours(source), sql.Identifier(source.endpoint.dbname).as_string()
    if not database["may_create"]:
        yield Problem(
            ours,
            "it may not create in the database: the schema crossfade and publications",
            f"GRANT CREATE ON DATABASE {name} TO {ours};",
        )
    if not database["owner_member"]:
        yield Problem(
            ours,
            f"it is no member of the database's owner {database['owner']}: the fence cannot revoke CONNECT",
            f"GRANT {sql.Identifier(database['owner']).as_string()} TO {ours};",
        )


@check("roles.target_privileges", severity=Severity.BLOCKER)
def role_may_work_on_target(target: Database, plan: Plan) -> Iterator[Problem]:
    """What the migration role may not do on the target; docs/privileges/target.sql grants it all."""
    if target.role["rolsuper"]:
        return
    wanted = dict(_TARGET_MEMBERSHIPS)
    if not plan.goes_natively or not target.can.subscriptions_without_superuser:
        del wanted["pg_create_subscription"]  # not needed, or server.subscriptions tells
    yield from _memberships(target, wanted)
    database = target.rows(_QUERIES["database"])[0]
    ours, name = _ours(target), sql.Identifier(target.endpoint.dbname).as_string()
    if not target.role["rolcreaterole"]:
        yield Problem(ours, "it may not create the source's roles", f"ALTER ROLE {ours} CREATEROLE;")
    if not (database["owner_member"] and database["may_create"]):
        yield Problem(
            ours,
            f"it does not own the database ({database['owner']} does): it can neither restore into it nor fence it",
            f"ALTER DATABASE {name} OWNER TO {ours};",
        )
    if plan.engine == "logical":
        yield from _origin_functions(target)


def _origin_functions(target: Database) -> Iterator[Problem]:
    missing = [
        function
        for function in _ORIGIN_FUNCTIONS
        if not target.value("SELECT has_function_privilege(%(name)s, 'EXECUTE')", name=function)
    ]
    if missing:
        yield Problem(
            _ours(target),
            "it may not mark copied rows with a replication origin: a way back would send them back",
            f"GRANT EXECUTE ON FUNCTION {', '.join(missing)} TO {_ours(target)};",
        )


def _memberships(database: Database, wanted: dict[str, str]) -> Iterator[Problem]:
    for role, purpose in wanted.items():
        if not database.value("SELECT pg_has_role(current_user, %(role)s, 'USAGE')", role=role):
            yield Problem(
                _ours(database),
                f"on {database.endpoint.name} it is no member of {role}, needed to {purpose}",
                f"GRANT {role} TO {_ours(database)};",
            )


def _ours(database: Database) -> str:
    return sql.Identifier(database.role["rolname"]).as_string()


@check("roles.replication", severity=Severity.BLOCKER, engines={"logical"})
def replication_role_may_replicate(source: Database, routes: Routes) -> Iterator[Problem]:
    """A role in source_from_target that may not replicate, or not connect when the source is fenced."""
    user = routes.source_from_target.user
    if user != source.endpoint.user:
        yield from replication_problems(source, user)


def replication_problems(server: Database, user: str) -> Iterator[Problem]:
    """A role that is not there, or may not replicate. RDS grants that by membership of rds_replication."""
    found = server.rows(_QUERIES["may_replicate"], name=user)
    name = sql.Identifier(user).as_string()
    if not found:
        yield Problem(
            user, f"there is no such role on the {server.side}", f"CREATE ROLE {name} LOGIN REPLICATION PASSWORD …;"
        )
    elif not found[0]["may_replicate"]:
        yield Problem(
            user,
            f"it may not replicate on the {server.side}",
            f"ALTER ROLE {name} REPLICATION;  -- RDS and Aurora: GRANT rds_replication TO {name};",
        )


@check("roles.applications", severity=Severity.BLOCKER)
def application_roles_can_be_fenced(source: Database, plan: Plan) -> Iterator[Problem]:
    """Application roles that do not exist, cannot log in, or that no fence keeps off."""
    there = {row["name"]: row for row in source.rows(_QUERIES["roles"], names=list(plan.cutover.application_roles))}
    for name in plan.cutover.application_roles:
        identifier = sql.Identifier(name).as_string()
        if (role := there.get(name)) is None:
            yield Problem(
                name, "there is no such role on the source", "cutover: {application_roles: […]}  # correct the plan"
            )
        elif name == source.role["rolname"]:
            yield Problem(
                name,
                "it is the migration's own role: the fence would lock out the migration, or let the application in",
                f"CREATE ROLE crossfade LOGIN REPLICATION PASSWORD …;  -- a role of its own, instead of {identifier}",
            )
        elif role["superuser"]:
            yield Problem(name, "a superuser: no fence keeps it off", f"ALTER ROLE {identifier} NOSUPERUSER;")
        elif role["replication"]:
            yield Problem(
                name, "it may replicate, so the fence leaves it alone", f"ALTER ROLE {identifier} NOREPLICATION;"
            )
        elif not role["login"]:
            yield Problem(
                name,
                "it cannot log in: a group, or the wrong role?",
                f"ALTER ROLE {identifier} LOGIN;  -- or name its members in application_roles",
            )


@check("roles.master_user", severity=Severity.BLOCKER)
def applications_are_not_the_master_user(source: Database, plan: Plan) -> Iterator[Problem]:
    """Application roles that run the server, as the master user of RDS does: no fence holds against them."""
    for row in source.rows(_QUERIES["masters"], names=list(plan.cutover.application_roles)):
        yield Problem(
            row["name"],
            f"{row['why']}: it can let itself in again behind the fence, and end the migration's sessions. The "
            "application needs a role of its own",
            _separated(row["name"], source.endpoint.dbname, row["schemas"]),
        )


def _separated(master: str, dbname: str, schemas: Sequence[str]) -> str:
    """Statements that give the application a role that may do what it does, and nothing else."""
    old, new = sql.Identifier(master).as_string(), sql.Identifier(f"{master}_app").as_string()
    database = sql.Identifier(dbname).as_string()
    inside = ", ".join(sql.Identifier(schema).as_string() for schema in schemas) or "public"
    rows, numbers = "SELECT, INSERT, UPDATE, DELETE", "USAGE, SELECT, UPDATE"
    return f"""CREATE ROLE {new} LOGIN PASSWORD '…';
GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {new};
GRANT USAGE ON SCHEMA {inside} TO {new};
GRANT {rows} ON ALL TABLES IN SCHEMA {inside} TO {new};
GRANT {numbers} ON ALL SEQUENCES IN SCHEMA {inside} TO {new};
ALTER DEFAULT PRIVILEGES FOR ROLE {old} IN SCHEMA {inside} GRANT {rows} ON TABLES TO {new};
ALTER DEFAULT PRIVILEGES FOR ROLE {old} IN SCHEMA {inside} GRANT {numbers} ON SEQUENCES TO {new};
-- Let the application log in as {new}, and name that role in cutover.application_roles. {old} goes on owning
-- everything; what changes definitions (the application's own schema migrations) logs in as {old} as before, and rests
-- while a migration runs."""
