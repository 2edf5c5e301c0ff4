"""Each check of PgBouncer: a real instance that violates it; a fine one is in `test_report`."""

import os
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from crossfade.assess import Severity, assess
from crossfade.connect import Endpoint
from crossfade.ssh import SshEndpoint
from crossfade_lab.pgbouncer import PgBouncer
from crossfade_lab.sshd import Sshd
from crossfade_lab.testing import scratch_directory

from .conftest import Stage, console


def line(stage: Stage, name: str = "shop", extra: str = "", side: str = "source") -> str:
    server = stage.pair.source if side == "source" else stage.pair.target
    return f"{name} = host=127.0.0.1 port={server.port} dbname=shop {extra}\n"


def reload(stage: Stage, file: Path, *lines: str) -> None:
    file.write_text("[databases]\n" + "".join(lines))
    console(stage, "RELOAD")


def test_a_name_it_does_not_know(stage: Stage, databases_file: Path) -> None:
    reload(stage, databases_file, line(stage, "other"))
    problem = stage.problems("pgbouncer.databases")[0]
    assert (problem.object, "there are: other" in problem.seen) == ("shop on shop_pgbouncer", True)
    assert "shop = host=127.0.0.1" in problem.remedy


@pytest.mark.parametrize(
    ("text", "seen"), [("target", "(target)"), ("elsewhere", "elsewhere.invalid:5432/shop (neither")]
)
def test_an_instance_that_leads_elsewhere(stage: Stage, databases_file: Path, text: str, seen: str) -> None:
    elsewhere = line(stage, side="target") if text == "target" else "shop = host=elsewhere.invalid\n"
    reload(stage, databases_file, elsewhere)
    assert seen in stage.problems("pgbouncer.serves_source")[0].seen


def test_a_name_that_the_plan_forgot(stage: Stage, databases_file: Path) -> None:
    reload(stage, databases_file, line(stage), line(stage, "legacy"), "metrics = host=elsewhere.invalid\n")
    problems = stage.problems("pgbouncer.other_names")
    assert [(problem.object, problem.remedy) for problem in problems] == [
        ("legacy on shop_pgbouncer", "database: [shop, legacy]  # in the plan")
    ]


def test_a_pool_in_session_mode_by_its_database(stage: Stage, databases_file: Path) -> None:
    reload(stage, databases_file, line(stage, extra="pool_mode=session"))
    assert "pool_mode is session (its default)" in stage.problems("pgbouncer.pool_mode")[0].seen


def test_a_pool_in_session_mode_by_its_user(stage: Stage, databases_file: Path) -> None:
    databases_file.write_text("[users]\nshop_app = pool_mode=session\n[databases]\n" + line(stage))
    console(stage, "RELOAD")
    try:
        with psycopg.connect(stage.bouncer.dsn("shop_app", "shop")) as conn:
            conn.execute("SELECT 1")
            problems = stage.problems("pgbouncer.pool_mode")
        assert [problem.seen for problem in problems] == ["pool_mode is session (user shop_app)"]
    finally:
        databases_file.write_text("[users]\nshop_app = pool_mode=transaction\n[databases]\n" + line(stage))
        console(stage, "RELOAD")


@pytest.mark.parametrize(
    ("setting", "check", "severity", "seen"),
    [
        ("server_login_retry = '3'", "pgbouncer.server_login_retry", None, "3 s"),
        ("server_login_retry = '15'", "pgbouncer.server_login_retry", Severity.BLOCKER, "15 s"),
        ("query_wait_timeout = '4'", "pgbouncer.query_wait_timeout", None, "4 s: clients held for max_pause (5 s)"),
        ("query_wait_timeout = '0'", "pgbouncer.query_wait_timeout", None, None),
    ],
)
def test_a_setting_that_hurts_a_cutover(
    stage: Stage, databases_file: Path, setting: str, check: str, severity: Severity | None, seen: str | None
) -> None:
    console(stage, f"SET {setting}")
    problems = stage.problems(check)
    assert [problem.severity for problem in problems] == ([severity] if seen else [])
    assert all(str(seen) in problem.seen for problem in problems)


def test_several_processes_on_one_port(stage: Stage) -> None:
    users, settings = stage.pair.logins.applications(), {"so_reuseport": "1", "auth_user": "looker"}
    with (
        scratch_directory() as directory,
        PgBouncer(directory / "reuse", stage.bouncer.databases, users, settings=settings) as reuse,
    ):
        endpoints = stage.endpoints | {"shop_pgbouncer": Endpoint.from_dsn("reuse", reuse.admin_dsn())}
        other = Stage(stage.pair, stage.bouncer, endpoints)
        assert other.problems("pgbouncer.so_reuseport")[0].object == "so_reuseport on reuse"
        assert "looked up as looker" in other.problems("pgbouncer.auth_user")[0].seen


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        (None, "No such file"),
        ("[databases]\nother = host=x\n", "it has no line for shop"),
        ("[databases]\nshop = host=x # y\n", "line 2"),
    ],
)
def test_a_switch_file_that_cannot_be_used(stage: Stage, databases_file: Path, text: str | None, seen: str) -> None:
    if text is None:
        databases_file.unlink()
    else:
        databases_file.write_text(text)
    assert seen in stage.problems("pgbouncer.switch_file")[0].seen


def test_a_switch_file_that_is_not_ours_to_give_away(
    stage: Stage, databases_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert "chown 12345" in stage.problems("pgbouncer.switch_file")[0].seen


def by_sftp(stage: Stage, *conn_ids: str) -> dict[str, object]:
    switch = {"file": str(stage.bouncer.databases), "via": [f"sftp:{conn_id}" for conn_id in conn_ids]}
    return {"kind": "pgbouncer", "admin": "shop_pgbouncer", "database": "shop", "switch": switch}


def test_a_switch_file_on_another_host(stage: Stage, databases_file: Path) -> None:
    with scratch_directory() as directory, Sshd(directory / "sshd") as sshd:

        def ssh(conn_id: str) -> SshEndpoint:
            endpoint = SshEndpoint.from_uri(conn_id, sshd.uri())
            return endpoint if conn_id == "pool_1" else replace(endpoint, host_key="", known_hosts="/dev/null")

        plan = stage.plan(routers=[by_sftp(stage, "pool_1", "pool_2")])
        found = assess(plan, stage.resolve, ssh=ssh).findings
    # neither may this user write the directory, which is root's or the caller's, nor is the second host known
    seen = {finding.object: finding.seen for finding in found if finding.check == "pgbouncer.switch_file"}
    assert "which nobody vouches for" in seen[f"{databases_file} on sftp:pool_2"]
    if os.geteuid() == 0:
        assert "no file can be created in" in seen[f"{databases_file} on sftp:pool_1"]
    else:
        assert set(seen) == {f"{databases_file} on sftp:pool_2"}


def test_names_of_another_router_are_not_forgotten_ones(stage: Stage, databases_file: Path) -> None:
    reload(stage, databases_file, line(stage), line(stage, "shop_ro", "pool_mode=session"))
    switch = {"file": str(databases_file)}
    readers = {"kind": "pgbouncer", "side": "ro", "admin": "shop_pgbouncer", "database": "shop_ro", "switch": switch}
    plan = stage.plan(routers=[*stage.plan().model_dump(mode="json")["routers"], readers])
    assert stage.problems("pgbouncer.other_names", plan) == []
    (problem,) = stage.problems("pgbouncer.pool_mode", plan)
    assert (problem.object, problem.severity) == ("shop_ro on shop_pgbouncer", Severity.WARNING)
    assert stage.problems("readers.can_follow", plan) == []
