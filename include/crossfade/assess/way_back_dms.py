"""The way back by AWS DMS: whether a task could bring rows from the target to the source once the target serves.

It is proved only after clients have gone on: what stands in its way has to be found here, and again before they are
held. Asked of plans with ``rollback.way_back: dms``, in the place of what a native way back needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from psycopg import sql

from crossfade.assess import room
from crossfade.assess.dms_roles import may_be_replica, replica_remedy
from crossfade.assess.registry import WAY_BACK_BY_DMS, Problem, Severity, check
from crossfade.assess.roles import replication_problems
from crossfade.assess.scene import Database
from crossfade.assess.server_settings import wal_level_problems
from crossfade.engines.dms.access import role_of_way_back
from crossfade.migration import Migration
from crossfade.plan import Plan
from crossfade.queries import named_queries
from crossfade.routers.base import Side

_QUERIES = named_queries(__file__)


@check("way_back_dms.wal_level", severity=Severity.BLOCKER, engines=WAY_BACK_BY_DMS)
def wal_of_target_is_logical(target: Database) -> Iterator[Problem]:
    """A target whose WAL AWS DMS could not read."""
    yield from wal_level_problems(target, "AWS DMS reads no way back from it unless it is logical")


@check("way_back_dms.replication_slots", severity=Severity.BLOCKER, engines=WAY_BACK_BY_DMS)
def a_slot_is_free_there(target: Database, plan: Plan) -> Iterator[Problem]:
    """No free replication slot on the target for the task to read from."""
    yield from room.for_slots(target, plan)


@check("way_back_dms.wal_senders", severity=Severity.BLOCKER, engines=WAY_BACK_BY_DMS)
def a_sender_is_free_there(target: Database, plan: Plan) -> Iterator[Problem]:
    """No free WAL sender on the target for the task to read from."""
    yield from room.for_senders(target, plan)


@check("way_back_dms.slot_maker", severity=Severity.BLOCKER, engines=WAY_BACK_BY_DMS)
def slots_can_be_made(source: Database, target: Database) -> Iterator[Problem]:
    """A migration role that may not make the slots: on the target in a cutover, on the source in a rollback."""
    for database in (source, target):
        yield from replication_problems(database, database.endpoint.user)


@check("way_back_dms.reader", severity=Severity.BLOCKER, engines=WAY_BACK_BY_DMS)
def dms_may_read_the_target(target: Database, migration: Migration) -> Iterator[Problem]:
    """What DMS's role lacks that is to read the target: a login, replication; and the right to read, later."""
    name = role_of_way_back(migration, Side.TARGET)
    role = _role(target, name)
    if isinstance(role, Problem):
        yield role
        return
    quoted = sql.Identifier(name).as_string()
    if not role["may_replicate"]:
        grant = f"GRANT rds_replication TO {quoted};" if target.platform.by_aws else f"ALTER ROLE {quoted} REPLICATION;"
        yield Problem(name, "DMS's role of the way back may not replicate on the target", grant)
    if not role["reads_all"]:
        yield Problem(
            name,
            "DMS's role of the way back may not read every table of the target: before the cutover it must be able to "
            "read what moves",
            f"GRANT pg_read_all_data TO {quoted};",
            severity=Severity.WARNING,
        )


@check("way_back_dms.writer", severity=Severity.BLOCKER, engines=WAY_BACK_BY_DMS)
def dms_may_write_to_the_source_only_while_it_is_to(
    source: Database, plan: Plan, migration: Migration
) -> Iterator[Problem]:
    """What DMS's role lacks that is to write to the source, or has too much: a rollback must end its writing."""
    name = role_of_way_back(migration, Side.SOURCE)
    quoted = sql.Identifier(name).as_string()
    own = "dms: {back: {target: …}}  # in the plan: a role that is DMS's alone, by docs/privileges/dms_back_source.sql"
    if name == source.role["rolname"] or name in plan.cutover.application_roles:
        whose = "the migration's" if name == source.role["rolname"] else "an application's"
        yield Problem(name, f"DMS's role of the way back on the source is {whose}: a rollback would lock it out", own)
        return
    role = _role(source, name)
    if isinstance(role, Problem):
        yield role
        return
    if not (role["superuser"] or role["rds_superuser"] or may_be_replica(source, name)):
        seen = "it may not set session_replication_role on the source: triggers would fire for what comes back"
        yield Problem(name, seen, replica_remedy(source, quoted))
    if not role["may_connect"]:
        dbname = sql.Identifier(source.endpoint.dbname).as_string()
        seen = "DMS's role of the way back may not connect to the source, where a cutover tests its endpoint beforehand"
        yield Problem(name, seen, f"GRANT CONNECT ON DATABASE {dbname} TO {quoted};")
    oids = [table.oid for table in source.tables(plan)]
    if writable := [row["name"] for row in source.rows(_QUERIES["writable"], role=name, oids=oids)]:
        yield Problem(
            name,
            f"DMS's role of the way back may write {', '.join(writable[:5])} on the source by itself: a rollback could "
            "not end its writing",
            f"{own}\n-- or take that from {quoted}",
        )


@check("way_back_dms.grants", severity=Severity.BLOCKER, engines=WAY_BACK_BY_DMS)
def it_can_be_let_write(source: Database, plan: Plan) -> Iterator[Problem]:
    """A migration role that could not let DMS write to the source: with a group, and grants of the tables' owner."""
    ours = sql.Identifier(source.role["rolname"]).as_string()
    if source.role["rolsuper"]:
        return
    if not source.role["rolcreaterole"]:
        seen = "it may not make the group through which AWS DMS is to write to the source"
        yield Problem(source.role["rolname"], seen, f"ALTER ROLE {ours} CREATEROLE;")
    owners = sorted({table.owner for table in source.tables(plan)})
    for row in source.rows(_QUERIES["not_ours"], names=owners):
        yield Problem(
            row["name"],
            f"it owns tables that rows come back to, and {ours} is no member of it: it could neither let AWS DMS write "
            "nor make columns nullable meanwhile",
            f"GRANT {sql.Identifier(row['name']).as_string()} TO {ours};",
        )


def _role(database: Database, name: str) -> dict[str, Any] | Problem:
    """DMS's role there, or what is wrong with it."""
    rows = database.rows(_QUERIES["role"], name=name)
    quoted = sql.Identifier(name).as_string()
    dbname = sql.Identifier(database.endpoint.dbname).as_string()
    if not rows:
        script, more = "dms_source.sql", ""
        if database.side is Side.SOURCE:
            script, more = "dms_back_source.sql", f" -v migration={sql.Identifier(database.endpoint.user).as_string()}"
        return Problem(
            name,
            f"DMS is to log in on the {database.side} as this role on the way back, which does not exist there",
            f"psql -v role={quoted} -v password=… -v database={dbname}{more} -f docs/privileges/{script}"
            f"  # on the {database.side}",
        )
    if not rows[0]["login"]:
        seen = f"DMS is to log in on the {database.side} as it, and it may not"
        return Problem(name, seen, f"ALTER ROLE {quoted} LOGIN;")
    return rows[0]
