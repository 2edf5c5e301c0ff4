"""Read traffic through a real PgBouncer is led to a real standby, once that holds what was committed before."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import psycopg.sql
import pytest

from crossfade.assess.readers import readers_can_follow
from crossfade.connect import Endpoint
from crossfade.cutover import readers
from crossfade.cutover.readers import ReadersLeftBehind
from crossfade.errors import TransientError
from crossfade.migration import Migration
from crossfade.plan import parse_plan
from crossfade.routers.base import Side
from crossfade_lab import processes
from crossfade_lab.pgbouncer import Destination, PgBouncer, write_databases
from crossfade_lab.postgres import PostgresServer
from crossfade_lab.standby import Standby
from crossfade_lab.testing import scratch_directory, server

from .test_pgbouncer import paused

APP, MIGRATION, PASSWORD = "app", "crossfade", "it's"
DATABASE = "naïve shop"


def soon(seconds: float = 60.0) -> float:
    return time.monotonic() + seconds


@dataclass
class World:
    """A source, a target with a replica, and a PgBouncer that leads readers to the source."""

    source: PostgresServer
    target: PostgresServer
    replica: Standby
    bouncer: PgBouncer
    endpoints: dict[str, Endpoint] = field(default_factory=dict)

    def migration(self, **entry: Any) -> Migration:
        """A plan with one router of readers, which are led to the replica unless another target is given."""
        raw = {
            "source": "source",
            "target": "target",
            "routers": [self.router(database="shop"), self.router(side="ro", **{"target": "replica", **entry})],
            "cutover": {"approvers": ["a"], "application_roles": [APP]},
        }
        return Migration(parse_plan(raw, name="shop"), self.endpoints.__getitem__)

    def router(self, *, database: str = "shop_ro", **more: Any) -> dict[str, Any]:
        switch = {"file": str(self.bouncer.databases)}
        return {"kind": "pgbouncer", "admin": "pool", "database": database, "switch": switch, **more}

    def port_seen(self, name: str = "shop_ro") -> int:
        """Port of the server that a reader reaches."""
        with psycopg.connect(self.bouncer.dsn(APP, name), connect_timeout=30) as conn:
            row = conn.execute("SELECT current_setting('port')::int").fetchone()
            assert row is not None
            return int(row[0])

    def commit(self) -> str:
        """A row on the target, and where its WAL is after it."""
        with self.target.connect(DATABASE) as conn:
            conn.execute("INSERT INTO written VALUES (1)")
            row = conn.execute("SELECT pg_current_wal_lsn()::text").fetchone()
            assert row is not None
            return str(row[0])


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[PostgresServer, PostgresServer, Standby]]:
    with server(16) as source, server(16) as target, scratch_directory() as directory:
        for each in (source, target):
            with each.connect() as conn:
                for role in (APP, MIGRATION):
                    conn.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'it''s'")
                conn.execute(f'CREATE DATABASE "{DATABASE}"')
            with each.connect(DATABASE) as conn:
                conn.execute("CREATE TABLE written (n int)")
        with Standby(directory / "replica", target) as replica:
            yield source, target, replica


@pytest.fixture
def world(servers: tuple[PostgresServer, PostgresServer, Standby]) -> Iterator[World]:
    source, target, replica = servers
    with scratch_directory() as directory:
        file = directory / "databases.ini"
        there = Destination(host="127.0.0.1", port=source.port, dbname=f"'{DATABASE}'")
        write_databases(file, {"shop": there, "shop_ro": there, "shop_bi": there})
        with PgBouncer(directory / "pool", file, {APP: PASSWORD}) as bouncer:
            found = World(source, target, replica, bouncer)
            for name, each in (("source", source), ("target", target), ("replica", replica)):
                dsn = each.dsn(user=MIGRATION, password=PASSWORD, dbname=DATABASE)
                found.endpoints[name] = Endpoint.from_dsn(name, dsn)
            found.endpoints["pool"] = Endpoint.from_dsn("pool", bouncer.admin_dsn())
            yield found


@contextmanager
def replay_held(world: World) -> Iterator[None]:
    world.replica.hold_replay()
    try:
        yield
    finally:
        world.replica.let_replay()


def test_routers_of_readers_are_no_part_of_what_writers_are_led_by(world: World) -> None:
    m = world.migration()
    assert [router.label for router in m.routers()] == ["PgBouncer shop"]
    assert [router.label for router in m.readers()] == ["PgBouncer shop_ro"]
    assert [endpoint.name for side in Side for endpoint in m.reader_endpoints(side)] == ["source", "replica"]
    default = world.migration(target=None)
    assert [endpoint.name for endpoint in default.reader_endpoints(Side.TARGET)] == ["target"]


def test_readers_are_led_to_the_replica_once_it_holds_what_was_committed(world: World) -> None:
    m = world.migration()
    failed: list[Exception] = []

    def switch(lsn: str) -> None:
        try:
            readers.switch(m, Side.TARGET, lsn, soon())
        except Exception as error:
            failed.append(error)

    with replay_held(world):
        switching = threading.Thread(target=switch, args=(world.commit(),))
        switching.start()
        assert asked(world.replica, "crossfade/shop/readers")
        assert world.port_seen() == world.source.port
        assert switching.is_alive()
    switching.join(60)
    assert failed == []
    assert world.port_seen() == world.replica.port
    assert world.port_seen("shop") == world.source.port
    with world.replica.connect(DATABASE) as conn:
        assert conn.execute("SELECT count(*) > 0 FROM written").fetchone() == (True,)
    readers.switch(m, Side.TARGET, world.commit(), soon())  # again is nothing
    readers.switch(m, Side.SOURCE, "FFFFFFFF/0", soon())  # the source is no standby: nothing to wait for
    assert world.port_seen() == world.source.port


def asked(standby: Standby, application_name: str) -> bool:
    """Whether that session comes to be there."""

    def there() -> bool:
        with standby.connect() as conn:
            query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
            return conn.execute(query, [application_name]).fetchone() != (0,)

    return processes.wait_until(there, seconds=30)


def test_a_replica_inherits_the_fence_and_its_end_before_readers_are_led_there(world: World) -> None:
    with world.target.connect(DATABASE) as primary:
        name = psycopg.sql.Identifier(DATABASE)
        primary.execute(psycopg.sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(name))
        try:
            assert processes.wait_until(lambda: not lets_in(world.replica), seconds=30)
        finally:
            world.replica.hold_replay()
            primary.execute(psycopg.sql.SQL("GRANT CONNECT ON DATABASE {} TO PUBLIC").format(name))
    assert not lets_in(world.replica)
    lsn = world.commit()
    world.replica.let_replay()
    world.endpoints["replica"] = Endpoint.from_dsn("replica", world.replica.dsn(dbname=DATABASE))  # not fenced off
    readers.switch(world.migration(), Side.TARGET, lsn, soon())
    assert world.port_seen() == world.replica.port


def lets_in(running: PostgresServer) -> bool:
    """Whether the application can log in there."""
    try:
        psycopg.connect(running.dsn(user=APP, password=PASSWORD, dbname=DATABASE)).close()
    except psycopg.OperationalError as error:
        assert "permission denied for database" in str(error)
        return False
    return True


def test_a_replica_that_is_late_leaves_its_readers_where_they_were_and_delays_no_other(world: World) -> None:
    m = world.migration()
    raw = {**m.plan.model_dump(by_alias=True, exclude={"name"}, mode="json")}
    raw["routers"].append(world.router(side="ro", database="shop_bi"))
    both = Migration(parse_plan(raw, name="shop"), world.endpoints.__getitem__)
    with replay_held(world), ExitStack() as stack:
        opened = [stack.enter_context(router) for router in both.readers()]
        readers.hold(opened, soon())
        assert paused(world.endpoints["pool"])
        late = r"PgBouncer shop_ro: replaying up to .* on replica .* was not done within"
        with pytest.raises(ReadersLeftBehind, match=late) as caught:
            readers.switch(both, Side.TARGET, world.commit(), soon(0.3), opened)
        assert isinstance(caught.value, TransientError)
        assert set(caught.value.left) == {"PgBouncer shop_ro"}
        assert not paused(world.endpoints["pool"])
        assert world.port_seen("shop_ro") == world.source.port
        assert world.port_seen("shop_bi") == world.target.port


def test_a_replica_that_is_down_leaves_its_readers_where_they_were(world: World) -> None:
    m = world.migration()
    world.replica.stop()
    try:
        with pytest.raises(ReadersLeftBehind, match="cannot connect to replica"):
            readers.switch(m, Side.TARGET, world.commit(), soon(0.2))
        (obstacle,) = readers.obstacles(m)
        assert "cannot connect to replica" in obstacle
    finally:
        world.replica.start()
    assert world.port_seen() == world.source.port
    readers.switch(m, Side.TARGET, world.commit(), soon())
    assert world.port_seen() == world.replica.port


def test_readers_are_held_and_let_go(world: World) -> None:
    m = world.migration()
    with ExitStack() as stack:
        opened = [stack.enter_context(router) for router in m.readers()]
        readers.hold(opened, soon())
        assert paused(world.endpoints["pool"])
        assert world.port_seen("shop") == world.source.port  # writers are not
        assert readers.release(opened) == []
        assert not paused(world.endpoints["pool"])
        assert readers.release(opened) == []


def test_readers_that_cannot_be_held_flow_on(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with ExitStack() as stack:
        opened = [stack.enter_context(router) for router in world.migration().readers()]
        with psycopg.connect(world.bouncer.dsn(APP, "shop_ro")) as conn:
            conn.execute("SELECT 1")  # in a transaction
            readers.hold(opened, soon(0.3))
            assert "read traffic is not held, it flows on" in caplog.text
            conn.execute("SELECT 1")
        assert not paused(world.endpoints["pool"])


def test_a_dead_pooler_is_told_and_raises_nothing(world: World) -> None:
    m = world.migration()
    world.bouncer.kill()
    opened = m.readers()
    readers.hold(opened, soon(1))
    (problem,) = readers.release(opened)
    assert "pool" in problem
    with pytest.raises(ReadersLeftBehind, match="pool"):
        readers.switch(m, Side.TARGET, world.commit(), soon())


# --- what stands in the way


def test_nothing_stands_in_the_way_of_readers_that_can_follow(world: World) -> None:
    assert readers.obstacles(world.migration()) == []
    assert readers.obstacles(world.migration(target=None)) == []
    assert list(readers_can_follow(world.migration())) == []


def test_a_router_that_leads_elsewhere_is_an_obstacle(world: World) -> None:
    m = world.migration()
    readers.switch(m, Side.TARGET, world.commit(), soon())
    assert readers.obstacles(m) == [
        "the router PgBouncer shop_ro, of read traffic, does not lead to the source: lead it there"
    ]
    assert [problem.seen for problem in readers_can_follow(m)] == readers.obstacles(m)


def test_a_database_that_is_no_replica_of_the_target_is_an_obstacle(world: World) -> None:
    world.endpoints["stranger"] = world.endpoints["source"].with_database("postgres")
    (obstacle,) = readers.obstacles(world.migration(target="stranger"))
    assert "is neither the target nor a replica of it: its system identifier differs" in obstacle


def test_a_replica_that_lags_is_an_obstacle(world: World) -> None:
    with replay_held(world), world.target.connect(DATABASE) as conn:
        conn.execute("INSERT INTO written SELECT generate_series(1, 40000)")
        (obstacle,) = readers.obstacles(world.migration())
    assert "replica (127.0.0.1:" in obstacle
    assert "bytes behind the target, the plan allows 1048576" in obstacle


def test_a_replica_that_was_promoted_is_an_obstacle(world: World) -> None:
    with scratch_directory() as directory, Standby(directory / "promoted", world.target) as promoted:
        promoted.promote()
        dsn = promoted.dsn(user=MIGRATION, password=PASSWORD, dbname=DATABASE)
        world.endpoints["promoted"] = Endpoint.from_dsn("promoted", dsn)
        (obstacle,) = readers.obstacles(world.migration(target="promoted"))
    assert "was promoted and follows the target no longer" in obstacle
