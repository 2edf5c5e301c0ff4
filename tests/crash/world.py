"""A migration that is ready to be cut over, with all that a fault can hit: two servers, two poolers, two lines."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from crossfade import phases
from crossfade.connect import Endpoint
from crossfade.migration import Migration
from crossfade.plan import parse_plan
from crossfade.routers.base import Side
from crossfade.validation import run as validation
from crossfade_lab import testing
from crossfade_lab.pgbouncer import PgBouncer
from crossfade_lab.postgres import PostgresServer, binaries
from crossfade_lab.proxy import Proxy
from crossfade_lab.shop.data import DATABASE, Logins, create_empty_database, grant_migration_role
from crossfade_lab.workload import Spec, WorkloadProcess

PLAN = "shop"
RUN_ID = "crash"
MAX_PAUSE = 5  #: seconds; the plan's budget
CLIENTS = 4
RATE = 100.0  #: transactions a second

#: With the time of each commit and where it came from, the evidence shows which side took a write, and when.
SETTINGS = {"track_commit_timestamp": "on"}


@dataclass(frozen=True, kw_only=True)
class World:
    """Servers, poolers, the lines between the servers, and the migration; see `world`."""

    servers: dict[Side, PostgresServer]
    logins: Logins
    bouncers: list[PgBouncer]
    lines: dict[Side, Proxy]  #: on which the other server reaches this side
    document: dict[str, Any]  #: the plan
    dsns: dict[str, str]  #: connection id -> how it is reached
    m: Migration
    directory: Path  #: ledgers, samples and what processes said

    def dsn(self, side: Side, user: str = "crossfade") -> str:
        """How a role reaches one side, not by way of the poolers."""
        return self.servers[side].dsn(user=user, password=getattr(self.logins, user), dbname=DATABASE)

    def look(self, side: Side) -> psycopg.Connection[Any]:
        """The migration role's session on one side, in autocommit: no fence ends it, and it blocks no cutover."""
        return psycopg.connect(self.dsn(side), autocommit=True, connect_timeout=10, application_name="evidence")

    def through(self, bouncer: PgBouncer) -> str:
        """How the application connects by way of one pooler."""
        return bouncer.dsn(user="shop_app", dbname=DATABASE)

    @property
    def ledger(self) -> Path:
        """Where every workload of this world enters what it does."""
        return self.directory / "ledger"

    def workload(self) -> WorkloadProcess:
        """A write workload by way of both poolers, not started."""
        endpoints = [self.through(bouncer) for bouncer in self.bouncers]
        return WorkloadProcess(Spec(endpoints=endpoints, directory=str(self.ledger), clients=CLIENTS, rate=RATE))


def declare(bouncers: list[PgBouncer]) -> dict[str, Any]:
    """The plan: servers reach each other by way of lines that can be cut, tasks reach them directly."""
    return {
        "source": "shop_source",
        "target": "shop_target",
        "source_from_target": "shop_source_line",
        "target_from_source": "shop_target_line",
        "tables": {"include": ["public.*", "billing.*"]},
        "load": {"waves": 2, "jobs": 2},
        "routers": [
            {
                "kind": "pgbouncer",
                "admin": [f"console_{n}" for n in range(len(bouncers))],
                "database": DATABASE,
                "switch": {"file": str(bouncers[0].databases)},
            }
        ],
        "cutover": {
            "approvers": ["alice"],
            "application_roles": ["shop_app"],
            "max_pause": f"{MAX_PAUSE}s",
            "smoke": ["select 1 from public.orders limit 1"],
        },
    }


def migration(document: dict[str, Any], dsns: dict[str, str]) -> Migration:
    """The plan bound to its connections."""
    known = {name: Endpoint.from_dsn(name, dsn) for name, dsn in dsns.items()}
    return Migration(parse_plan(document, name=PLAN), known.__getitem__)


@contextmanager
def world(*, rows: int = 500, poolers: int = 2) -> Iterator[World]:
    """A world whose migration is loaded, validated and approved; gone at the end."""
    os.environ.setdefault("PG_BIN", str(binaries(18)))
    with ExitStack() as stack:
        servers = {
            Side.SOURCE: stack.enter_context(testing.server(16, settings=SETTINGS)),
            Side.TARGET: stack.enter_context(testing.server(18, settings=SETTINGS)),
        }
        logins = stack.enter_context(testing.shop(servers[Side.SOURCE], rows=rows))
        create_empty_database(servers[Side.TARGET])
        grant_migration_role(servers[Side.TARGET], logins, "target.sql")
        bouncers = stack.enter_context(testing.bouncers(servers[Side.SOURCE], logins, count=poolers))
        lines = {side: stack.enter_context(Proxy(server.host, server.port)) for side, server in servers.items()}
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="crossfade-crash-"))
        reached = {
            side: server.dsn(user="crossfade", password=logins.crossfade, dbname=DATABASE)
            for side, server in servers.items()
        }
        dsns = {
            **{f"shop_{side}": dsn for side, dsn in reached.items()},
            **{f"shop_{side}_line": make_conninfo(dsn, port=lines[side].port) for side, dsn in reached.items()},
            **{f"console_{n}": bouncer.admin_dsn() for n, bouncer in enumerate(bouncers)},
        }
        document = declare(bouncers)
        made = World(
            servers=servers,
            logins=logins,
            bouncers=bouncers,
            lines=lines,
            document=document,
            dsns=dsns,
            m=migration(document, dsns),
            directory=Path(scratch),
        )
        load(made.m)
        yield made


def load(m: Migration) -> None:
    """Everything of a migration up to the approval."""
    for wave in phases.prepare(m).waves:
        phases.load_wave(m, wave.number)
    phases.harden(m)
    validation.validate(m, run_id=RUN_ID)
    phases.record_approval(m, run_id=RUN_ID, approver="alice", approved_at=datetime.now(UTC))
    phases.record_rollback_approval(m, run_id=RUN_ID, approver="alice", approved_at=datetime.now(UTC))


def as_json(world: World, **more: object) -> str:
    """What another process needs to act on this world, in one line."""
    return json.dumps({"document": world.document, "dsns": world.dsns, **more})
