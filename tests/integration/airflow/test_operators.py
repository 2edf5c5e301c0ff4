"""Operators for users' own DAGs, against a real PgBouncer and real databases."""

import json
import threading
import time

import psycopg
import pytest
import yaml

from crossfade import control
from crossfade.cutover import decision
from crossfade.errors import CrossfadeError, Unreachable
from crossfade.plan import parse_plan, plans_directory
from crossfade.routers.base import Direction, PauseTimeout, Side
from crossfade_airflow.operators import (
    AbortOperator,
    PgBouncerPauseOperator,
    PgBouncerReloadOperator,
    PgBouncerResumeOperator,
    ResetSequencesOperator,
)
from crossfade_airflow.operators.pgbouncer_reload import ReloadWithoutEffect
from crossfade_lab import testing
from crossfade_lab.pgbouncer import ADMIN
from crossfade_lab.testing import lead_to

FLEET = {"console_conn_ids": ["pooler_1", "pooler_2"], "database": "shop"}


@pytest.fixture(scope="module")
def world():
    """The shop on one server, two PgBouncers before it."""
    with testing.server(16) as server, testing.shop(server) as logins, testing.bouncers(server, logins, count=2) as two:
        yield server, two


@pytest.fixture(autouse=True)
def connections(world, monkeypatch):
    server, bouncers = world
    whole = {"conn_type": "postgres", "host": server.host, "login": server.user, "password": server.password}
    for side in ("source", "target"):
        found = {**whole, "port": server.port, "schema": f"numbers_{side}"}
        monkeypatch.setenv(f"AIRFLOW_CONN_NUMBERS_{side.upper()}", json.dumps(found))
    monkeypatch.setenv("AIRFLOW_CONN_NOBODY", json.dumps({**whole, "port": 1, "schema": "x"}))
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps({**whole, "port": server.port, "schema": "shop"}))
    for number, bouncer in enumerate(bouncers, 1):
        console = {**whole, "port": bouncer.port, "schema": "pgbouncer"}
        console |= {"login": ADMIN, "password": bouncer.admin_password}
        monkeypatch.setenv(f"AIRFLOW_CONN_POOLER_{number}", json.dumps(console))
    yield
    PgBouncerResumeOperator(task_id="resume", **FLEET).execute({})


def connect(bouncer):
    return psycopg.connect(bouncer.dsn("shop_app", "shop"), autocommit=True, prepare_threshold=None)


def test_clients_wait_from_pause_to_resume_on_every_instance(world):
    seconds = []

    def ask(bouncer):
        start = time.monotonic()
        with connect(bouncer) as connection:
            connection.execute("SELECT 1")
        seconds.append(time.monotonic() - start)

    PgBouncerPauseOperator(task_id="pause", **FLEET).execute({})
    clients = [threading.Thread(target=ask, args=[bouncer]) for bouncer in world[1]]
    for client in clients:
        client.start()
    time.sleep(0.7)
    assert seconds == []
    PgBouncerResumeOperator(task_id="resume", **FLEET).execute({})
    for client in clients:
        client.join(60)
    assert len(seconds) == 2
    assert min(seconds) > 0.6


def test_a_pause_that_can_not_be_had_in_time_holds_nobody(world):
    with connect(world[1][0]) as busy, busy.transaction():
        busy.execute("SELECT 1")
        with pytest.raises(PauseTimeout):
            PgBouncerPauseOperator(task_id="pause", timeout=0.3, **FLEET).execute({})
        with connect(world[1][0]) as other:
            assert other.execute("SELECT 1").fetchone() == (1,)


def test_an_instance_that_is_down_does_not_keep_the_others_paused(world):
    PgBouncerPauseOperator(task_id="pause", **FLEET).execute({})
    with pytest.raises(CrossfadeError, match="nobody"):
        resume = PgBouncerResumeOperator(
            task_id="resume", console_conn_ids=["nobody", "pooler_1", "pooler_2"], database="shop"
        )
        resume.execute({})
    for bouncer in world[1]:
        with connect(bouncer) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_reload_tells_where_clients_are_led(world):
    server, _ = world
    expected = f"{server.host}:{server.port}/shop"
    seen = PgBouncerReloadOperator(task_id="reload", leads_to=expected, **FLEET).execute({})
    assert seen == {"pooler_1": {"shop": expected}, "pooler_2": {"shop": expected}}


def test_a_reload_that_had_no_effect_fails_although_pgbouncer_reports_success(world):
    server, bouncers = world
    bouncers[0].databases.write_text("[databases\nthis is broken")
    try:
        with pytest.raises(ReloadWithoutEffect, match=r"not to elsewhere:5432/shop"):
            PgBouncerReloadOperator(task_id="reload", leads_to="elsewhere:5432/shop", **FLEET).execute({})
    finally:
        lead_to(bouncers[0].databases, server)


@pytest.fixture
def numbers(world):
    """Two databases with sequences."""
    server, _ = world
    sides = []
    for side in ("source", "target"):
        with server.connect() as admin:
            admin.execute(f"CREATE DATABASE numbers_{side}")
        sides.append(server.connect(f"numbers_{side}"))
        sides[-1].execute("CREATE SEQUENCE behind; CREATE SEQUENCE ahead")
    yield sides
    for side, connection in zip(("source", "target"), sides, strict=True):
        connection.close()
        with server.connect() as admin:
            admin.execute(f"DROP DATABASE numbers_{side} WITH (FORCE)")


def test_sequences_are_set_ahead_by_the_margin_and_never_back(numbers):
    source, target = numbers
    source.execute("CREATE SEQUENCE only_here")
    source.execute("SELECT setval('behind', 500), setval('ahead', 10)")
    target.execute("SELECT setval('ahead', 9000)")
    reset = ResetSequencesOperator(
        task_id="reset", source_conn_id="numbers_source", target_conn_id="numbers_target", margin=100
    )
    assert reset.execute({}) == 1
    assert target.execute("SELECT nextval('behind'), nextval('ahead')").fetchone() == (601, 9001)
    assert reset.execute({}) == 0


def test_an_abort_finds_the_plan_on_the_source_where_the_target_is_dead(world):
    plan = parse_plan(yaml.safe_load((plans_directory() / "shop.yaml").read_text()), name="shop")
    abort = AbortOperator(task_id="abort", plan="shop", target_conn_id="nobody", source_conn_id="shop")
    with pytest.raises(Unreachable, match="nobody"):  # no cutover was begun: there is nothing to go by
        abort.migration()
    with world[0].connect("shop", row_factory=psycopg.rows.dict_row) as source:
        control.install(source, Side.SOURCE)
        decision.open_attempt(source, source, plan, Direction.FORWARD)
    assert abort.migration().plan == plan
