"""The assessment of a plan with AWS DMS as a whole."""

from typing import Any

from crossfade.assess import CHECKS, Severity, checks_for

from .conftest import DmsStage


def test_a_migration_by_dms_without_problems_has_no_blockers_and_only_known_notes(dms_stage: DmsStage) -> None:
    report = dms_stage.report()
    assert report.blockers == ()
    assert report.of(Severity.WARNING) == ()
    assert [(each.check, each.object) for each in report.of(Severity.NOTE)] == [("dms_types.changed", "character(3)")]
    assert report.not_run == ()
    assert report.ran == len(checks_for(dms_stage.plan()))


def test_endpoints_that_are_to_be_made_are_as_good(dms_stage: DmsStage) -> None:
    new = {
        "instance": {"class": "dms.r6i.large"},
        "source": {"connection": "dms_source", "tls": "none"},
        "target": {"connection": "dms_target", "tls": "none"},
    }
    report = dms_stage.report(dms_stage.plan(new))
    assert report.blockers == ()
    assert report.of(Severity.WARNING) == ()


def test_what_native_replication_needs_is_asked_only_where_there_is_a_way_back(dms_stage: DmsStage) -> None:
    without = {check.id for check in checks_for(dms_stage.plan(rollback={"way_back": "none"}))}
    native = {check.id for check in checks_for(dms_stage.plan())}
    assert {"tables.replica_identity", "server.subscriptions", "connectivity.source_from_target"} <= native - without
    assert {id for id in native if id.startswith("way_back.")} <= native - without
    assert {"activity.long_transactions", "target.empty", "server.wal_level"} <= without
    by_dms = {id for id in CHECKS if id.startswith("way_back_dms.")}
    assert native == set(CHECKS) - by_dms


def test_on_a_source_that_may_not_subscribe_there_is_no_way_back(dms_stage: DmsStage) -> None:
    undo = ("GRANT pg_create_subscription TO crossfade",)
    with dms_stage.on("source", "REVOKE pg_create_subscription FROM crossfade", undo=undo):
        assert [each.check for each in dms_stage.report().blockers] == ["way_back.subscriber"]
        assert dms_stage.report(dms_stage.plan(rollback={"way_back": "none"})).blockers == ()


def test_an_aws_that_does_not_answer_is_one_finding_and_what_needs_it_is_not_run(
    dms_stage: DmsStage, monkeypatch: Any
) -> None:
    def nobody(conn_id: str, service: str) -> Any:
        raise LookupError(f"no connection {conn_id}")

    monkeypatch.setattr(dms_stage, "client", nobody)
    report = dms_stage.report()
    assert [(each.check, each.object) for each in report.blockers] == [("connectivity.reachable", "aws_default")]
    assert "LookupError: no connection aws_default" in report.blockers[0].seen
    assert {each.check for each in report.not_run} == {
        check.id for check in checks_for(dms_stage.plan()) if {"aws", "rds"} & set(check.needs)
    }


def test_credentials_that_aws_does_not_accept_are_a_blocker(dms_stage: DmsStage, monkeypatch: Any) -> None:
    from botocore.exceptions import ClientError

    class Denied:
        def describe_replication_instances(self, **_: Any) -> Any:
            told = {"Error": {"Code": "UnrecognizedClientException", "Message": "The security token is invalid"}}
            raise ClientError(told, "DescribeReplicationInstances")

    monkeypatch.setattr(dms_stage, "client", lambda conn_id, service: Denied())
    report = dms_stage.report()
    assert [each.check for each in report.blockers] == ["connectivity.reachable"]
    assert "Renew the credentials" in report.blockers[0].seen
