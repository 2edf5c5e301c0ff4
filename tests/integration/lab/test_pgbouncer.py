"""PgBouncer restarts, shares its file with others, and can be switched by its console alone."""

from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest

from crossfade_lab import testing
from crossfade_lab.pgbouncer import Destination, PgBouncer, write_databases
from crossfade_lab.postgres import PostgresServer
from crossfade_lab.shop.data import Logins


@dataclass
class Pooled:
    server: PostgresServer
    bouncers: list[PgBouncer]

    def database(self, bouncer: PgBouncer) -> str:
        with psycopg.connect(bouncer.dsn("shop_app", "shop"), prepare_threshold=None) as connection:
            row = connection.execute("SELECT current_database()").fetchone()
        assert row is not None
        return str(row[0])


@pytest.fixture(scope="module")
def pooled() -> Iterator[Pooled]:
    with testing.server(18) as server:
        with server.connect() as connection:
            connection.execute("CREATE ROLE shop_app LOGIN PASSWORD 'secret'")
            connection.execute("CREATE DATABASE shop")
            connection.execute("CREATE DATABASE other")
        with testing.bouncers(server, Logins(shop_app="secret"), count=2) as bouncers:
            yield Pooled(server, bouncers)


def console(bouncer: PgBouncer, *commands: str) -> None:
    with psycopg.connect(bouncer.admin_dsn(), autocommit=True) as connection:
        for command in commands:
            connection.execute(command.encode())


def test_a_killed_pgbouncer_serves_again_on_the_same_port(pooled: Pooled) -> None:
    bouncer = pooled.bouncers[0]
    port = bouncer.port
    bouncer.kill()
    assert not bouncer.running
    bouncer.start()
    assert (bouncer.port, pooled.database(bouncer)) == (port, "shop")


def test_instances_follow_their_shared_file(pooled: Pooled) -> None:
    to = {
        name: Destination(host=pooled.server.host, port=pooled.server.port, dbname=name) for name in ("shop", "other")
    }
    try:
        write_databases(pooled.bouncers[0].databases, {"shop": to["other"]})
        for bouncer in pooled.bouncers:
            console(bouncer, "RELOAD")
            assert pooled.database(bouncer) == "other"
    finally:
        write_databases(pooled.bouncers[0].databases, {"shop": to["shop"]})
        for bouncer in pooled.bouncers:
            console(bouncer, "RELOAD")


def test_the_console_alone_switches_between_conffiles(pooled: Pooled) -> None:
    bouncer = pooled.bouncers[1]
    to = {
        name: Destination(host=pooled.server.host, port=pooled.server.port, dbname=name) for name in ("shop", "other")
    }
    files = bouncer.write_conffiles({"source": {"shop": to["shop"]}, "target": {"shop": to["other"]}})
    console(bouncer, "PAUSE", f"SET conffile = '{files['target']}'", "RELOAD", "RESUME")
    assert pooled.database(bouncer) == "other"
    console(bouncer, "PAUSE", f"SET conffile = '{files['source']}'", "RELOAD", "RESUME")
    assert pooled.database(bouncer) == "shop"
