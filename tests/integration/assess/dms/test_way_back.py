"""What a way back by AWS DMS needs, on either side: a role that reads, one that writes, and a slot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from crossfade.connect import Endpoint
from crossfade_lab.shop import data as shop

from .conftest import DmsStage, only

BACK = {
    "source": {"connection": "back_source", "tls": "none"},
    "target": {"connection": "back_target", "tls": "none"},
    "again": {"connection": "dms_source", "tls": "none"},
}


@pytest.fixture(scope="module")
def stage(dms_stage: DmsStage) -> Iterator[DmsStage]:
    """The stage, with DMS's roles of the way back."""
    pair = dms_stage.pair
    shop.grant_dms_back_roles(pair.source, pair.target, pair.logins)
    dms_stage.connections["back_source"] = Endpoint.from_dsn("back_source", pair.dsn("target", "shop_dms_back"))
    dms_stage.connections["back_target"] = Endpoint.from_dsn("back_target", pair.dsn("source", "shop_dms_back"))
    yield dms_stage
    with pair.source.connect("shop") as conn:
        conn.execute("ALTER ROLE crossfade NOCREATEROLE")


def problems(stage: DmsStage, check: str) -> Any:
    return stage.problems(f"way_back_dms.{check}", stage.plan({"back": BACK}, rollback={"way_back": "dms"}))


def test_with_the_roles_of_the_documentation_nothing_stands_in_the_way(stage: DmsStage) -> None:
    report = stage.report(stage.plan({"back": BACK}, rollback={"way_back": "dms"}))
    assert [str(found) for found in report.blockers] == []
    assert [found for found in report.findings if found.check.startswith("way_back")] == []


@pytest.mark.parametrize(
    ("check", "side", "breaking", "mending", "seen", "remedy"),
    [
        ("reader", "target", "ALTER ROLE shop_dms_back NOREPLICATION", "ALTER ROLE shop_dms_back REPLICATION",
         "may not replicate on the target", "ALTER ROLE"),
        ("reader", "target", "REVOKE pg_read_all_data FROM shop_dms_back", "GRANT pg_read_all_data TO shop_dms_back",
         "may not read every table", "GRANT pg_read_all_data"),
        ("reader", "target", "ALTER ROLE shop_dms_back NOLOGIN", "ALTER ROLE shop_dms_back LOGIN",
         "and it may not", "LOGIN"),
        ("writer", "source", "REVOKE SET ON PARAMETER session_replication_role FROM shop_dms_back",
         "GRANT SET ON PARAMETER session_replication_role TO shop_dms_back", "may not set", "GRANT SET ON PARAMETER"),
        ("writer", "source", "REVOKE CONNECT ON DATABASE shop FROM PUBLIC, shop_dms_back",
         "GRANT CONNECT ON DATABASE shop TO PUBLIC, shop_dms_back", "may not connect to the source", "GRANT CONNECT"),
        ("writer", "source", "GRANT shop_owner TO shop_dms_back", "REVOKE shop_owner FROM shop_dms_back",
         "by itself: a rollback could not end", "dms_back_source.sql"),
        ("grants", "source", "ALTER ROLE crossfade NOCREATEROLE", "ALTER ROLE crossfade CREATEROLE",
         "may not make the group", "CREATEROLE"),
        ("grants", "source", "REVOKE shop_owner FROM crossfade", "GRANT shop_owner TO crossfade",
         "is no member of it", 'GRANT "shop_owner"'),
        ("slot_maker", "target", "ALTER ROLE crossfade NOREPLICATION", "ALTER ROLE crossfade REPLICATION",
         "may not replicate on the target", "ALTER ROLE"),
    ],
)  # fmt: skip
def test_each_thing_that_is_missing_is_found_with_its_remedy(
    stage: DmsStage, check: str, side: str, breaking: str, mending: str, seen: str, remedy: str
) -> None:
    assert problems(stage, check) == []
    with stage.on(side, breaking, undo=(mending,)):
        problem = only(problems(stage, check))
        assert seen in problem.seen
        assert remedy in problem.remedy


def test_a_role_that_is_an_applications_is_refused(stage: DmsStage) -> None:
    plan = stage.plan({"back": {**BACK, "target_role": "shop_app"}}, rollback={"way_back": "dms"})
    assert "is an application's" in only(stage.problems("way_back_dms.writer", plan)).seen


def test_a_role_that_is_not_there_is_told_with_the_script_that_makes_it(stage: DmsStage) -> None:
    plan = stage.plan({"back": {**BACK, "source_role": "nobody"}}, rollback={"way_back": "dms"})
    problem = only(stage.problems("way_back_dms.reader", plan))
    assert "does not exist" in problem.seen
    assert '-v database="shop" -f docs/privileges/dms_source.sql' in problem.remedy
    plan = stage.plan({"back": {**BACK, "target_role": "nobody"}}, rollback={"way_back": "dms"})
    remedy = only(stage.problems("way_back_dms.writer", plan)).remedy
    assert '-v database="shop" -v migration="crossfade" -f docs/privileges/dms_back_source.sql' in remedy
