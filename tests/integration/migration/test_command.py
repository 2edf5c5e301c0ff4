"""The command `crossfade`, which needs no Airflow: connections come from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from crossfade import phases
from crossfade.cli import app

from .conftest import declare


@pytest.fixture
def plan(world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The world's plan in a file, its connections in the environment."""
    file = tmp_path / "shop.yaml"
    file.write_text(yaml.safe_dump(declare(world.bouncers)))
    for connection in ("shop_source", "shop_target", *world.m.plan.routers[0].admin):
        monkeypatch.setenv(f"CROSSFADE_DSN_{connection.upper()}", world.m.resolve(connection).conninfo())
    return str(file)


def run(*arguments: str) -> tuple[int, str]:
    outcome = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200"})
    return outcome.exit_code, " ".join(outcome.output.split())


def test_a_migration_can_be_followed_and_given_up(world: Any, plan: str) -> None:
    status, said = run("assess", plan)
    assert status == 0, said
    world.load()

    status, said = run("status", plan)
    assert status == 0
    assert "shop: active" in said
    assert "public.orders" in said and "streaming" in said
    assert run("compare", plan) == (0, "no difference")
    assert run("validate", plan)[0] == 0

    status, said = run("abort", plan)
    assert (status, "the source serves" in said) == (0, True)
    status, said = run("abort", plan, "--abandon")
    assert (status, "Its streams are dropped" in said) == (0, True)


def test_a_blocker_is_exit_status_1_with_its_remedy(world: Any, plan: str) -> None:
    with world.admin("source") as source:
        source.execute("CREATE TABLE public.keyless (a int); ALTER TABLE public.keyless OWNER TO shop_owner")
    status, said = run("assess", plan)
    assert status == 1
    assert "public.keyless" in said
    assert "ALTER TABLE" in said


def test_any_two_databases_are_compared_by_their_dsns(
    world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.load()
    source, target = (world.m.resolve(f"shop_{side}").conninfo() for side in ("source", "target"))
    given = [
        "validate",
        "--source",
        source,
        "--target",
        target,
        "--tables",
        "public.*",
        "--report",
        str(tmp_path / "r"),
    ]
    monkeypatch.chdir(tmp_path)  # no plan is needed
    status, said = run(*given)
    assert (status, "sequence public.orders_id_seq would hand out numbers again" in said) == (1, True)
    with world.admin("target") as admin:
        admin.execute(
            "SELECT setval(format('%I.%I', schemaname, sequencename), least(max_value, 1000000)) FROM pg_sequences"
        )
    status, said = run(*given)
    assert status == 0, said

    with world.admin("target") as admin:
        admin.execute("SET session_replication_role = replica")
        admin.execute("UPDATE customers SET name = name || ' ' WHERE id = 7")
    status, said = run(*given)
    assert status == 1
    assert "public.customers: (id=7) differs in name" in said, said
    page = next(page.read_text() for page in (tmp_path / "r").rglob("*.html") if page.stem in said)
    assert "public.customers" in page
    password = world.m.resolve("shop_source").password
    assert password not in said and password not in page

    status, said = run("validate", "--source", "postgresql://nobody@127.0.0.1:1/nowhere", "--target", target)
    assert status == 2
    assert "connections: cannot connect to source (127.0.0.1:1/nowhere)" in said
    assert run("validate", "--source", source)[0] == 2


def test_a_difference_is_exit_status_1(world: Any, plan: str) -> None:
    phases.prepare(world.m)
    status, said = run("compare", plan)
    assert status == 1
    assert "orders_pkey" in said


def test_what_is_missing_is_one_clear_line(plan: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CROSSFADE_DSN_SHOP_SOURCE")
    status, said = run("abort", plan)
    assert status == 1
    assert "set CROSSFADE_DSN_SHOP_SOURCE to its DSN" in said
    status, said = run("status", "nowhere")
    assert (status, "nowhere.yaml: there is no such file" in said) == (1, True)
