"""What AWS says of instance and endpoints, against the plan: a real API with resources that are wrong."""

import time
from dataclasses import replace
from typing import Any

import pytest

from crossfade.assess import Severity

from .conftest import DmsStage, only

ENDPOINTS = "dms_aws.endpoints"


def test_endpoints_that_are_swapped(dms_stage: DmsStage) -> None:
    plan = dms_stage.plan({"source": dms_stage.target, "target": dms_stage.source})
    found = dms_stage.problems(ENDPOINTS, plan)
    assert ["Are source and target swapped?" in problem.seen for problem in found] == [True, True]
    swapped = dms_stage.problems("dms_aws.databases", plan)
    assert ["the other side of the migration" in problem.seen for problem in swapped] == [True, True]


def test_an_endpoint_of_the_right_kind_that_leads_to_the_other_side(dms_stage: DmsStage) -> None:
    at = dms_stage.connections["dms_target"]
    wrong = dms_stage.endpoint("source", Port=at.port)
    problem = only(dms_stage.problems("dms_aws.databases", dms_stage.plan({"source": wrong})))
    assert "Rows would flow the wrong way" in problem.seen
    assert problem.severity is None


def test_connections_that_are_swapped(dms_stage: DmsStage) -> None:
    plan = dms_stage.plan({"source": {"connection": "dms_target"}, "target": {"connection": "dms_source"}})
    assert [problem.object for problem in dms_stage.problems("dms_aws.databases", plan)] == ["dms_target", "dms_source"]


@pytest.mark.parametrize(
    ("change", "severity", "seen"),
    [
        ({"DatabaseName": "postgres"}, None, "is the database postgres, shop_source leads to shop"),
        ({"ServerName": "localhost"}, Severity.WARNING, "they must be the same database"),
    ],
)
def test_an_endpoint_that_leads_elsewhere(
    dms_stage: DmsStage, change: dict[str, Any], severity: Severity | None, seen: str
) -> None:
    plan = dms_stage.plan({"source": dms_stage.endpoint("source", **change)})
    problem = only(dms_stage.problems("dms_aws.databases", plan))
    assert problem.severity is severity
    assert seen in problem.seen


def test_an_endpoint_that_does_not_exist(dms_stage: DmsStage) -> None:
    plan = dms_stage.plan({"source": "arn:aws:dms:eu-west-1:123456789012:endpoint:NOSUCH"})
    problem = only(dms_stage.problems(ENDPOINTS, plan))
    assert "has no endpoint arn:aws:dms:eu-west-1:123456789012:endpoint:NOSUCH" in problem.seen
    assert dms_stage.problems("dms_roles.source", plan) == []  # told once


def test_an_endpoint_whose_settings_lose_something_is_a_warning_each(dms_stage: DmsStage) -> None:
    bare = dms_stage.endpoint("source", PostgreSQLSettings={}, ExtraConnectionAttributes=None)
    problems = dms_stage.problems(ENDPOINTS, dms_stage.plan({"source": bare}))
    assert {problem.severity for problem in problems} == {Severity.WARNING}
    assert any("numeric without precision is rounded" in problem.seen for problem in problems)
    no_replica = dms_stage.endpoint("target", PostgreSQLSettings={"MapBooleanAsBoolean": True})
    problem = only(dms_stage.problems(ENDPOINTS, dms_stage.plan({"target": no_replica})))
    assert (problem.severity, "lets triggers and foreign keys fire" in problem.seen) == (None, True)


@pytest.mark.parametrize("char", ":;+%")
def test_a_password_that_dms_cannot_read(dms_stage: DmsStage, char: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = replace(dms_stage.connections["dms_target"], password=f"hid{char}den")
    monkeypatch.setitem(dms_stage.connections, "dms_target", bad)
    plan = dms_stage.plan({"target": {"connection": "dms_target"}})
    problem = only(dms_stage.problems("dms_aws.passwords", plan))
    assert problem.object == "dms_target"
    assert "den" not in problem.seen + problem.remedy
    secret = {"id": "shop", "role": "arn:aws:iam::123456789012:role/dms"}
    by_secret = dms_stage.plan({"target": {"connection": "dms_target", "secret": secret}})
    assert dms_stage.problems("dms_aws.passwords", by_secret) == []


def test_a_replication_instance_that_is_unknown_or_not_available(dms_stage: DmsStage) -> None:
    unknown = dms_stage.plan({"instance": "arn:aws:dms:eu-west-1:123456789012:rep:NOSUCH"})
    assert "no such replication instance" in only(dms_stage.problems("dms_aws.instance", unknown)).seen
    arn = dms_stage.replication_instance("dms.t3.micro")
    dms_stage.client("", "dms").delete_replication_instance(ReplicationInstanceArn=arn)
    deleting, small = dms_stage.problems("dms_aws.instance", dms_stage.plan({"instance": arn}))
    assert (deleting.seen, deleting.severity) == ("the replication instance is deleting", None)
    assert (small.seen[:26], small.severity) == ("a dms.t3.micro has 1.0 GB ", Severity.WARNING)


@pytest.mark.parametrize(
    ("instance_class", "seen"),
    [
        ("dms.r6i.large", None),
        ("dms.x9.huge", "offers no such class here, but dms.c5"),
        ("dms.t3.small", "has 2.0 GB of memory"),
    ],
)
def test_the_class_of_an_instance_that_is_to_be_made(
    dms_stage: DmsStage, instance_class: str, seen: str | None
) -> None:
    problems = dms_stage.problems("dms_aws.instance", dms_stage.plan({"instance": {"class": instance_class}}))
    assert [seen in problem.seen for problem in problems if seen] == ([True] if seen else [])
    assert len(problems) == bool(seen)


@pytest.mark.parametrize(("instance_class", "fits"), [("dms.r6i.large", True), ("dms.t3.micro", False)])
def test_memory_that_is_too_small_even_for_small_objects(dms_stage: DmsStage, instance_class: str, fits: bool) -> None:
    new = {"class": instance_class}
    problems = dms_stage.problems("dms_aws.memory", dms_stage.plan({"instance": new}))
    assert len(problems) == (not fits)
    if not fits:
        assert "dms.t3.micro has 1.0 GB, half of which is for LOBs" in problems[0].seen
        slower = dms_stage.plan({"instance": new, "settings": {"FullLoadSettings": {"CommitRate": 500}}})
        assert dms_stage.problems("dms_aws.memory", slower) == []


def test_a_connection_test_that_failed(dms_stage: DmsStage) -> None:
    dms = dms_stage.client("", "dms")
    wrong = dms_stage.endpoint("source", Password="wrong")
    dms.test_connection(ReplicationInstanceArn=dms_stage.instance, EndpointArn=wrong)
    plan = dms_stage.plan({"source": wrong})
    deadline = time.monotonic() + 10
    while not (problems := dms_stage.problems("dms_aws.connections", plan)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "password authentication failed" in only(problems).seen
    assert dms_stage.problems("dms_aws.connections") == []
