"""Parameter groups: what must change is shown with its reboot, and changed only on request."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from moto import mock_aws
from typer.testing import CliRunner

from crossfade.cli import app
from crossfade.engines.dms import parameters
from crossfade.engines.dms.refusals import NotFound
from crossfade.errors import PreconditionError


@pytest.fixture
def rds(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Moto's RDS with an instance `db`, whose group `ours` sets some parameters badly, and an Aurora cluster."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    with mock_aws():
        client = boto3.client("rds", region_name="eu-west-1")
        client.create_db_parameter_group(
            DBParameterGroupName="ours", DBParameterGroupFamily="postgres16", Description="-"
        )
        values = {"max_replication_slots": "5", "wal_sender_timeout": "5000", "max_wal_senders": "{formula}"}
        client.modify_db_parameter_group(
            DBParameterGroupName="ours",
            Parameters=[
                {"ParameterName": name, "ParameterValue": value, "ApplyMethod": "pending-reboot"}
                for name, value in values.items()
            ],
        )
        instance = {"Engine": "postgres", "DBInstanceClass": "db.t3.medium", "AllocatedStorage": 20}
        login = {"MasterUsername": "u", "MasterUserPassword": "password"}
        client.create_db_instance(
            DBInstanceIdentifier="db", DBParameterGroupName="ours", EngineVersion="16.3", **instance, **login
        )
        client.create_db_cluster_parameter_group(
            DBClusterParameterGroupName="cluster-ours", DBParameterGroupFamily="aurora-postgresql16", Description="-"
        )
        client.modify_db_cluster_parameter_group(
            DBClusterParameterGroupName="cluster-ours",
            Parameters=[{"ParameterName": "synchronous_commit", "ParameterValue": "off", "ApplyMethod": "immediate"}],
        )
        client.create_db_cluster(
            DBClusterIdentifier="aurora",
            Engine="aurora-postgresql",
            DBClusterParameterGroupName="cluster-ours",
            **login,
        )
        yield client


def test_what_must_change_is_shown_with_its_reboot_and_nothing_is_changed(rds: Any) -> None:
    settings = {"idle_in_transaction_session_timeout": "86400000", "max_wal_senders": "10"}
    plan = parameters.needed(rds, "db", role="source", settings=settings)
    assert {change.name: (change.now, change.wanted, change.reboot) for change in plan.changes} == {
        "rds.logical_replication": (None, "1", True),
        "max_replication_slots": ("5", "10", True),
        "wal_sender_timeout": ("5000", "0", False),
        "idle_in_transaction_session_timeout": ("86400000", "0", False),
    }
    assert "max_replication_slots: 5 -> 10 (after a reboot)" in plan.text
    assert "reboot-db-instance --db-instance-identifier db" in plan.text
    assert {p["ParameterName"] for p in rds.describe_db_parameters(DBParameterGroupName="ours")["Parameters"]} == {
        "max_replication_slots",
        "wal_sender_timeout",
        "max_wal_senders",
    }


def test_applied_on_request_nothing_is_left_to_change(rds: Any) -> None:
    parameters.apply(rds, parameters.needed(rds, "db", role="source"))
    applied = {p["ParameterName"]: p for p in rds.describe_db_parameters(DBParameterGroupName="ours")["Parameters"]}
    assert applied["rds.logical_replication"]["ParameterValue"] == "1"
    assert applied["rds.logical_replication"]["ApplyMethod"] == "pending-reboot"
    assert applied["wal_sender_timeout"]["ApplyMethod"] == "immediate"
    assert parameters.needed(rds, "db", role="source").changes == ()


def test_a_target_needs_less(rds: Any) -> None:
    names = {change.name for change in parameters.needed(rds, "db", role="target").changes}
    assert names == {"rds.logical_replication", "max_replication_slots"}


def test_aurora_has_it_in_the_clusters_group(rds: Any) -> None:
    rds.create_db_instance(
        DBInstanceIdentifier="member",
        DBClusterIdentifier="aurora",
        Engine="aurora-postgresql",
        DBInstanceClass="db.r6g.large",
    )
    for name in ("aurora", "member"):
        plan = parameters.needed(rds, name, role="source")
        assert (plan.group.kind, plan.group.name, plan.group.database) == ("cluster", "cluster-ours", "aurora")
        assert {change.name for change in plan.changes} == {"rds.logical_replication", "synchronous_commit"}
    parameters.apply(rds, plan)
    assert parameters.needed(rds, "aurora", role="source").changes == ()


def test_a_default_group_is_not_changed_but_explained() -> None:
    with Stubber(boto3.client("rds", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")) as aws:
        group = {"DBParameterGroupName": "default.postgres16", "ParameterApplyStatus": "in-sync"}
        aws.add_response("describe_db_instances", {"DBInstances": [{"DBParameterGroups": [group]}]})
        page = {"Parameters": [{"ParameterName": "rds.logical_replication", "ParameterValue": "0"}], "Marker": "2"}
        aws.add_response("describe_db_parameters", page)
        aws.add_response("describe_db_parameters", {"Parameters": []})
        plan = parameters.needed(aws.client, "db", role="source")
        assert "create-db-parameter-group" in plan.text
        with pytest.raises(PreconditionError, match=r"AWS's own.*Nothing was changed"):
            parameters.apply(aws.client, plan)


def test_a_change_that_waits_for_its_reboot_is_said() -> None:
    with Stubber(boto3.client("rds", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")) as aws:
        group = {"DBParameterGroupName": "ours", "ParameterApplyStatus": "pending-reboot"}
        aws.add_response("describe_db_instances", {"DBInstances": [{"DBParameterGroups": [group]}]})
        page = {"Parameters": [{"ParameterName": "rds.logical_replication", "ParameterValue": "1"}]}
        aws.add_response("describe_db_parameters", page)
        plan = parameters.needed(aws.client, "db", role="source")
        assert plan.changes == () and plan.reboot and "needs a reboot" in plan.text


def test_an_unknown_database_is_refused(rds: Any) -> None:
    with pytest.raises(NotFound, match=r"database nowhere was refused.*Check its ARN or name"):
        parameters.needed(rds, "nowhere", role="source")


def test_the_command_shows_first_and_changes_on_request(rds: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")

    def told(*arguments: str) -> tuple[int, str]:
        outcome = CliRunner().invoke(app, ["parameters", *arguments], env={"COLUMNS": "200"})
        return outcome.exit_code, " ".join(outcome.output.split())

    status, said = told("db")
    assert status == 0
    assert "rds.logical_replication: default -> 1 (after a reboot)" in said
    assert "aws rds reboot-db-instance --db-instance-identifier db" in said
    assert parameters.needed(rds, "db", role="source").changes
    assert told("db", "--apply")[0] == 0
    assert parameters.needed(rds, "db", role="source").changes == ()
    status, said = told("nobody")
    assert (status, "nobody" in said) == (1, True)
