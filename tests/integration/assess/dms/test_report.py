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
    assert report.ran == len(checks_for("dms"))


def test_endpoints_that_are_to_be_made_are_as_good(dms_stage: DmsStage) -> None:
    new = {
        "instance": {"class": "dms.r6i.large"},
        "source": {"connection": "dms_source", "tls": "none"},
        "target": {"connection": "dms_target", "tls": "none"},
    }
    report = dms_stage.report(dms_stage.plan(new))
    assert report.blockers == ()
    assert report.of(Severity.WARNING) == ()


def test_what_concerns_only_the_other_engine_is_not_asked() -> None:
    logical, dms = ({check.id for check in checks_for(engine)} for engine in ("logical", "dms"))
    assert {"tables.replica_identity", "server.subscriptions", "connectivity.source_from_target"} <= logical - dms
    assert {id for id in CHECKS if id.startswith("dms_")} == dms - logical
    assert {"activity.long_transactions", "target.empty", "server.wal_level"} <= logical & dms


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
        check.id for check in checks_for("dms") if {"aws", "rds"} & set(check.needs)
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
