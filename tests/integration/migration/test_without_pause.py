"""A cutover whose only router cannot hold clients: the fence keeps writes off the old side, nothing else changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import psycopg
import pytest
from moto import mock_aws

from crossfade import phases
from crossfade.cutover import order, recovery, rehearsal, steps
from crossfade.cutover.watchdog import Watchdog
from crossfade.errors import PreconditionError
from crossfade.migration import Migration
from crossfade.routers.base import Side
from crossfade.validation import run as validation


@pytest.fixture
def secrets() -> Iterator[Any]:
    """A Secrets Manager within this process."""
    with mock_aws():
        yield boto3.client(
            "secretsmanager", region_name="eu-west-1", aws_access_key_id="lab", aws_secret_access_key="lab"
        )


def versions(secrets: Any) -> dict[str, list[str]]:
    """Every version of the secret, with its labels."""
    listed = secrets.list_secret_version_ids(SecretId="shop/db", IncludeDeprecated=True)["Versions"]
    return {each["VersionId"]: each["VersionStages"] for each in listed}


def fail(step: steps.Step) -> None:
    raise PreconditionError("the statement failed")


def test_a_secret_alone_carries_a_cutover_and_an_undo_never_touches_it(
    make_world: Callable[..., Any], secrets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(routers=[{"kind": "secret", "secret": "shop/db"}])
    m = Migration(world.m.plan, world.m.resolve, lambda conn_id, service: secrets)
    held = {"host": m.source.host, "port": m.source.port, "username": "shop_app", "password": "s3cret"}
    secrets.create_secret(Name="shop/db", SecretString=json.dumps(held))
    before = versions(secrets)
    world.load()
    validation.validate(m, run_id="one")

    shown = rehearsal.rehearse(m)
    assert shown.blockers == ()
    assert ["cannot hold clients" in effect for effect in shown.effects] == [True]
    assert rehearsal.what_would_happen(m)[0] == (
        "pause: nothing: no router can hold clients; the fence ends their sessions"
    )
    assert "clients lose their sessions" in rehearsal.gate_body(m, run_id="one", declared=[])

    phases.record_approval(m, run_id="one", approver="alice", approved_at=datetime.now(UTC))
    with monkeypatch.context() as broken:
        broken.setattr(steps.Smoke, "run", fail)
        with pytest.raises(order.CutoverUndone, match="at the step smoke: the statement failed"):
            order.run(m, run_id="one")
    assert recovery.settle(m).side is Side.SOURCE
    assert versions(secrets) == before
    psycopg.connect(world.pair.dsn("source", "shop_app")).close()

    with psycopg.connect(world.pair.dsn("source", "shop_app")) as client:
        client.execute("SELECT 1")
        order.run(m, run_id="one")
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")
    now = json.loads(secrets.get_secret_value(SecretId="shop/db", VersionStage="AWSCURRENT")["SecretString"])
    assert now == {**held, "port": m.target.port, "host": m.target.host, "dbname": m.target.dbname}
    psycopg.connect(world.pair.dsn("target", "shop_app")).close()
    validation.reconcile(m)


def test_an_abort_after_the_decision_finishes_the_switch(
    make_world: Callable[..., Any], secrets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(routers=[{"kind": "secret", "secret": "shop/db"}])
    m = Migration(world.m.plan, world.m.resolve, lambda conn_id, service: secrets)
    held = {"host": m.source.host, "port": m.source.port}
    secrets.create_secret(Name="shop/db", SecretString=json.dumps(held))
    world.load()
    validation.validate(m, run_id="one")
    phases.record_approval(m, run_id="one", approver="alice", approved_at=datetime.now(UTC))

    class Killed(BaseException):
        """What nothing catches."""

    def die(step: steps.Step) -> None:
        raise Killed

    with monkeypatch.context() as broken, pytest.raises(Killed):
        broken.setattr(steps.Open, "run", die)
        broken.setattr(Watchdog, "go_on_alone", lambda self: None)  # this AWS is in no other process
        order.run(m, run_id="one")
    assert m.routers()[0].serving() is Side.SOURCE
    assert recovery.settle(m).side is Side.TARGET
    assert m.routers()[0].serving() is Side.TARGET
