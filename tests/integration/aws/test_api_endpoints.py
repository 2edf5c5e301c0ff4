"""Instances, endpoints and their connection tests: what is answered, what is refused."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError


def test_an_endpoint_is_described_without_its_password_and_in_upper_case(dms: Any) -> None:
    arn = dms.endpoint(
        "target",
        EngineName="aurora-postgresql",
        ExtraConnectionAttributes="afterConnectScript=SET session_replication_role='replica';executeTimeout=60",
        PostgreSQLSettings={"MapBooleanAsBoolean": True},
    )
    found = dms.client.describe_endpoints(Filters=[{"Name": "endpoint-arn", "Values": [arn]}])["Endpoints"][0]
    assert (found["EndpointType"], found["EngineName"], found["SslMode"]) == ("TARGET", "aurora-postgresql", "none")
    assert found["PostgreSQLSettings"]["MapBooleanAsBoolean"] is True
    assert "sesame" not in json.dumps(found, default=str)


def test_extra_connection_attributes_reach_the_worker_as_settings(dms: Any) -> None:
    target = dms.endpoint(
        "target",
        ExtraConnectionAttributes="afterConnectScript=SET session_replication_role='replica';executeTimeout=60",
    )
    assert dms.tested(target)["Status"] == "successful"
    arn = dms.running(TargetEndpointArn=target)
    spec = json.loads((dms.aws.task_directory(arn) / "spec.json").read_text())
    assert spec["target"]["settings"] == {
        "AfterConnectScript": "SET session_replication_role='replica'", "ExecuteTimeout": 60
    }  # fmt: skip
    assert (spec["memory_mb"], spec["storage_mb"]) == (4096, 20 * 1024)
    assert spec["settings"]["ErrorBehavior"]["ApplyErrorDeletePolicy"] == "IGNORE_RECORD"
    assert spec["target"]["dbname"] == "dst"


def test_a_wrong_password_fails_the_test_with_the_servers_reason(dms: Any) -> None:
    outcome = dms.tested(dms.endpoint("source", Password="wrong-one"))
    assert outcome["Status"] == "failed"
    assert "password authentication failed" in outcome["LastFailureMessage"]
    assert "wrong-one" not in outcome["LastFailureMessage"]


@pytest.mark.parametrize("character", list(":;+%"))
def test_a_password_that_dms_cannot_parse_fails_although_the_server_would_accept_it(dms: Any, character: str) -> None:
    role, password = f"odd_{ord(character)}", f"pass{character}word"
    with dms.database.connect() as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
    outcome = dms.tested(dms.endpoint("source", Username=role, Password=password))
    assert outcome["Status"] == "failed"
    assert password not in outcome["LastFailureMessage"]


def test_a_login_comes_from_a_secret_as_it_is_at_that_time(dms: Any) -> None:
    secrets = dms.aws.client("secretsmanager")
    content = {"host": "127.0.0.1", "port": dms.database.port, "username": "dms", "password": "sesame-street"}
    secrets.create_secret(Name="login", SecretString=json.dumps({**content, "password": "old"}))
    role = dms.role("reads-secrets")
    login = {"Username": None, "Password": None, "ServerName": None, "Port": None}
    by_secret = {"SecretsManagerSecretId": "login", "SecretsManagerAccessRoleArn": role}
    arn = dms.endpoint("source", **login, PostgreSQLSettings=by_secret)
    assert dms.tested(arn)["Status"] == "failed"
    secrets.put_secret_value(SecretId="login", SecretString=json.dumps(content))
    assert dms.tested(arn)["Status"] == "successful"
    absent = dms.endpoint("source", **login, PostgreSQLSettings={**by_secret, "SecretsManagerSecretId": "absent"})
    assert "absent could not be read" in dms.tested(absent)["LastFailureMessage"]
    with pytest.raises(ClientError, match="must be given together"):
        dms.endpoint("source", **login, PostgreSQLSettings={"SecretsManagerSecretId": "login"})
    with pytest.raises(ClientError, match="cannot be combined"):
        dms.endpoint("source", PostgreSQLSettings=by_secret)


def test_a_modified_endpoint_is_tested_again_by_itself(dms: Any) -> None:
    arn = dms.endpoint("source")
    assert dms.tested(arn)["Status"] == "successful"
    dms.client.modify_endpoint(EndpointArn=arn, Password="wrong-one")
    assert dms.outcome(arn)["Status"] == "failed"
    task = dms.task(SourceEndpointArn=arn)
    with pytest.raises(dms.client.exceptions.InvalidResourceStateFault, match="Test connection for replication"):
        dms.start(task)


def test_the_outcome_of_a_test_can_be_deleted(dms: Any) -> None:
    arn = dms.endpoint("source")
    assert dms.tested(arn)["Status"] == "successful"
    which = {"EndpointArn": arn, "ReplicationInstanceArn": dms.instance}
    assert dms.client.delete_connection(**which)["Connection"]["Status"] == "deleting"
    only = [{"Name": "endpoint-arn", "Values": [arn]}]
    assert dms.client.describe_connections(Filters=only)["Connections"] == []
    with pytest.raises(dms.client.exceptions.ResourceNotFoundFault):
        dms.client.delete_connection(**which)


def test_a_task_does_not_start_before_both_endpoints_were_tested(dms: Any) -> None:
    task = dms.task(TargetEndpointArn=dms.endpoint("target"))
    with pytest.raises(dms.client.exceptions.InvalidResourceStateFault, match="Test connection for replication"):
        dms.start(task)


def test_what_a_task_uses_is_neither_deleted_nor_modified_while_it_runs(dms: Any) -> None:
    task = dms.running()
    for endpoint in (dms.source, dms.target):
        with pytest.raises(dms.client.exceptions.InvalidResourceStateFault):
            dms.client.delete_endpoint(EndpointArn=endpoint)
        with pytest.raises(dms.client.exceptions.InvalidResourceStateFault):
            dms.client.modify_endpoint(EndpointArn=endpoint, Port=1)
    with pytest.raises(dms.client.exceptions.InvalidResourceStateFault):
        dms.client.delete_replication_instance(ReplicationInstanceArn=dms.instance)
    assert dms.described(task)["Status"] == "running"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"EndpointType": "SOURCE"}, "ValidationException"),
        ({"EngineName": "mongodb"}, "InvalidParameterValueException"),
        ({"EndpointIdentifier": "two--hyphens"}, "InvalidParameterValueException"),
        ({"PostgreSQLSettings": {"PluginName": "wal2json"}}, "InvalidParameterValueException"),
        ({"ExtraConnectionAttributes": "noSuchThing=1"}, "InvalidParameterValueException"),
        ({"ExtraConnectionAttributes": "executeTimeout=soon"}, "InvalidParameterValueException"),
        ({"Password": None}, "InvalidParameterCombinationException"),
        ({"SslMode": "verify-full"}, "InvalidParameterValueException"),
    ],
)
def test_an_endpoint_that_dms_would_refuse_is_refused(dms: Any, changes: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as caught:
        dms.endpoint("source", **changes)
    assert caught.value.response["Error"]["Code"] == code


def test_an_instance_has_its_life_and_its_limits(dms: Any) -> None:
    create = dms.client.create_replication_instance
    for wrong in ({"ReplicationInstanceClass": "dms.x9.huge"}, {"AllocatedStorage": 1}):
        with pytest.raises(ClientError, match="InvalidParameterValue"):
            create(**{"ReplicationInstanceIdentifier": "other", "ReplicationInstanceClass": "dms.t3.small", **wrong})
    with pytest.raises(dms.client.exceptions.ResourceAlreadyExistsFault):
        create(ReplicationInstanceIdentifier="LAB", ReplicationInstanceClass="dms.t3.small")
    made = create(ReplicationInstanceIdentifier="other", ReplicationInstanceClass="dms.t3.small")["ReplicationInstance"]
    only = [{"Name": "replication-instance-arn", "Values": [made["ReplicationInstanceArn"]]}]
    with pytest.raises(dms.client.exceptions.InvalidResourceStateFault):
        dms.client.test_connection(ReplicationInstanceArn=made["ReplicationInstanceArn"], EndpointArn=dms.source)

    def status() -> str:
        found = dms.client.describe_replication_instances(Filters=only)["ReplicationInstances"]
        return str(found[0]["ReplicationInstanceStatus"])

    dms.wait_for(lambda: status() == "available")
    dms.client.delete_replication_instance(ReplicationInstanceArn=made["ReplicationInstanceArn"])
    assert status() == "deleting"

    def is_gone() -> bool:
        try:
            status()
        except dms.client.exceptions.ResourceNotFoundFault:
            return True
        return False

    dms.wait_for(is_gone)
    offered = dms.client.describe_orderable_replication_instances()["OrderableReplicationInstances"]
    assert "dms.r5.large" in {each["ReplicationInstanceClass"] for each in offered}
