"""Task settings, table mappings and references that DMS refuses."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError


def refusal(dms: Any, **changes: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        dms.task(**changes)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"TargetMetaData": {}}, "TargetMetaData"),
        ({"TargetMetadata": {"LobSize": 1}}, "TargetMetadata.LobSize"),
        ({"TargetMetadata": {"FullLobMode": True}}, "cannot both be true"),
        ({"TargetMetadata": {"LimitedSizeLobMode": False}}, "needs FullLobMode or LimitedSizeLobMode"),
        ({"TargetMetadata": {"FullLobMode": True, "LimitedSizeLobMode": False, "InlineLobMaxSize": 102401}}, "102400"),
        ({"TargetMetadata": {"InlineLobMaxSize": 32}}, "InlineLobMaxSize needs FullLobMode"),
        ({"TargetMetadata": {"LobMaxSize": "64"}}, "must be of type int"),
        ({"TargetMetadata": {"LobMaxSize": True}}, "must be of type int"),
        ({"FullLoadSettings": {"MaxFullLoadSubTasks": 50}}, "between 1 and 49"),
        ({"FullLoadSettings": {"TargetTablePrepMode": "TRUNCATE"}}, "TRUNCATE_BEFORE_LOAD"),
        (
            {"FullLoadSettings": {"StopTaskCachedChangesApplied": True, "StopTaskCachedChangesNotApplied": True}},
            "cannot both",
        ),
        ({"ErrorBehavior": {"TableErrorPolicy": "LOG_ERROR"}}, "TableErrorPolicy"),
        ({"Logging": {"CloudWatchLogGroup": "mine"}}, "cannot be set on create"),
        ({"Logging": {"LogComponents": [{"Id": "NOBODY", "Severity": "LOGGER_SEVERITY_DEFAULT"}]}}, "NOBODY"),
        ({"ErrorBehavior": []}, "must be an object"),
    ],
)
def test_settings_that_dms_refuses(dms: Any, settings: dict[str, Any], named: str) -> None:
    code, message = refusal(dms, ReplicationTaskSettings=json.dumps(settings))
    assert code == "InvalidParameterValueException"
    assert named in message


def test_the_document_that_is_echoed_is_complete_and_is_accepted_again(dms: Any) -> None:
    lobs = {"FullLobMode": True, "LimitedSizeLobMode": False, "InlineLobMaxSize": 32}
    arn = dms.task(ReplicationTaskSettings=json.dumps({"TargetMetadata": lobs}))
    echoed = dms.described(arn)["ReplicationTaskSettings"]
    document = json.loads(echoed)
    assert lobs.items() <= document["TargetMetadata"].items()
    assert document["ErrorBehavior"]["ApplyErrorDeletePolicy"] == "IGNORE_RECORD"
    assert document["FullLoadSettings"]["MaxFullLoadSubTasks"] == 8
    assert document["ValidationSettings"]["EnableValidation"] is False
    again = dms.task(ReplicationTaskSettings=echoed)
    assert json.loads(dms.described(again)["ReplicationTaskSettings"]) == document


def rule(**changes: Any) -> dict[str, Any]:
    default = {
        "rule-type": "selection", "rule-id": "1", "rule-name": "one",
        "object-locator": {"schema-name": "public", "table-name": "%"}, "rule-action": "include",
    }  # fmt: skip
    return {name: value for name, value in {**default, **changes}.items() if value is not None}


def settings_rule(**changes: Any) -> dict[str, Any]:
    default = {
        "rule-type": "table-settings", "rule-id": "2", "rule-name": "two", "rule-action": None,
        "object-locator": {"schema-name": "public", "table-name": "order_items"},
    }  # fmt: skip
    return rule(**{**default, **changes})


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        ([], "no rules"),
        ([rule(**{"rule-id": "first"})], "must be numeric"),
        ([rule(), rule(**{"rule-name": "two"})], "rule-id 1 is used more than once"),
        ([rule(), rule(**{"rule-id": "2"})], "rule-name one is used more than once"),
        ([rule(**{"object-locator": None})], "object-locator is missing"),
        ([rule(**{"object-locator": {"schema-name": "public"}})], "needs table-name"),
        ([rule(**{"rule-type": "choice"})], "unknown rule-type"),
        ([rule(**{"rule-action": "take"})], "unknown rule-action"),
        ([rule(**{"rule-action": "explicit"})], "no wildcards"),
        ([rule(**{"rule-action": "exclude"})], "no selection rule that includes"),
        ([rule(colour="blue")], "unknown key colour"),
        ([rule(), settings_rule(**{"parallel-load": {"type": "partitions-auto"}})], "ranges only"),
        (
            [
                rule(),
                settings_rule(
                    **{"parallel-load": {"type": "ranges", "columns": ["a", "b"], "boundaries": [["1", "2"], ["3"]]}}
                ),
            ],
            "boundary ['3']",
        ),
        ([rule(), settings_rule(**{"lob-settings": {"mode": "limited"}})], "bulk-max-size"),
        (
            [rule(), settings_rule(**{"object-locator": {"schema-name": "public", "table-name": "order%"}})],
            "rule 2: Exact schema and table name required",
        ),
    ],
)
def test_mappings_that_dms_refuses(dms: Any, rules: list[dict[str, Any]], named: str) -> None:
    code, message = refusal(dms, TableMappings=json.dumps({"rules": rules}))
    assert code == "InvalidParameterValueException"
    assert named in message


def test_a_mapping_may_hold_ranges_and_lob_settings(dms: Any) -> None:
    ranges = {"type": "ranges", "columns": ["a", "b"], "boundaries": [["1", "x"], ["2", "y"]]}
    rules = [rule(), settings_rule(**{"parallel-load": ranges, "lob-settings": {"mode": "unlimited"}})]
    assert json.loads(dms.described(dms.task(TableMappings=json.dumps({"rules": rules})))["TableMappings"]) == {
        "rules": rules
    }


def test_references_that_dms_refuses(dms: Any) -> None:
    assert refusal(dms, SourceEndpointArn=dms.target, TargetEndpointArn=dms.source)[0] == (
        "InvalidParameterValueException"
    )
    unknown = dms.source[:-3] + "XXX"
    assert refusal(dms, SourceEndpointArn=unknown)[0] == "ResourceNotFoundFault"
    assert refusal(dms, ReplicationInstanceArn=unknown)[0] == "ResourceNotFoundFault"
    assert refusal(dms, MigrationType="incremental")[0] == "ValidationException"
    dms.task(ReplicationTaskIdentifier="taken")
    assert refusal(dms, ReplicationTaskIdentifier="TAKEN")[0] == "ResourceAlreadyExistsFault"
    assert refusal(dms, ReplicationTaskIdentifier="-bad")[0] == "InvalidParameterValueException"
