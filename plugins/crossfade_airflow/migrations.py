"""Migrations as Airflow finds them: in the journal on their target or, where that is of no help, on their source."""

from __future__ import annotations

import logging
from functools import cache

from crossfade.cutover import decision
from crossfade.errors import Unreachable
from crossfade.journal import NoMigration
from crossfade.migration import Migration
from crossfade.plan_routers import PgBouncerRouter
from crossfade_airflow.connections import aws_client, http_endpoint, resolver, ssh_endpoint

log = logging.getLogger(__name__)


def pinned_migration(plan: str, target_conn_id: str) -> Migration:
    """The migration as the journal on its target holds it. Raises `NoMigration`, `UnusableConnection`."""
    resolve = resolver(plan)
    return Migration.pinned(plan, resolve(target_conn_id), resolve, aws_client, ssh_endpoint, http_endpoint)


def found_migration(plan: str, target_conn_id: str, source_conn_id: str) -> Migration:
    """
    The migration as the target's journal holds it; failing that, as the source kept it with its last cutover.

    Raises as `pinned_migration`, where the source knows of no cutover either.
    """
    try:
        return pinned_migration(plan, target_conn_id)
    except (Unreachable, NoMigration) as error:
        log.warning("the target's journal is of no help: %s", error)
        resolve = resolver(plan)
        with resolve(source_conn_id).session(f"{plan}/abort") as source:
            attempt = decision.newest(source, plan)
        if attempt is None:
            raise
        return Migration(attempt.plan, resolve, aws_client, ssh_endpoint, http_endpoint)


def at_hand(m: Migration) -> Migration:
    """
    The same migration, which looks every Airflow connection up only once: those of its traffic now.

    Who acts on it later then needs the databases and routers, but no Airflow. Raises `UnusableConnection`.
    """
    kept = Migration(m.plan, cache(m.resolve), cache(m.clients), cache(m.ssh), cache(m.http))
    for database in (kept.source, kept.target, kept.source_from_target, kept.target_from_source):
        log.debug("%s is at %s", database.name, database.address)
    for router in (*kept.routers(), *kept.readers()):
        router.close()
    for entry in m.plan.routers:
        if not isinstance(entry, PgBouncerRouter):
            kept.clients(entry.aws, SERVICES[entry.kind])
    return kept


#: Of AWS, by the kind of router that is switched there.
SERVICES = {"rds_proxy": "rds", "route53": "route53", "secret": "secretsmanager"}
