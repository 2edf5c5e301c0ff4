"""Task settings: what is sent to DMS by default, how a plan's own are merged in, and what is refused."""

import json
from typing import Any

import pytest

from crossfade.engines.dms.sections import SettingsModel
from crossfade.engines.dms.settings import SettingRefused, TaskSettings, lossy, task_settings


def made(overrides: dict[str, Any] | None = None, **changes: Any) -> TaskSettings:
    given: dict[str, Any] = {"control_schema": "crossfade_dms", "jobs": 4, "validation": False, **changes}
    return task_settings(**given, overrides=overrides or {})


def sent(settings: TaskSettings) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(settings.to_json())
    return document


def test_nothing_gets_lost_in_silence_by_default() -> None:
    document = sent(made())
    policies = {key: value for key, value in document["ErrorBehavior"].items() if key.endswith("Policy")}
    del policies["EventErrorPolicy"]  # of notifications
    assert set(policies.values()) == {"SUSPEND_TABLE", "STOP_TASK"}
    assert document["TargetMetadata"]["FullLobMode"]
    assert not document["TargetMetadata"]["LimitedSizeLobMode"]
    assert not document["TargetMetadata"]["BatchApplyEnabled"]
    assert document["TargetMetadata"]["TaskRecoveryTableEnabled"]
    assert document["FullLoadSettings"]["TargetTablePrepMode"] == "TRUNCATE_BEFORE_LOAD"
    assert document["FullLoadSettings"]["StopTaskCachedChangesApplied"]
    assert document["ErrorBehavior"]["FailOnNoTablesCaptured"]
    assert document["Logging"]["EnableLogging"]
    assert lossy(made()) == []


def test_what_the_plan_says_reaches_its_setting() -> None:
    document = sent(made(jobs=7, validation=True, inline_limit_kb=128))
    assert document["ControlTablesSettings"]["ControlSchema"] == "crossfade_dms"
    assert document["FullLoadSettings"]["MaxFullLoadSubTasks"] == 7
    assert document["ValidationSettings"]["EnableValidation"] is True
    assert document["TargetMetadata"]["InlineLobMaxSize"] == 128
    assert "ResyncSettings" not in document


def test_overrides_change_only_what_they_name() -> None:
    own = {"FullLoadSettings": {"CommitRate": 500}, "ResyncSettings": {"EnableResync": True}}
    document = sent(made(own))
    assert document["FullLoadSettings"].pop("CommitRate") == 500
    assert document.pop("ResyncSettings")["EnableResync"]
    expected = sent(made())
    del expected["FullLoadSettings"]["CommitRate"]
    assert document == expected


def test_an_override_wins_over_the_plan() -> None:
    own = {"FullLoadSettings": {"MaxFullLoadSubTasks": 20}}
    assert sent(made(own))["FullLoadSettings"]["MaxFullLoadSubTasks"] == 20


@pytest.mark.parametrize(
    ("own", "key", "says"),
    [
        ({"ErrorBehaviour": {}}, "ErrorBehaviour", "Did you mean ErrorBehavior?"),
        ({"ErrorBehavior": {"DataErorPolicy": "STOP_TASK"}}, "ErrorBehavior.DataErorPolicy", ".DataErrorPolicy?"),
        ({"ResyncSettings": {"EnableResyn": True}}, "ResyncSettings.EnableResyn", "ResyncSettings.EnableResync?"),
        ({"Logging": {"Zzz": True}}, "Logging.Zzz", "Known here: EnableLogging"),
        ({"ErrorBehavior": {"DataErrorPolicy": "STOP"}}, "ErrorBehavior.DataErrorPolicy", "'STOP_TASK', got 'STOP'"),
        ({"FullLoadSettings": {"CommitRate": "5"}}, "FullLoadSettings.CommitRate", "integer, got '5'"),
        ({"FullLoadSettings": {"CommitRate": 50_001}}, "FullLoadSettings.CommitRate", "50000, got 50001"),
        ({"TargetMetadata": {"SupportLobs": "yes"}}, "TargetMetadata.SupportLobs", "boolean, got 'yes'"),
        ({"TargetMetadata": {"InlineLobMaxSize": 102_401}}, "TargetMetadata.InlineLobMaxSize", "got 102401"),
        ({"Logging": 3}, "Logging", "got 3"),
    ],
)
def test_a_refusal_names_key_problem_and_fix(own: dict[str, Any], key: str, says: str) -> None:
    with pytest.raises(SettingRefused) as refused:
        made(own)
    assert refused.value.key == key
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ({"TargetMetadata": {"LimitedSizeLobMode": True, "LobMaxSize": 32}}, "FullLobMode and LimitedSizeLobMode"),
        ({"TargetMetadata": {"FullLobMode": False}}, "FullLobMode and LimitedSizeLobMode"),
        (
            {"TargetMetadata": {"FullLobMode": False, "LimitedSizeLobMode": True, "InlineLobMaxSize": 0}},
            "needs a LobMaxSize",
        ),
        ({"TargetMetadata": {"BatchApplyEnabled": True}}, "BatchApplyEnabled works only with LimitedSizeLobMode"),
        ({"FullLoadSettings": {"StopTaskCachedChangesNotApplied": True}}, "cannot both be true"),
        ({"Logging": {"EnableLogging": False, "EnableLogContext": True}}, "EnableLogContext needs EnableLogging"),
        ({"ValidationSettings": {"ValidationOnly": True}}, "ValidationOnly needs EnableValidation"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(own: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingRefused, match=says):
        made(own)


@pytest.mark.parametrize(
    "own",
    [
        {"ErrorBehavior": {"ApplyErrorDeletePolicy": "IGNORE_RECORD"}},
        {"ErrorBehavior": {"ApplyErrorInsertPolicy": "LOG_ERROR"}},
        {"ErrorBehavior": {"DataTruncationErrorPolicy": "LOG_ERROR"}},
        {"ErrorBehavior": {"FailOnNoTablesCaptured": False}},
        {"TargetMetadata": {"SupportLobs": False}},
        {"TargetMetadata": {"TaskRecoveryTableEnabled": False}},
        {"FullLoadSettings": {"TargetTablePrepMode": "DROP_AND_CREATE"}},
        {"FullLoadSettings": {"StopTaskCachedChangesApplied": False}},
        {"Logging": {"EnableLogging": False}},
        {"ChangeProcessingDdlHandlingPolicy": {"HandleSourceTableAltered": False}},
    ],
)
def test_a_setting_that_loses_something_is_named(own: dict[str, Any]) -> None:
    (section, values), *_ = own.items()
    (key, value), *_ = values.items()
    warnings = lossy(made(own))
    assert len(warnings) == 1
    assert warnings[0].startswith(f"{section}.{key} is {value}: ")


def test_limited_lobs_for_the_whole_task_are_allowed_and_named() -> None:
    own = {"FullLobMode": False, "LimitedSizeLobMode": True, "LobMaxSize": 64, "InlineLobMaxSize": 0}
    assert [w.split()[0] for w in lossy(made({"TargetMetadata": own}))] == ["TargetMetadata.LimitedSizeLobMode"]


def test_every_setting_has_a_name_of_dms() -> None:
    for section in SettingsModel.__subclasses__():
        assert all(str(field.alias)[0].isupper() for field in section.model_fields.values())
