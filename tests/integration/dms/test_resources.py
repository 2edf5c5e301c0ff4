"""Instance and endpoints: given ones are checked, missing ones made, connections tested, what was made deleted."""

import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber
from moto import mock_aws
from moto.dms.models import DatabaseMigrationServiceBackend, FakeConnection

from crossfade.connect import Endpoint
from crossfade.engines.dms import connections, endpoints, resources, waiting
from crossfade.engines.dms.resource import Resource, name_of, tags_of
from crossfade.errors import DeadlineExceeded, PreconditionError
from crossfade.plan_dms import NewEndpoint, NewInstance

OK = "secret and ok"
REPLICA = {"AfterConnectScript": "SET session_replication_role = 'replica'", "MapBooleanAsBoolean": True}
INSTANCE = NewInstance.model_validate({"class": "dms.t3.medium", "storage": "50GB", "security_groups": ["sg-1"]})
SECRET = {"id": "shop-secret", "role": "arn:aws:iam::123456789012:role/dms"}


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's, and questions in quick succession."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.01)


@pytest.fixture
def dms(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Moto's DMS, made to test a connection more than once."""
    test = DatabaseMigrationServiceBackend.test_connection

    def again(self: DatabaseMigrationServiceBackend, **arns: str) -> FakeConnection:
        self.connections = [one for one in self.connections if one.endpoint_arn != arns["endpoint_arn"]]
        return test(self, **arns)

    monkeypatch.setattr(DatabaseMigrationServiceBackend, "test_connection", again)
    with mock_aws():
        yield boto3.client("dms", region_name="eu-west-1")


def login(name: str, password: str = OK) -> Endpoint:
    """A connection by its id."""
    return Endpoint(name=name, host=f"{name}.example", dbname="shop", user="dms", password=password)


def new(connection: str, **more: Any) -> NewEndpoint:
    return NewEndpoint.model_validate({"connection": connection, **more})


def ensured(dms: Any, **changes: Any) -> resources.Resources:
    """Everything made, unless changed."""
    wanted: dict[str, Any] = {
        "plan": "shop",
        "instance": INSTANCE,
        "source": new("old"),
        "target": new("fresh"),
        "login": login,
        "deadline": time.monotonic() + 60,
    }
    return resources.ensure(dms, **{**wanted, **changes})


def given(dms: Any, kind: str, *, engine: str = "postgres", settings: dict[str, Any] | None = None) -> str:
    """The ARN of an endpoint that somebody else made."""
    answer = dms.create_endpoint(
        EndpointIdentifier=f"theirs-{kind}",
        EndpointType=kind,
        EngineName=engine,
        ServerName="db",
        Port=5432,
        Username="dms",
        Password="x",
        DatabaseName="shop",
        PostgreSQLSettings=settings or {},
    )
    arn: str = answer["Endpoint"]["EndpointArn"]
    return arn


def counted(dms: Any) -> tuple[int, int]:
    instances = dms.describe_replication_instances()["ReplicationInstances"]
    return len(instances), len(dms.describe_endpoints()["Endpoints"])


def test_everything_is_made_once_and_what_was_made_is_deleted(dms: Any) -> None:
    entered: list[Resource] = []
    first = ensured(dms, made=entered.append)
    assert [one.kind for one in entered] == ["instance", "source endpoint", "target endpoint"]
    assert [one.identifier for one in first.made] == [
        "crossfade-shop-source",
        "crossfade-shop-target",
        "crossfade-shop",
    ]
    assert ensured(dms) == first and counted(dms) == (1, 2)

    instance = dms.describe_replication_instances()["ReplicationInstances"][0]
    assert (instance["AllocatedStorage"], instance["ReplicationInstanceStatus"]) == (50, "available")
    told = {one["EndpointType"]: one for one in dms.describe_endpoints()["Endpoints"]}
    assert told["source"]["PostgreSQLSettings"]["FailTasksOnLobTruncation"] is True
    assert told["source"]["PostgreSQLSettings"]["CaptureDdls"] is False
    assert {one["ExtraConnectionAttributes"] for one in told.values()} == {"mapUnboundedNumericAsString=true"}
    assert told["target"]["PostgreSQLSettings"]["AfterConnectScript"] == "SET session_replication_role='replica'"
    assert (told["target"]["ServerName"], told["target"]["SslMode"]) == ("fresh.example", "require")
    tested = {one["EndpointIdentifier"]: one["Status"] for one in dms.describe_connections()["Connections"]}
    assert tested == {"crossfade-shop-source": "successful", "crossfade-shop-target": "successful"}

    entries = [(one.kind, one.identifier) for one in first.made]
    for _ in range(2):
        resources.delete_made(dms, [*entries, ("task", "shop")], plan="shop", deadline=time.monotonic() + 60)
        assert counted(dms) == (0, 0)


@pytest.mark.parametrize("char", ":;+%")
def test_a_password_that_dms_cannot_read_is_refused_before_aws_is_asked(char: str) -> None:
    def connection(name: str) -> Endpoint:
        return login(name, f"hid{char}den" if name == "fresh" else "fine")

    with (
        Stubber(boto3.client("dms", region_name="eu-west-1")) as nobody,
        pytest.raises(endpoints.ForbiddenPassword) as raised,
    ):
        ensured(nobody.client, login=connection)
    assert f"'fresh' contains {char}:" in str(raised.value) and f"hid{char}den" not in str(raised.value)


def test_given_ones_are_used_and_left(dms: Any) -> None:
    source, target = given(dms, "source"), given(dms, "target", settings=REPLICA)
    instance = ensured(dms, source=source, target=target).instance.arn
    used = ensured(dms, instance=instance, source=source, target=target)
    assert used.made == () and (used.source.arn, used.target.arn) == (source, target)
    assert any("numeric without precision is rounded" in note for note in used.notes)
    assert not any(note.startswith("endpoint theirs-target") for note in used.notes)


def test_unknown_arns_are_refused_with_nothing_made(dms: Any) -> None:
    with pytest.raises(PreconditionError, match=r"no endpoint arn:aws:dms:x, the plan's dms.source"):
        ensured(dms, source="arn:aws:dms:x")
    assert counted(dms) == (0, 0)
    with pytest.raises(PreconditionError, match="no replication instance arn:aws:dms:y"):
        ensured(dms, instance="arn:aws:dms:y")


def test_swapped_endpoints_are_refused_with_nothing_made(dms: Any) -> None:
    source, target = given(dms, "source"), given(dms, "target", settings=REPLICA)
    with pytest.raises(
        PreconditionError, match=r"dms.source of the plan is the endpoint theirs-target, which is a tar"
    ):
        ensured(dms, source=target, target=source)
    with pytest.raises(PreconditionError, match="same endpoint"):
        ensured(dms, source=target, target=target)
    assert counted(dms) == (0, 2)


def test_an_endpoint_of_another_engine_is_refused(dms: Any) -> None:
    with pytest.raises(PreconditionError, match="for mysql, not PostgreSQL"):
        ensured(dms, source=given(dms, "source", engine="mysql"))


def test_a_target_whose_triggers_would_fire_is_refused(dms: Any) -> None:
    with pytest.raises(PreconditionError, match=r"doubles what triggers write.*AfterConnectScript"):
        ensured(dms, target=given(dms, "target"))


def test_a_connection_that_fails_shows_why(dms: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = FakeConnection.to_dict
    said = "Application-Detailed-Message: FATAL: password authentication failed for user dms"
    monkeypatch.setattr(
        FakeConnection, "to_dict", lambda self: {**shown(self), "Status": "failed", "LastFailureMessage": said}
    )
    with pytest.raises(
        connections.ConnectionTestFailed, match=r"crossfade-shop-source.*role in.*password authentication"
    ):
        ensured(dms)


def test_a_connection_test_under_way_is_awaited() -> None:
    told = {"EndpointArn": "e", "ReplicationInstanceArn": "i"}
    with Stubber(boto3.client("dms", region_name="eu-west-1")) as aws:
        aws.add_client_error("test_connection", "InvalidResourceStateFault", "being tested")
        for status in ("testing", "testing", "successful"):
            aws.add_response("describe_connections", {"Connections": [{**told, "Status": status}]})
        connections.prove_connection(
            aws.client, instance_arn="i", endpoint_arn="e", name="e", deadline=time.monotonic() + 60
        )
        aws.assert_no_pending_responses()


def test_what_somebody_else_made_under_our_name_is_left_alone(dms: Any) -> None:
    dms.create_replication_instance(
        ReplicationInstanceIdentifier="crossfade-shop", ReplicationInstanceClass="dms.t3.medium"
    )
    with pytest.raises(PreconditionError, match="crossfade-shop exists in AWS DMS and was made by somebody else"):
        ensured(dms)
    with pytest.raises(PreconditionError, match="by somebody else"):
        resources.delete_made(dms, [("instance", "crossfade-shop")], plan="shop", deadline=time.monotonic())
    assert counted(dms)[0] == 1


def test_an_instance_of_another_class_is_kept_and_noted(dms: Any) -> None:
    ensured(dms)
    other = INSTANCE.model_copy(update={"class_": "dms.r6i.large"})
    assert "is a dms.t3.medium, the plan says dms.r6i.large" in ensured(dms, instance=other).notes[0]


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        ("creating", DeadlineExceeded, "status creating"),
        ("storage-full", PreconditionError, "is storage-full.*storage"),
    ],
)
def test_an_instance_that_does_not_come_up_is_an_error(status: str, error: type, says: str) -> None:
    told = {
        "ReplicationInstanceIdentifier": "i",
        "ReplicationInstanceArn": "arn:i",
        "ReplicationInstanceStatus": status,
    }
    with Stubber(boto3.client("dms", region_name="eu-west-1")) as aws:
        for _ in range(2):
            aws.add_response("describe_replication_instances", {"ReplicationInstances": [told]})
        with pytest.raises(error, match=says):
            resources.ensure_instance(aws.client, "arn:i", plan="shop", deadline=time.monotonic())


@pytest.mark.parametrize(
    ("tested", "host", "modified"),
    [("successful", "old.example", False), ("failed", "old.example", True), ("successful", "moved.example", True)],
)
def test_an_endpoint_is_sent_again_where_it_differs_or_its_test_failed(tested: str, host: str, modified: bool) -> None:
    told = {
        "EndpointIdentifier": "crossfade-shop-source",
        "EndpointArn": "arn:e",
        "EndpointType": "SOURCE",
        "EngineName": "postgres",
        "DatabaseName": "shop",
        "SslMode": "require",
        "ServerName": host,
        "Port": 5432,
        "Username": "dms",
        "ExtraConnectionAttributes": endpoints.ATTRIBUTES,
        "PostgreSQLSettings": {**endpoints.SETTINGS["source"], "DatabaseName": "shop", "ExecuteTimeout": 60},
    }
    with Stubber(boto3.client("dms", region_name="eu-west-1")) as aws:
        aws.add_response("describe_endpoints", {"Endpoints": [told]})
        aws.add_response("list_tags_for_resource", {"TagList": [{"Key": "crossfade:plan", "Value": "shop"}]})
        if host == "old.example":
            test = {"EndpointArn": "arn:e", "ReplicationInstanceArn": "arn:i", "Status": tested}
            aws.add_response("describe_connections", {"Connections": [test]})
        if modified:
            same = dict.fromkeys(("EngineName", "DatabaseName", "SslMode", "Port", "PostgreSQLSettings"), ANY)
            sent = {"ServerName": "old.example", "Username": "dms", "Password": OK}
            aws.add_response(
                "modify_endpoint", {}, {"EndpointArn": "arn:e", "ExtraConnectionAttributes": ANY, **same, **sent}
            )
        endpoints.made_endpoint(
            aws.client,
            "source",
            new("old"),
            identifier="crossfade-shop-source",
            login=login("old"),
            instance_arn="arn:i",
            tags=tags_of("shop"),
        )
        aws.assert_no_pending_responses()


def test_a_secret_takes_the_place_of_the_login(dms: Any) -> None:
    def connection(name: str) -> Endpoint:
        return login(name, "any:password")

    ensured(
        dms,
        source=new("old", secret=SECRET, tls="verify-full", certificate="arn:aws:dms:cert"),
        target=new("fresh", secret=SECRET, aurora=True),
        login=connection,
    )
    told = {one["EndpointType"]: one for one in dms.describe_endpoints()["Endpoints"]}
    settings = told["source"]["PostgreSQLSettings"]
    assert (settings["SecretsManagerSecretId"], settings["SecretsManagerAccessRoleArn"]) == tuple(SECRET.values())
    assert not told["source"].get("ServerName") and not told["source"].get("Username")
    assert (told["source"]["SslMode"], told["source"]["CertificateArn"]) == ("verify-full", "arn:aws:dms:cert")
    assert told["target"]["EngineName"] == "aurora-postgresql"


def test_names_are_what_dms_takes() -> None:
    assert name_of("a__b_", "source") == "crossfade-a-b-source"
    assert name_of("shop_") == "crossfade-shop"


def test_an_endpoint_for_a_slot_of_ours_reads_it_and_cuts_nothing(dms: Any) -> None:
    def given(**settings: Any) -> str:
        made = dms.create_endpoint(
            EndpointIdentifier=f"given-{len(settings)}", EndpointType="source", EngineName="postgres",
            PostgreSQLSettings=settings,
        )  # fmt: skip
        return str(made["Endpoint"]["EndpointArn"])

    def check(arn: str) -> None:
        endpoints.require_for_stream(dms, arn, "crossfade_shop_1_back", key="back.source")

    with pytest.raises(PreconditionError, match="a slot that DMS makes by itself"):
        check(given())
    with pytest.raises(PreconditionError, match=r"dms\.back\.source of the plan, .*FailTasksOnLobTruncation to true"):
        check(given(SlotName="crossfade_shop_1_back"))
    check(given(SlotName="crossfade_shop_1_back", FailTasksOnLobTruncation=True))
