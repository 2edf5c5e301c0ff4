"""Cleaning up by the command and in Airflow: the gate, who may, and one going on where the other stopped."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.sdk.exceptions import AirflowSkipException
from typer.testing import CliRunner

from crossfade import phases, remains
from crossfade.cleanup import NotApproved
from crossfade.cleanup_gate import gate_body
from crossfade.cli import app
from crossfade.cutover import order
from crossfade.routers.base import Side
from crossfade.validation import run as validation
from crossfade.watch import InDanger
from crossfade_airflow.operators import CleanupOperator, GuardOperator
from crossfade_lab.catalogs import catalogs, differences

from .conftest import declare

SIDES = {"plan": "shop", "target_conn_id": "shop_target", "source_conn_id": "shop_source"}
RUN = {"run_id": "manual"}


@pytest.fixture
def plan(world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The world's plan in a file, its connections in the environment: the command's, and Airflow's."""
    file = tmp_path / "shop.yaml"
    file.write_text(yaml.safe_dump(declare(world.bouncers)))
    monkeypatch.setenv("CROSSFADE_PLANS", str(tmp_path))
    for name in ("shop_source", "shop_target", *world.m.plan.routers[0].admin):
        at = world.m.resolve(name)
        monkeypatch.setenv(f"CROSSFADE_DSN_{name.upper()}", at.conninfo())
        connection = {"conn_type": "postgres", "host": at.host, "port": at.port, "schema": at.dbname}
        connection |= {"login": at.user, "password": at.password}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
    return str(file)


def run(*arguments: str, typed: str = "") -> tuple[int, str]:
    outcome = CliRunner().invoke(app, list(arguments), input=typed, env={"COLUMNS": "200"})
    return outcome.exit_code, " ".join(outcome.output.split())


def guard() -> GuardOperator:
    return GuardOperator(task_id="watch", plan_file="shop.yaml", **SIDES)


def test_from_the_first_look_of_the_guard_to_the_end(world: Any, plan: str, tmp_path: Path) -> None:
    with pytest.raises(AirflowSkipException, match="no migration"):
        guard().execute(RUN)
    with world.admin("source") as admin:
        before = catalogs(admin)
    world.load()
    validation.validate(world.m, run_id="one")
    phases.record_approval(world.m, run_id="one", approver="alice", approved_at=datetime.now(UTC))
    order.run(world.m, run_id="one")
    seen = guard().execute(RUN)
    assert seen["state"] == "cut over" and seen["lag_seconds"] is not None
    with world.admin("source") as admin:
        admin.execute("ALTER SUBSCRIPTION crossfade_shop_1_back DISABLE")
        with pytest.raises(InDanger, match="attention: the subscription crossfade_shop_1_back on the source"):
            guard().execute(RUN)

    body = gate_body(world.m, run_id="manual", declared=["load.waves: 2 -> 3"])
    for said in (
        "Nothing stands in the way right now",
        "| the way back is promised | **for 47 h 59 min more",
        "subscription `crossfade_shop_2_back` on the source",
        "slot `crossfade_shop_2_back` on the target",
        "the schema `crossfade` of the target, with the journal",
        "load.waves: 2 -> 3",
        "there is no way back afterwards",
    ):
        assert said in body
    cleaning = CleanupOperator(task_id="cleanup", reopen_source="True", **SIDES)
    with pytest.raises(NotApproved, match="clear approve_cleanup"):
        cleaning.execute(RUN)
    status, said = run("cleanup", plan)
    assert (status, "promised for 47 h" in said) == (1, True)
    status, said = run("cleanup", plan, "--early", typed="shopp\n")
    assert (status, "not the plan's name" in said) == (1, True)

    def fail(conn: Any) -> None:
        if conn.info.port == world.pair.source.port:
            raise remains.InTheWay("a fault of this test")
        real(conn)

    real = remains.drop_schema
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remains, "drop_schema", fail)
        status, said = run("cleanup", plan, "--early", "--reopen-source", typed="shop\n")
    assert (status, "a fault of this test" in said) == (1, True)

    done = cleaning.execute(RUN)  # the target's journal has gone: the source knows

    assert done["reopening"] == ()
    assert "the schema crossfade of the source" in done["removed"]
    with world.admin("source") as admin:
        assert differences(before, catalogs(admin)) == []
    with pytest.raises(AirflowSkipException):
        guard().execute(RUN)
    assert world.m.routers()[0].serving() is Side.TARGET


@pytest.mark.slow
def test_the_command_keeps_the_journal_and_says_how_to_open_the_source(world: Any, plan: str, tmp_path: Path) -> None:
    world.load()
    validation.validate(world.m, run_id="one")
    phases.record_approval(world.m, run_id="one", approver="alice", approved_at=datetime.now(UTC))
    order.run(world.m, run_id="one")
    journal = tmp_path / "journal.json"

    status, said = run("cleanup", plan, "--early", "--journal", str(journal), typed="shop\n")

    assert status == 0, said
    assert "GRANT CONNECT ON DATABASE" in said and "there is no way back" in said
    kept = json.loads(journal.read_text())
    assert kept["target"]["approval"][0]["approver"] == "alice"
    assert kept["source"]["fence"][0]["plan"] == "shop"
