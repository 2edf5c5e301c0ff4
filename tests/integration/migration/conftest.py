"""A world to migrate in: the shop on 16, an empty 18, PgBouncer before them; and a plan that names them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from crossfade import phases
from crossfade.connect import Endpoint
from crossfade.cutover import fence
from crossfade.migration import Migration
from crossfade.plan import parse_plan
from crossfade.routers.base import Side
from crossfade.validation import run as validation
from crossfade_lab import testing
from crossfade_lab.pgbouncer import PgBouncer
from crossfade_lab.postgres import binaries


@dataclass(frozen=True, kw_only=True)
class World:
    """Servers, poolers and a migration between them."""

    pair: testing.ShopPair
    bouncers: list[PgBouncer]
    m: Migration

    def through_router(self) -> str:
        """How the application connects."""
        return self.bouncers[0].dsn(user="shop_app", dbname="shop")

    def admin(self, side: str) -> psycopg.Connection:
        """A superuser's session on one side."""
        server = self.pair.source if side == "source" else self.pair.target
        return psycopg.connect(server.dsn(dbname="shop"), autocommit=True)

    def open_sides(self) -> list[Side]:
        """Sides that let the application in."""
        found = []
        for side in Side:
            with contextlib.suppress(psycopg.OperationalError):
                psycopg.connect(self.pair.dsn(side.value, "shop_app"), connect_timeout=60).close()
                found.append(side)
        return found

    def can_write(self) -> bool:
        """Whether a client writes through the router; raises where it can not."""
        with psycopg.connect(self.through_router(), connect_timeout=60) as client:
            client.execute("SET statement_timeout = '60s'")
            client.execute("UPDATE orders SET updated_at = now() WHERE id = (SELECT min(id) FROM orders)")
        return True

    def load(self) -> None:
        """Everything up to the validation."""
        for wave in phases.prepare(self.m).waves:
            phases.load_wave(self.m, wave.number)
        phases.harden(self.m)

    def approve(self, run_id: str = "one", approver: str = "alice") -> None:
        """Enter an approval of the cutover."""
        phases.record_approval(self.m, run_id=run_id, approver=approver, approved_at=datetime.now(UTC))

    def state(self) -> dict[str, Any]:
        """What a cutover changes, as it is now."""
        with self.m.session(Side.SOURCE, "look") as source, self.m.session(Side.TARGET, "look") as target:
            subscriptions = target.execute("SELECT subname, subenabled FROM pg_subscription ORDER BY 1").fetchall()
            with self.m.journal() as journal:
                where = journal.get("shop").state
            return {
                "source lets in": fence.may_connect(source),
                "source fenced": fence.is_fenced(source),
                "target fenced": fence.is_fenced(target),
                "streams": subscriptions,
                "journal": where,
                "router": self.m.routers()[0].serving(),
            }


def declare(bouncers: list[PgBouncer], **changes: object) -> dict[str, object]:
    """The plan of the tests."""
    return {
        "source": "shop_source",
        "target": "shop_target",
        "tables": {"include": ["public.*", "billing.*"]},
        "load": {"waves": 2, "jobs": 2, "split_larger_than": "256kB"},
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


def migration(pair: testing.ShopPair, bouncers: list[PgBouncer], **changes: object) -> Migration:
    """A migration between a pair of servers."""
    known = {
        "shop_source": Endpoint.from_dsn("shop_source", pair.dsn("source")),
        "shop_target": Endpoint.from_dsn("shop_target", pair.dsn("target")),
        **{f"console_{n}": Endpoint.from_dsn(f"console_{n}", b.admin_dsn()) for n, b in enumerate(bouncers)},
    }
    return Migration(parse_plan(declare(bouncers, **changes), name="shop"), known.__getitem__)


@pytest.fixture
def make_world(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., World]]:
    """Makes worlds; they end with the test."""
    monkeypatch.setenv("PG_BIN", str(binaries(18)))
    with ExitStack() as stack:

        def make(
            *, rows: int = 2_000, poolers: int = 1, source_major: int = 16, target_major: int = 18, **changes: object
        ) -> World:
            majors = {"source_major": source_major, "target_major": target_major}
            pair = stack.enter_context(testing.shop_pair(rows=rows, **majors))
            if min(majors.values()) < 16:  # only a superuser subscribes there
                for server in (pair.source, pair.target):
                    with server.connect() as admin:
                        admin.execute("ALTER ROLE crossfade SUPERUSER")
            bouncers = stack.enter_context(testing.bouncers(pair.source, pair.logins, count=poolers))
            return World(pair=pair, bouncers=bouncers, m=migration(pair, bouncers, **changes))

        yield make


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """One of them."""
    return make_world()


@pytest.fixture
def ready(world: World) -> World:
    """One whose migration is loaded and validated, but not approved."""
    world.load()
    validation.validate(world.m, run_id="one")
    return world


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """Where a workload enters what it does."""
    return tmp_path / "ledger"
