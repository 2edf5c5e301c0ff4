"""PgBouncer: whether its instances can hold, move and release the plan's clients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from crossfade.assess.registry import Problem, Severity, check
from crossfade.assess.scene import Pooler
from crossfade.plan import Plan
from crossfade.routers.base import Side
from crossfade.routers.pgbouncer_console import Observation

Poolers = Sequence[Pooler]
SOON = 1.0  #: seconds of server_login_retry that nobody notices


def _instances(poolers: Poolers) -> Iterator[tuple[Pooler, str, Observation]]:
    for pooler in poolers:
        for name, seen in pooler.instances.items():
            yield pooler, name, seen


@check("pgbouncer.databases", severity=Severity.BLOCKER)
def every_name_is_known(poolers: Poolers) -> Iterator[Problem]:
    """Database names of the plan that an instance does not know."""
    for pooler, name, seen in _instances(poolers):
        for database in pooler.entry.database:
            if database not in seen.databases:
                known = ", ".join(each for each in seen.databases if each != "pgbouncer")
                yield Problem(
                    f"{database} on {name}",
                    f"no such database; there are: {known or 'none'}",
                    f"[databases]\n{database} = {_connection_string(pooler)}",
                )


@check("pgbouncer.serves_source", severity=Severity.BLOCKER)
def every_instance_leads_to_the_source(poolers: Poolers) -> Iterator[Problem]:
    """Instances that lead elsewhere than to the plan's source."""
    for pooler, name, seen in _instances(poolers):
        for database in pooler.entry.database:
            shown = seen.databases.get(database)
            if shown is None:  # pgbouncer.databases tells
                continue
            side = pooler.fleet.sides.of(shown.destination)
            if side is not Side.SOURCE:
                where = f"{shown.destination} ({side.value if side else 'neither source nor target'})"
                yield Problem(
                    f"{database} on {name}",
                    f"it leads to {where}, the source is {pooler.fleet.sides.at[Side.SOURCE]}",
                    f"[databases]\n{database} = {_connection_string(pooler)}\n; then, on its console: RELOAD;",
                )


def _connection_string(pooler: Pooler) -> str:
    at = pooler.fleet.sides.at[Side.SOURCE]
    return f"host={at.host} port={at.port} dbname={at.dbname}"


@check("pgbouncer.other_names", severity=Severity.WARNING)
def no_other_name_leads_to_the_source(poolers: Poolers) -> Iterator[Problem]:
    """Database names that lead to the source and that the plan does not move: the fence would fail their clients."""
    named = {database for pooler in poolers for database in pooler.entry.database}
    for pooler, name, seen in _instances(poolers):
        for database, shown in seen.databases.items():
            if database not in named and pooler.fleet.sides.of(shown.destination) is Side.SOURCE:
                yield Problem(
                    f"{database} on {name}",
                    "it leads to the source too, but the plan does not name it: its clients are neither held nor moved",
                    f"database: [{', '.join((*pooler.entry.database, database))}]  # in the plan",
                )


@check("pgbouncer.pool_mode", severity=Severity.BLOCKER)
def pool_mode_is_transaction(poolers: Poolers) -> Iterator[Problem]:
    """Pools in session mode: PAUSE would wait until their clients leave."""
    for pooler, name, seen in _instances(poolers):
        default = seen.settings["pool_mode"]
        for database in pooler.entry.database:
            declared = seen.databases[database].pool_mode if database in seen.databases else ""
            modes = {f"user {pool.user}": pool.pool_mode for pool in seen.pools if pool.database == database}
            modes["its default"] = declared or default
            for whose, mode in modes.items():
                if mode == "session":
                    yield Problem(
                        f"{database} on {name}",
                        f"pool_mode is session ({whose})",
                        "[pgbouncer]\npool_mode = transaction\n; nor session in [databases] and [users]; then RELOAD;",
                        severity=Severity.WARNING if pooler.entry.side == "ro" else None,
                    )


@check("pgbouncer.server_login_retry", severity=Severity.WARNING)
def logins_are_tried_again_soon(poolers: Poolers, plan: Plan) -> Iterator[Problem]:
    """A pause between two tries to log in, for which one refused login stalls every client (default: 15 s)."""
    budget = plan.cutover.max_pause.total_seconds()
    for _, name, seen in _instances(poolers):
        seconds = float(seen.settings["server_login_retry"])
        if seconds > SOON:
            yield Problem(
                f"server_login_retry on {name}",
                f"{seconds:g} s: a login that fails in the cutover stalls clients so long (max_pause is {budget:g} s)",
                "[pgbouncer]\nserver_login_retry = 1\n; then RELOAD;",
                severity=Severity.BLOCKER if seconds > budget else None,
            )


@check("pgbouncer.query_wait_timeout", severity=Severity.BLOCKER)
def held_clients_are_not_dropped(poolers: Poolers, plan: Plan) -> Iterator[Problem]:
    """A wait after which PgBouncer drops held clients, shorter than the pause may last."""
    budget = plan.cutover.max_pause.total_seconds()
    for _, name, seen in _instances(poolers):
        seconds = float(seen.settings["query_wait_timeout"])
        if 0 < seconds <= budget:
            yield Problem(
                f"query_wait_timeout on {name}",
                f"{seconds:g} s: clients held for max_pause ({budget:g} s) would be disconnected",
                "[pgbouncer]\nquery_wait_timeout = 120\n; then RELOAD;",
            )


@check("pgbouncer.so_reuseport", severity=Severity.BLOCKER)
def every_process_has_a_console(poolers: Poolers) -> Iterator[Problem]:
    """Several processes on one port: a PAUSE reaches only one of them, by chance."""
    for _, name, seen in _instances(poolers):
        if seen.settings.get("so_reuseport", "0") != "0":
            yield Problem(
                f"so_reuseport on {name}",
                "on: the port may be shared with other processes, which a PAUSE does not reach",
                "[pgbouncer]\nso_reuseport = 0\n; or give each process a console of its own (port or socket), "
                "and name them all in 'admin'",
            )


@check("pgbouncer.switch_file", severity=Severity.BLOCKER)
def switch_file_can_be_rewritten(poolers: Poolers) -> Iterator[Problem]:
    """A switch file that is missing, not ours to replace, not to be understood, or without our names."""
    for pooler in poolers:
        for unusable in pooler.fleet.switch_problems():
            where = f"{unusable.file} on {unusable.host}" if unusable.host else unusable.file
            yield Problem(where, unusable.problem, _example(unusable.file, pooler))


def _example(file: str, pooler: Pooler) -> str:
    lines = "\n".join(f"{database} = {_connection_string(pooler)}" for database in pooler.entry.database)
    return f"; in pgbouncer.ini: %include {file}\n; in {file}, which Crossfade may replace:\n[databases]\n{lines}"


@check("pgbouncer.auth_user", severity=Severity.NOTE)
def auth_user_is_known(poolers: Poolers) -> Iterator[Problem]:
    """Instances that look passwords up with auth_query: that role and its function must be on the target too."""
    for _, name, seen in _instances(poolers):
        if user := seen.settings.get("auth_user"):
            yield Problem(
                f"auth_user on {name}",
                f"passwords are looked up as {user}, also on the target once it serves",
                f"-- on the target, before the cutover: the role {user}, its password, and what auth_query calls:\n"
                f"-- {seen.settings.get('auth_query', '')}",
            )
