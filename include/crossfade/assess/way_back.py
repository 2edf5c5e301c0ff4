"""The way back: whether rows could go natively from the target to the source once the target serves.

A cutover arms it and proves it before it opens the target, and is refused where that fails: what stands in its way is
found here, before anything is loaded. Plans with ``rollback.way_back: none`` are not asked.
"""

from __future__ import annotations

from collections.abc import Iterator

from psycopg import sql

from crossfade.assess import room
from crossfade.assess.connectivity import probe_problems
from crossfade.assess.registry import WAY_BACK, WAY_BACK_BY_DMS, Problem, Severity, check
from crossfade.assess.roles import replication_problems
from crossfade.assess.scene import Database, Routes
from crossfade.assess.server_settings import wal_level_problems
from crossfade.plan import Plan
from crossfade.queries import named_queries

_QUERIES = named_queries(__file__)
_WITHOUT = "rollback: {way_back: none}  # in the plan, to go without a way back"


@check("way_back.wal_level", severity=Severity.BLOCKER, engines=WAY_BACK)
def wal_of_target_is_logical(target: Database) -> Iterator[Problem]:
    """A target whose WAL cannot be decoded."""
    yield from wal_level_problems(target, "there is no way back unless it is logical")


@check("way_back.replication_slots", severity=Severity.BLOCKER, engines=WAY_BACK)
def slots_are_free_there(target: Database, plan: Plan) -> Iterator[Problem]:
    """Too few free replication slots on the target for one a wave."""
    yield from room.for_slots(target, plan)


@check("way_back.wal_senders", severity=Severity.BLOCKER, engines=WAY_BACK)
def senders_are_free_there(target: Database, plan: Plan) -> Iterator[Problem]:
    """Too few free WAL senders on the target for one a wave."""
    yield from room.for_senders(target, plan)


@check("way_back.apply_workers", severity=Severity.BLOCKER, engines=WAY_BACK)
def apply_workers_are_free_here(source: Database, plan: Plan) -> Iterator[Problem]:
    """Too few free apply workers on the source for one a wave."""
    yield from room.for_apply_workers(source, plan)


@check("way_back.replication_origins", severity=Severity.BLOCKER, engines=WAY_BACK)
def origins_are_free_here(source: Database, plan: Plan) -> Iterator[Problem]:
    """Too few replication origins on the source for one a wave."""
    yield from room.for_origins(source, plan, copying=0)


@check("way_back.subscriber", severity=Severity.BLOCKER, engines=WAY_BACK)
def source_may_subscribe(source: Database) -> Iterator[Problem]:
    """A migration role that may not create subscriptions on the source; before 16 only a superuser may."""
    if not may_subscribe(source):
        role, name = source.role["rolname"], sql.Identifier(source.role["rolname"]).as_string()
        if source.platform.by_aws:
            grant = f"GRANT rds_superuser TO {name};"
        elif source.can.subscriptions_without_superuser:
            grant = f"GRANT pg_create_subscription TO {name};"
        else:
            grant = f"ALTER ROLE {name} SUPERUSER;"
        yield Problem(
            source.endpoint.name,
            f"{role} may not subscribe on PostgreSQL {source.can.major}: the way back can be neither proved nor armed",
            f"{grant}\n-- or: {_WITHOUT}",
        )


def may_subscribe(server: Database) -> bool:
    """Whether the migration role may create subscriptions there; on RDS and Aurora by being rds_superuser."""
    return bool(server.role["rolsuper"] or server.value(_QUERIES["may_subscribe"]))


@check("way_back.publisher", severity=Severity.BLOCKER, engines=WAY_BACK)
def target_may_publish(source: Database, target: Database, plan: Plan) -> Iterator[Problem]:
    """Owners of tables that are roles of the target already, and for whom the migration role may not act there."""
    ours = sql.Identifier(target.role["rolname"]).as_string()
    owners = sorted({table.owner for table in source.tables(plan)})
    for row in target.rows(_QUERIES["not_ours"], names=owners):
        yield Problem(
            row["name"],
            f"it is to own tables on {target.endpoint.name}, and {ours} is no member of it there: only an owner may "
            "publish a table",
            f"GRANT {sql.Identifier(row['name']).as_string()} TO {ours};",
        )


@check("way_back.replication_role", severity=Severity.BLOCKER, engines=WAY_BACK)
def login_of_the_way_back_may_replicate(target: Database, routes: Routes) -> Iterator[Problem]:
    """A role with which the source logs in to the target, and that may not replicate there."""
    yield from replication_problems(target, routes.target_from_source.user)


@check("way_back.route", severity=Severity.BLOCKER, engines=WAY_BACK)
def source_reaches_target(source: Database, target: Database, routes: Routes) -> Iterator[Problem]:
    """A subscription on the source could not connect to the target, or would reach another database."""
    if may_subscribe(source):  # else it cannot be tried, and way_back.subscriber tells
        yield from probe_problems(source, target, routes.target_from_source, "target_from_source")


@check("way_back.smoke", severity=Severity.WARNING, engines=WAY_BACK | WAY_BACK_BY_DMS)
def smoke_can_run_on_the_source(source: Database, plan: Plan) -> Iterator[Problem]:
    """Smoke statements that could not run on the source: a rollback would be refused."""
    role = plan.cutover.application_roles[0]
    if plan.cutover.smoke and source.value(_QUERIES["no_member"], role=role):
        ours = sql.Identifier(source.role["rolname"]).as_string()
        yield Problem(
            role,
            f"the smoke statements run as {role}, of which {ours} is no member on {source.endpoint.name}: a rollback "
            "would be refused",
            f"GRANT {sql.Identifier(role).as_string()} TO {ours};",
        )
