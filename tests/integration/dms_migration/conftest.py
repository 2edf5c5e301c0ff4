"""Worlds for migrations with the engine dms: 16, an empty 18, a local AWS beside them, and a plan.

A `world` has the shop, and PgBouncer before it. Small worlds have tables of their test's, in a database of their own;
they share their servers, the local AWS with one replication instance, and have a secret for a router.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import Any

import psycopg
import pytest
from psycopg import sql

from crossfade import phases
from crossfade.connect import Endpoint
from crossfade.engines.dms import phases as dms_phases
from crossfade.engines.dms import task, waiting
from crossfade.engines.dms.connections import proved
from crossfade.engines.dms.failures import failure_of
from crossfade.engines.dms.resource import name_of
from crossfade.engines.dms.statistics import statistics
from crossfade.migration import Migration
from crossfade.plan import parse_plan
from crossfade.validation import run as validation
from crossfade_lab import testing
from crossfade_lab.aws.local import LocalAws
from crossfade_lab.pgbouncer import PgBouncer
from crossfade_lab.postgres import binaries
from crossfade_lab.processes import wait_until
from crossfade_lab.shop import data as shop
from crossfade_lab.shop.data import Engine


@dataclass(frozen=True, kw_only=True)
class World:
    """Servers, a pooler, a local AWS, and a migration between them."""

    pair: testing.ShopPair
    bouncers: list[PgBouncer]
    aws: LocalAws
    m: Migration
    database: str = shop.DATABASE

    def admin(self, side: str) -> psycopg.Connection[tuple[Any, ...]]:
        """A superuser's session on one side."""
        server = self.pair.source if side == "source" else self.pair.target
        return psycopg.connect(server.dsn(dbname=self.database), autocommit=True)

    def execute(self, side: str, statement: str) -> None:
        """As a superuser."""
        with self.admin(side) as conn:
            conn.execute(statement.encode())

    def value(self, side: str, query: str) -> Any:
        """The first column of the first row, read by a superuser."""
        with self.admin(side) as conn:
            row = conn.execute(query.encode()).fetchone()
            return row[0] if row else None

    @property
    def task(self) -> task.TaskState:
        """The replication task as AWS tells it."""
        return task.existing(self.dms, name_of(self.m.plan.name))

    @property
    def dms(self) -> Any:
        """AWS DMS."""
        return self.aws.client("dms")

    def provide(self) -> None:
        """Everything up to the task's creation."""
        phases.prepare(self.m)
        dms_phases.provision(self.m)
        dms_phases.size_lobs(self.m)
        dms_phases.drop_not_null(self.m)
        dms_phases.create_task(self.m, dms_phases.define_task(self.m))

    def load(self) -> None:
        """Start the task and wait for the consistent point, as the sensor does. Raises what broke it."""
        dms_phases.start_task(self.m)
        assert wait_until(self.loaded, seconds=120, every=0.1), self.task

    def loaded(self) -> bool:
        """Whether the load has stopped at its consistent point. Raises the failure that the task's state is."""
        state = self.task
        if failure := failure_of(state, statistics(self.dms, state.arn)):
            raise failure
        return state.at_consistent_point

    def stream(self) -> None:
        """From the consistent point to the validation."""
        dms_phases.load_finished(self.m)
        phases.harden(self.m)
        dms_phases.resume_task(self.m)

    def complete(self) -> None:
        """Everything up to the validation."""
        self.provide()
        self.load()
        self.stream()

    def planned(self, **changes: Any) -> World:
        """The same world with another section `dms` of its plan."""
        document = json.loads(self.m.plan.to_json())
        document["dms"] = {**document["dms"], **changes}
        return replace(self, m=Migration(parse_plan(document, name=self.m.plan.name), self.m.resolve, self.m.clients))

    def with_password(self, conn_id: str, password: str) -> World:
        """The same world where a connection has another password."""

        def resolve(asked: str) -> Endpoint:
            known = self.m.resolve(asked)
            return replace(known, password=password) if asked == conn_id else known

        return replace(self, m=Migration(self.m.plan, resolve, self.m.clients))

    def endpoint(self, side: str, *, instance: str, settings: dict[str, Any]) -> str:
        """An endpoint made by somebody else, its connection tested; its ARN."""
        login = self.m.resolve(f"dms_{side}")
        made = self.dms.create_endpoint(
            EndpointIdentifier=f"given-{self.database}-{side}",
            EndpointType=side,
            EngineName="postgres",
            ServerName=login.host,
            Port=login.port,
            DatabaseName=login.dbname,
            Username=login.user,
            Password=login.password,
            SslMode="none",
            PostgreSQLSettings=settings,
        )
        arn = str(made["Endpoint"]["EndpointArn"])
        self.dms.test_connection(ReplicationInstanceArn=instance, EndpointArn=arn)
        assert wait_until(lambda: proved(self.dms, instance_arn=instance, endpoint_arn=arn), seconds=60, every=0.1)
        return arn

    def rows(self, side: str, query: str) -> list[tuple[Any, ...]]:
        """What a query says, asked by a superuser."""
        with self.admin(side) as conn:
            return conn.execute(query.encode()).fetchall()

    def arrives(self, query: str) -> None:
        """Wait until a query says the same on both sides."""
        wanted = self.rows("source", query)
        assert wait_until(lambda: self.rows("target", query) == wanted, seconds=60, every=0.05), (
            f"{query}: {self.rows('target', query)} instead of {wanted}; {self.task}"
        )

    def equal(self) -> None:
        """Every row and definition is the same on both sides. Raises `MismatchFound`."""
        validation.validate(self.m, run_id="one")

    def fails(self) -> Any:
        """Wait until the task's state is an error, and return that."""
        assert wait_until(lambda: self._failure() is not None, seconds=60, every=0.1), self.task
        return self._failure()

    def _failure(self) -> Any:
        state = self.task
        return failure_of(state, statistics(self.dms, state.arn))

    def approve(self) -> None:
        """A person's yes to the newest validation."""
        phases.record_approval(self.m, run_id="one", approver="alice", approved_at=datetime.now(UTC))

    def end(self) -> None:
        """End the task and its slot, whatever the test left: the servers are shared."""
        if found := task.describe(self.dms, name_of(self.m.plan.name)):
            self.aws.kill_worker(found.arn)
        with self.admin("source") as conn:
            conn.execute(
                "SELECT pg_terminate_backend(active_pid, 60000) FROM pg_replication_slots"
                " WHERE database = current_database() AND active"
            )
            conn.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                " WHERE database = current_database()"
            )


def declare(bouncers: list[PgBouncer], **changes: Any) -> dict[str, Any]:
    """The plan of the tests."""
    return {
        "source": "shop_source",
        "target": "shop_target",
        "engine": "dms",
        "dms": {
            "instance": {"class": "dms.r6i.large"},
            "source": {"connection": "dms_source", "tls": "none"},
            "target": {"connection": "dms_target", "tls": "none"},
            **changes.pop("dms", {}),
        },
        "tables": {"include": ["public.*", "billing.*"]},
        "routers": [
            {
                "kind": "pgbouncer",
                "admin": [f"console_{n}" for n in range(len(bouncers))],
                "database": "shop",
                "switch": {"file": str(bouncers[0].databases)},
            }
        ],
        "cutover": {
            "approvers": ["alice"],
            "application_roles": ["shop_app"],
            "smoke": ["select 1 from public.orders limit 1"],
        },
        **changes,
    }


def migration(pair: testing.ShopPair, bouncers: list[PgBouncer], aws: LocalAws, **changes: Any) -> Migration:
    """A migration between a pair of servers, through a local AWS."""
    known = {
        "shop_source": Endpoint.from_dsn("shop_source", pair.dsn("source")),
        "shop_target": Endpoint.from_dsn("shop_target", pair.dsn("target")),
        "dms_source": Endpoint.from_dsn("dms_source", pair.dsn("source", "shop_dms")),
        "dms_target": Endpoint.from_dsn("dms_target", pair.dsn("target", "shop_dms")),
        **{f"console_{n}": Endpoint.from_dsn(f"console_{n}", b.admin_dsn()) for n, b in enumerate(bouncers)},
    }
    plan = parse_plan(declare(bouncers, **changes), name="shop")
    return Migration(plan, known.__getitem__, lambda conn_id, service: aws.client(service))


@pytest.fixture(autouse=True, scope="module")
def _impatient() -> Iterator[None]:
    """Questions to the local AWS in quick succession; pg_dump of the target's version."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waiting, "POLL_SECONDS", 0.1)
        patch.setenv("PG_BIN", str(binaries(18)))
        yield


@pytest.fixture
def make_world() -> Iterator[Callable[..., World]]:
    """Makes worlds; they end with the test."""
    with ExitStack() as stack:
        yield partial(_made, stack)


def _made(stack: ExitStack, *, rows: int = 2_000, **changes: Any) -> World:
    pair = stack.enter_context(testing.shop_pair(rows=rows, engine=Engine.DMS))
    bouncers = stack.enter_context(testing.bouncers(pair.source, pair.logins))
    aws = stack.enter_context(LocalAws(stack.enter_context(testing.scratch_directory())))
    return World(pair=pair, bouncers=bouncers, aws=aws, m=migration(pair, bouncers, aws, **changes))


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """One of them."""
    return make_world()


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What small worlds share: a pair of servers with the roles, a local AWS, a replication instance."""

    pair: testing.ShopPair
    aws: LocalAws
    instance: str  #: ARN


_numbers = count(1)


@pytest.fixture(scope="session")
def ground() -> Iterator[Ground]:
    """Servers with an empty database `shop`, of which small worlds make copies."""
    with ExitStack() as stack:
        source, target = stack.enter_context(testing.cluster_pair())
        logins = shop.Logins()
        passwords = {
            "owner_password": logins.shop_owner,
            "app_password": logins.shop_app,
            "bi_password": logins.shop_bi,
        }
        source.psql(shop.SQL / "roles.sql", dbname="postgres", variables=passwords)
        shop.grant_migration_role(source, logins, "source.sql")
        shop.create_empty_database(target)
        shop.grant_migration_role(target, logins, "target.sql")
        shop.grant_dms_roles(source, target, logins)
        aws = stack.enter_context(LocalAws(stack.enter_context(testing.scratch_directory())))
        dms = aws.client("dms")
        made = dms.create_replication_instance(
            ReplicationInstanceIdentifier="shared",
            ReplicationInstanceClass="dms.r6i.large",
            AllocatedStorage=50,
        )
        arn = made["ReplicationInstance"]["ReplicationInstanceArn"]
        by_arn = [{"Name": "replication-instance-arn", "Values": [arn]}]
        dms.get_waiter("replication_instance_available").wait(Filters=by_arn, WaiterConfig={"Delay": 1})
        pair = testing.ShopPair(source=source, target=target, logins=logins)
        yield Ground(pair=pair, aws=aws, instance=arn)


@pytest.fixture(scope="module")
def small_world(ground: Ground, _impatient: None) -> Iterator[Callable[..., World]]:
    """Makes small worlds of the statements that make their tables; they end with the module."""
    with ExitStack() as stack:
        yield partial(_small, stack, ground)


def _small(stack: ExitStack, ground: Ground, *statements: str, **changes: Any) -> World:
    """
    :param statements: run by the owner on the source
    :param changes: of the plan
    """
    pair, name = ground.pair, f"small{next(_numbers)}"
    database = sql.Identifier(name)
    with pair.source.connect() as conn:
        conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE shop OWNER shop_owner").format(database))
        conn.execute(sql.SQL("GRANT CREATE, CONNECT ON DATABASE {} TO crossfade, shop_dms").format(database))
    with pair.target.connect() as conn:
        conn.execute(sql.SQL("CREATE DATABASE {} TEMPLATE shop OWNER crossfade").format(database))
    with psycopg.connect(pair.source.dsn(user="shop_owner", password=pair.logins.shop_owner, dbname=name)) as conn:
        for statement in statements:
            conn.execute(statement.encode())
    secret = {"host": pair.source.host, "port": pair.source.port, "dbname": name, "username": "shop_app"}
    ground.aws.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps(secret))

    def endpoint(conn_id: str) -> Endpoint:
        side = "source" if conn_id.endswith("source") else "target"
        role = "shop_dms" if conn_id.startswith("dms") else "crossfade"
        server = pair.source if side == "source" else pair.target
        return Endpoint.from_dsn(conn_id, server.dsn(user=role, password=getattr(pair.logins, role), dbname=name))

    dms = {**changes.pop("dms", {})}
    settings = {"ChangeProcessingTuning": {"MinTransactionSize": 1}, **dms.pop("settings", {})}  # at once
    declared = {
        "source": "shop_source",
        "target": "shop_target",
        "engine": "dms",
        "dms": {
            "instance": ground.instance,
            "source": {"connection": "dms_source", "tls": "none"},
            "target": {"connection": "dms_target", "tls": "none"},
            "settings": settings,
            **dms,
        },
        "tables": {"include": ["public.*"]},
        "routers": [{"kind": "secret", "secret": name}],
        "cutover": {"approvers": ["alice"], "application_roles": ["shop_app"], "smoke": ["select 1"]},
        **changes,
    }
    m = Migration(parse_plan(declared, name=name), endpoint, lambda conn_id, service: ground.aws.client(service))
    world = World(pair=pair, bouncers=[], aws=ground.aws, m=m, database=name)
    stack.callback(world.end)
    return world
