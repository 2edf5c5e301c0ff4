"""The shop on 16, an empty 18, a PgBouncer; and a server on which nothing is as it should be."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from crossfade.assess import CHECKS, Problem, Report, assess
from crossfade.assess.scene import Database, set_scene
from crossfade.connect import Endpoint
from crossfade.errors import CrossfadeError
from crossfade.plan import Plan, parse_plan
from crossfade.routers.base import Side
from crossfade_lab.pgbouncer import PgBouncer
from crossfade_lab.postgres import PostgresServer, binaries
from crossfade_lab.testing import FAST, ShopPair, bouncers, scratch_directory, server, shop_pair


class NoSuchConnection(CrossfadeError):
    """There is no connection of that id."""


@dataclass
class Stage:
    """A migration of the shop that has nothing wrong with it, to be broken."""

    pair: ShopPair
    bouncer: PgBouncer
    endpoints: dict[str, Endpoint]

    def plan(self, **changes: Any) -> Plan:
        raw: dict[str, Any] = {
            "source": "shop_source",
            "target": "shop_target",
            "tables": {"include": ["public.*", "billing.*"]},
            "routers": [
                {
                    "kind": "pgbouncer",
                    "admin": "shop_pgbouncer",
                    "database": "shop",
                    "switch": {"file": str(self.bouncer.databases)},
                }
            ],
            "cutover": {"approvers": ["operator"], "application_roles": ["shop_app", "shop_bi"]},
        }
        return parse_plan({**raw, **changes}, name="shop")

    def resolve(self, connection_id: str) -> Endpoint:
        try:
            return self.endpoints[connection_id]
        except KeyError:
            raise NoSuchConnection(f"the connection {connection_id!r} is not defined") from None

    def report(self, plan: Plan | None = None, **endpoints: Endpoint) -> Report:
        changed = Stage(self.pair, self.bouncer, {**self.endpoints, **endpoints})
        return assess(plan or self.plan(), changed.resolve)

    def problems(self, check: str, plan: Plan | None = None, **facts: Any) -> list[Problem]:
        """What one check says of the shop, or of the facts given instead."""
        with ExitStack() as stack:
            scene = set_scene(plan or self.plan(), self.resolve, stack)
            return run(check, **{**scene.facts, **facts})

    @contextmanager
    def on(self, side: str, *statements: str, undo: tuple[str, ...] = ()) -> Iterator[psycopg.Connection]:
        """Statements of the superuser in the shop of one side, undone afterwards."""
        chosen = self.pair.source if side == "source" else self.pair.target
        with chosen.connect("shop") as conn:
            try:
                for statement in statements:
                    conn.execute(statement)
                yield conn
            finally:
                for statement in undo:
                    conn.execute(statement)


def run(check: str, **facts: Any) -> list[Problem]:
    """What one check says of given facts."""
    found = CHECKS[check]
    return list(found.function(**{fact: facts[fact] for fact in found.needs}))


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    """The shop's migration."""
    with shop_pair(rows=200) as pair, bouncers(pair.source, pair.logins) as (bouncer,):
        yield Stage(
            pair=pair,
            bouncer=bouncer,
            endpoints={
                "shop_source": Endpoint.from_dsn("shop_source", pair.dsn("source")),
                "shop_target": Endpoint.from_dsn("shop_target", pair.dsn("target")),
                "shop_pgbouncer": Endpoint.from_dsn("shop_pgbouncer", bouncer.admin_dsn()),
            },
        )


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Client programs of 18, as on a worker that is set up."""
    monkeypatch.setenv("PG_BIN", str(binaries(18)))


POOR = {
    "wal_level": "replica",
    "max_wal_senders": "1",
    "max_replication_slots": "1",
    "max_logical_replication_workers": "1",
    "max_worker_processes": "2",
    "max_slot_wal_keep_size": "64MB",
    "default_transaction_read_only": "on",
    "timezone": "Europe/Paris",
}


@contextmanager
def database(running: PostgresServer, user: str = "postgres", dbname: str = "postgres") -> Iterator[Database]:
    """What a check sees of a server; the side does not matter."""
    endpoint = Endpoint.from_dsn("poor", running.dsn(user=user, password="it", dbname=dbname))
    if user == "postgres":
        endpoint = Endpoint.from_dsn("poor", running.dsn(dbname=dbname))
    with endpoint.session("assess", settings={"default_transaction_read_only": "on"}) as conn:
        yield Database(Side.SOURCE, endpoint, conn)


@pytest.fixture(scope="session")
def poor_server() -> Iterator[PostgresServer]:
    """A server of 15 whose settings allow no migration, and a role `nobody` that may do nothing."""
    with server(15, settings=POOR) as running:
        with running.connect() as conn:
            conn.execute("SET default_transaction_read_only = off")
            conn.execute("CREATE ROLE nobody LOGIN PASSWORD 'it'")
            conn.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        yield running


@pytest.fixture
def poor(poor_server: PostgresServer) -> Iterator[Database]:
    """Its database, seen by a superuser."""
    with database(poor_server) as seen:
        yield seen


@pytest.fixture
def poor_as_nobody(poor_server: PostgresServer) -> Iterator[Database]:
    """Its database, seen by `nobody`."""
    with database(poor_server, user="nobody") as seen:
        yield seen


@pytest.fixture(scope="session")
def standby() -> Iterator[Database]:
    """A standby of 16."""
    with scratch_directory() as directory:
        place = directory / "pg16"
        with PostgresServer(place, 16, settings=FAST) as first:
            password = first.password
        signal = place / "data" / "standby.signal"
        signal.touch()
        owner = (place / "data").stat()
        os.chown(signal, owner.st_uid, owner.st_gid)
        with PostgresServer(place, 16, settings=FAST) as running:
            running.password = password
            with database(running) as seen:
                yield seen


@pytest.fixture
def databases_file(stage: Stage) -> Iterator[Path]:
    """PgBouncer's file of databases, put back and reloaded afterwards."""
    file = stage.bouncer.databases
    copy = file.with_name("copy.ini")
    shutil.copy2(file, copy)
    yield file
    copy.replace(file)
    console(stage, "RELOAD")


def console(stage: Stage, *commands: str) -> None:
    """Run commands on PgBouncer's console."""
    with stage.endpoints["shop_pgbouncer"].connect_console() as conn:
        for command in commands:
            conn.execute(command)
