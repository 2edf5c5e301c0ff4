"""A whole cutover where the poolers' file is on another host, and readers are led to a replica of the target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import psycopg

from crossfade import phases
from crossfade.connect import Endpoint
from crossfade.cutover import order
from crossfade.migration import Migration
from crossfade.plan import parse_plan
from crossfade.routers.base import Side
from crossfade.ssh import SshEndpoint
from crossfade.validation import run as validation
from crossfade_lab import processes
from crossfade_lab.pgbouncer import Destination, write_databases
from crossfade_lab.sshd import Sshd
from crossfade_lab.standby import Standby
from crossfade_lab.testing import scratch_directory

from .conftest import declare


def test_writers_and_readers_are_led_to_the_target_by_a_file_on_another_host(make_world: Callable[..., Any]) -> None:
    world = make_world(poolers=2)
    source, file = world.pair.source, world.bouncers[0].databases
    there = Destination(host=source.host, port=source.port, dbname="shop")
    write_databases(file, {"shop": there, "shop_ro": there})
    for path in (file, file.parent):  # the SSH user's, which the poolers run as
        processes.give_to_service_user(path)
    for bouncer in world.bouncers:
        bouncer.restart()
    with (
        scratch_directory() as directory,
        Sshd(directory / "sshd") as sshd,
        Standby(directory / "replica", world.pair.target) as replica,
    ):

        def resolve(conn_id: str) -> Endpoint:
            if conn_id == "replica":
                return replace(world.m.target, name=conn_id, port=replica.port)
            return world.m.resolve(conn_id)

        rw = declare(world.bouncers)["routers"][0] | {"switch": {"file": str(file), "via": "sftp:pool"}}
        ro = rw | {"side": "ro", "database": "shop_ro", "target": "replica"}
        plan = parse_plan(declare(world.bouncers, routers=[rw, ro]), name="shop")
        m = Migration(plan, resolve, ssh=lambda conn_id: SshEndpoint.from_uri(conn_id, sshd.uri()))
        replace(world, m=m).load()
        validation.validate(m, run_id="one")
        phases.record_approval(m, run_id="one", approver="alice", approved_at=datetime.now(UTC))

        order.run(m, run_id="one")

        assert [router.serving() for router in (*m.routers(), *m.readers())] == [Side.TARGET, Side.TARGET]
        for bouncer in world.bouncers:
            assert port_seen(bouncer.dsn("shop_app", "shop")) == world.pair.target.port
            assert port_seen(bouncer.dsn("shop_app", "shop_ro")) == replica.port


def port_seen(dsn: str) -> int:
    """Port of the server that a client reaches."""
    with psycopg.connect(dsn, connect_timeout=30) as conn:
        row = conn.execute("SELECT current_setting('port')::int").fetchone()
        assert row is not None
        return int(row[0])
