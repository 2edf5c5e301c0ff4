"""Each check of the way back: a real server that violates it, and one that does not (`test_report` has that one)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from crossfade.assess import Problem, Severity, checks_for
from crossfade.assess.scene import Database, Routes
from crossfade_lab.postgres import PostgresServer
from crossfade_lab.testing import server

from .conftest import Stage, database, run

WITHOUT = {"rollback": {"way_back": "none"}}


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, problems
    return problems[0]


def back(stage: Stage, **changes: object) -> Routes:
    """The routes of the shop, with another one back."""
    there = replace(stage.endpoints["shop_target"], **changes)  # type: ignore[arg-type]
    return Routes(source_from_target=stage.endpoints["shop_source"], target_from_source=there)


def test_a_plan_that_wants_no_way_back_is_not_asked(stage: Stage) -> None:
    asked, without = ({check.id for check in checks_for(plan)} for plan in (stage.plan(), stage.plan(**WITHOUT)))
    assert len(asked - without) == 10
    assert {id.split(".")[0] for id in asked - without} == {"way_back"}
    assert without <= asked


@pytest.mark.parametrize(
    ("check", "object", "seen"),
    [
        ("way_back.wal_level", "wal_level", "replica on poor; there is no way back"),
        ("way_back.replication_slots", "max_replication_slots", "1 on poor, 0 taken by others; the plan needs 4"),
        ("way_back.wal_senders", "max_wal_senders", "1 on poor, 0 taken by others; the plan needs 4"),
        ("way_back.apply_workers", "max_logical_replication_workers", "1 on poor, 0 taken"),
        ("way_back.replication_origins", "max_replication_slots", "1 on poor, 0 taken by others; the plan needs 4"),
    ],
)
def test_a_server_without_room_for_the_way_back(
    stage: Stage, poor: Database, check: str, object: str, seen: str
) -> None:
    problem = run(check, source=poor, target=poor, plan=stage.plan(load={"waves": 4, "jobs": 2}))[0]
    assert problem.object == object
    assert seen in problem.seen
    assert problem.remedy
    assert stage.problems(check) == []


@pytest.fixture(scope="module")
def crowded() -> Iterator[PostgresServer]:
    """A server of 18 with one replication origin less than waves."""
    with server(18, settings={"max_active_replication_origins": "1"}) as running:
        yield running


def test_from_18_on_origins_have_a_setting_of_their_own(stage: Stage, crowded: PostgresServer) -> None:
    with database(crowded) as seen:
        problem = only(run("way_back.replication_origins", source=seen, plan=stage.plan(load={"waves": 2})))
        assert problem.object == "max_active_replication_origins"
        assert run("way_back.replication_origins", source=seen, plan=stage.plan(load={"waves": 1})) == []


def test_slots_of_the_way_back_that_are_there_already_take_no_room(stage: Stage) -> None:
    plan = stage.plan(load={"waves": 20})
    assert stage.problems("way_back.replication_slots", plan) == []
    undo = ("SELECT pg_drop_replication_slot('crossfade_shop_1_back')", "SELECT pg_drop_replication_slot('theirs')")
    with stage.on("target", "SELECT pg_create_logical_replication_slot('theirs', 'pgoutput')", undo=undo) as conn:
        assert "1 taken by others" in only(stage.problems("way_back.replication_slots", plan)).seen
        conn.execute("SELECT pg_create_logical_replication_slot('crossfade_shop_1_back', 'pgoutput')")
        assert "1 taken by others" in only(stage.problems("way_back.replication_slots", plan)).seen


def test_a_role_that_may_not_subscribe_on_the_source(stage: Stage) -> None:
    assert stage.problems("way_back.subscriber") == []
    undo = ("GRANT pg_create_subscription TO crossfade",)
    with stage.on("source", "REVOKE pg_create_subscription FROM crossfade", undo=undo) as conn:
        problem = only(stage.problems("way_back.subscriber"))
        assert problem.remedy.splitlines()[0] == 'GRANT pg_create_subscription TO "crossfade";'
        assert "way_back: none" in problem.remedy
        assert stage.problems("way_back.route") == []  # it cannot be tried
        conn.execute(problem.remedy.splitlines()[0])
        assert stage.problems("way_back.subscriber") == []


def test_on_rds_its_superuser_may_subscribe(stage: Stage) -> None:
    made = ("REVOKE pg_create_subscription FROM crossfade", "CREATE ROLE rds_superuser")
    undo = ("DROP ROLE rds_superuser", "GRANT pg_create_subscription TO crossfade")
    with stage.on("source", *made, undo=undo) as conn:
        remedy = only(stage.problems("way_back.subscriber")).remedy.splitlines()[0]
        assert remedy == 'GRANT rds_superuser TO "crossfade";'
        conn.execute(remedy)
        assert stage.problems("way_back.subscriber") == []


def test_before_16_only_a_superuser_subscribes(poor_as_nobody: Database, poor: Database) -> None:
    problem = only(run("way_back.subscriber", source=poor_as_nobody))
    assert "PostgreSQL 15" in problem.seen
    assert problem.remedy.startswith('ALTER ROLE "nobody" SUPERUSER;')
    assert run("way_back.subscriber", source=poor) == []


def test_an_owner_that_is_on_the_target_already_and_for_whom_nobody_may_act(stage: Stage) -> None:
    assert stage.problems("way_back.publisher") == []
    with stage.on("target", "CREATE ROLE shop_owner", undo=("DROP ROLE shop_owner",)) as conn:
        problem = only(stage.problems("way_back.publisher"))
        assert problem.remedy == 'GRANT "shop_owner" TO "crossfade";'
        conn.execute(problem.remedy)
        assert stage.problems("way_back.publisher") == []


def test_the_login_of_the_way_back_must_replicate_on_the_target(stage: Stage) -> None:
    assert stage.problems("way_back.replication_role") == []
    missing = only(stage.problems("way_back.replication_role", routes=back(stage, user='naïve"role')))
    assert missing.seen == "there is no such role on the target"
    assert missing.remedy.startswith('CREATE ROLE "naïve""role" LOGIN REPLICATION')
    undo = ("ALTER ROLE crossfade REPLICATION",)
    with stage.on("target", "ALTER ROLE crossfade NOREPLICATION", undo=undo) as conn:
        problem = only(stage.problems("way_back.replication_role"))
        assert "may not replicate on the target" in problem.seen
        conn.execute(problem.remedy)
        assert stage.problems("way_back.replication_role") == []


@pytest.mark.parametrize(
    ("changes", "seen"),
    [({"password": "wrong"}, "password authentication failed"), ({"port": 1}, "refused")],
)
def test_a_route_back_that_a_subscription_could_not_take(stage: Stage, changes: dict[str, object], seen: str) -> None:
    assert stage.problems("way_back.route") == []
    problem = only(stage.problems("way_back.route", routes=back(stage, **changes)))
    assert "the source's server could not connect" in problem.seen
    assert seen in problem.seen
    assert "wrong" not in problem.seen  # the password stays secret
    assert "'target_from_source'" in problem.remedy


def test_smoke_statements_that_could_not_run_on_the_source(stage: Stage) -> None:
    cutover = {"approvers": ["operator"], "application_roles": ["shop_app"], "smoke": ["select 1"]}
    plan = stage.plan(cutover=cutover)
    assert stage.problems("way_back.smoke", plan) == []
    with stage.on("source", "REVOKE shop_app FROM crossfade", undo=("GRANT shop_app TO crossfade",)) as conn:
        assert stage.problems("way_back.smoke") == []  # a plan without smoke statements
        finding = next(found for found in stage.report(plan).findings if found.check == "way_back.smoke")
        assert finding.severity is Severity.WARNING
        assert finding.remedy == 'GRANT "shop_app" TO "crossfade";'
        conn.execute(finding.remedy)
        assert stage.problems("way_back.smoke", plan) == []
