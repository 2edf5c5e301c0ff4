"""Server settings: versions, roles of the servers, WAL, slots and workers."""

from __future__ import annotations

from collections.abc import Iterator

from crossfade.assess import room
from crossfade.assess.platform import change_of
from crossfade.assess.registry import Problem, Severity, check
from crossfade.assess.scene import Database
from crossfade.plan import Plan

OLDEST_SOURCE = 14  #: parts by ctid (TID range scans), pg_stat_progress_copy


@check("server.version", severity=Severity.BLOCKER)
def versions_fit(source: Database, target: Database) -> Iterator[Problem]:
    """A source that is too old, or newer than the target."""
    if source.can.major < OLDEST_SOURCE:
        yield Problem(
            source.endpoint.name,
            f"PostgreSQL {source.can.version}; the oldest source is {OLDEST_SOURCE}",
            f"Upgrade the source to {OLDEST_SOURCE} or newer first (pg_upgrade, or the provider's in-place upgrade)",
        )
    if target.can.major < source.can.major:
        yield Problem(
            target.endpoint.name,
            f"the target is PostgreSQL {target.can.version}, older than the source's {source.can.version}: "
            "what only the newer one knows cannot be restored",
            f"Use a target of PostgreSQL {source.can.major} or newer",
            severity=Severity.WARNING,
        )


@check("server.subscriptions", severity=Severity.BLOCKER, engines={"logical"})
def target_may_subscribe(target: Database) -> Iterator[Problem]:
    """A target whose migration role cannot create subscriptions because the server is too old."""
    if not target.can.subscriptions_without_superuser and not target.role["rolsuper"]:
        yield Problem(
            target.endpoint.name,
            f"on PostgreSQL {target.can.version} only superusers subscribe, and {target.role['rolname']} is none",
            "Use a target of PostgreSQL 16 or newer, or a superuser as the migration role",
        )


@check("server.source_is_primary", severity=Severity.BLOCKER)
def source_is_primary(source: Database) -> Iterator[Problem]:
    """A source that is a standby: it cannot be fenced, and takes no publication."""
    if source.value("SELECT pg_is_in_recovery()"):
        yield Problem(
            source.endpoint.name, "it is a standby", "Let the connection lead to the primary, or SELECT pg_promote();"
        )


@check("server.target_is_writable", severity=Severity.BLOCKER)
def target_is_writable(target: Database) -> Iterator[Problem]:
    """A target that takes no writes: a standby, or set read-only."""
    if target.value("SELECT pg_is_in_recovery()"):
        yield Problem(
            target.endpoint.name, "it is a standby", "Let the connection lead to the primary, or SELECT pg_promote();"
        )
    elif target.setting("default_transaction_read_only") == "on":
        yield Problem(
            target.endpoint.name,
            "default_transaction_read_only is on for the migration role",
            "ALTER SYSTEM RESET default_transaction_read_only; SELECT pg_reload_conf();\n"
            "-- it may also be set for the database or the role: see pg_db_role_setting",
        )


@check("server.wal_level", severity=Severity.BLOCKER)
def wal_is_logical(source: Database) -> Iterator[Problem]:
    """A source whose WAL cannot be decoded."""
    yield from wal_level_problems(source, "it must be logical")


def wal_level_problems(server: Database, consequence: str) -> Iterator[Problem]:
    """A problem where the WAL of that server cannot be decoded. :param consequence: what follows from it, in words"""
    level = server.setting("wal_level")
    if level != "logical":
        yield Problem(
            "wal_level",
            f"{level} on {server.endpoint.name}; {consequence}",
            change_of(server.platform, server.endpoint, "wal_level", "logical", restart=True),
        )


@check("server.replication_slots", severity=Severity.BLOCKER, engines={"logical"})
def slots_are_free(source: Database, plan: Plan) -> Iterator[Problem]:
    """Too few free replication slots on the source for one a wave."""
    yield from room.for_slots(source, plan)


@check("server.wal_senders", severity=Severity.BLOCKER, engines={"logical"})
def senders_are_free(source: Database, plan: Plan) -> Iterator[Problem]:
    """Too few free WAL senders on the source for one a wave."""
    yield from room.for_senders(source, plan)


@check("server.apply_workers", severity=Severity.BLOCKER, engines={"logical"})
def apply_workers_are_free(target: Database, plan: Plan) -> Iterator[Problem]:
    """Too few free apply workers on the target for one a wave."""
    yield from room.for_apply_workers(target, plan)


@check("server.replication_origins", severity=Severity.BLOCKER, engines={"logical"})
def origins_are_free(target: Database, plan: Plan) -> Iterator[Problem]:
    """Too few replication origins on the target for one a wave and one a copying connection."""
    yield from room.for_origins(target, plan, copying=plan.load.jobs if plan.engine == "logical" else 0)


@check("server.slot_keep_size", severity=Severity.WARNING)
def slots_are_kept(source: Database) -> Iterator[Problem]:
    """A source that throws away the WAL of a slot that falls behind: the load would have to begin anew."""
    limit = int(source.setting("max_slot_wal_keep_size"))
    if limit != -1:
        yield Problem(
            "max_slot_wal_keep_size",
            f"{limit} MB on {source.endpoint.name}: a slot further behind is lost, and what it streams loaded anew. "
            "Without a limit, watch the disk",
            change_of(source.platform, source.endpoint, "max_slot_wal_keep_size", -1, restart=False),
        )
