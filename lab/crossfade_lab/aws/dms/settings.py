"""Task settings: DMS's default document, what a client may put in its place, and what DMS refuses.

Names, defaults, ranges and allowed values are those of the chapter "Specifying task settings" of the AWS DMS user
guide; several defaults lose data quietly, and stay so here.
"""

import copy
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from crossfade_lab.aws.dms.errors import InvalidParameterValueException

Document = dict[str, Any]

_DEFAULTS: Document = json.loads((Path(__file__).parent / "default_settings.json").read_text())

#: Sections that are null unless given; their content is not interpreted here.
_FREE = {"TTSettings", "BeforeImageSettings", "CharacterSetSettings", "LoopbackPreventionSettings"}
_FREE_VALUES = {"PostProcessingRules"}

_ROW_POLICIES = {"IGNORE_RECORD", "LOG_ERROR", "SUSPEND_TABLE", "STOP_TASK"}
_CHOICES: Mapping[tuple[str, str], set[str]] = {
    ("FullLoadSettings", "TargetTablePrepMode"): {"DO_NOTHING", "DROP_AND_CREATE", "TRUNCATE_BEFORE_LOAD"},
    ("ErrorBehavior", "DataErrorPolicy"): _ROW_POLICIES,
    ("ErrorBehavior", "DataTruncationErrorPolicy"): _ROW_POLICIES,
    ("ErrorBehavior", "DataMaskingErrorPolicy"): _ROW_POLICIES,
    ("ErrorBehavior", "ApplyErrorDeletePolicy"): _ROW_POLICIES,
    ("ErrorBehavior", "ApplyErrorInsertPolicy"): _ROW_POLICIES | {"INSERT_RECORD", "UPDATE_RECORD"},
    ("ErrorBehavior", "ApplyErrorUpdatePolicy"): _ROW_POLICIES | {"INSERT_RECORD", "UPDATE_RECORD"},
    ("ErrorBehavior", "ApplyErrorEscalationPolicy"): {"LOG_ERROR", "SUSPEND_TABLE", "STOP_TASK"},
    ("ErrorBehavior", "DataErrorEscalationPolicy"): {"SUSPEND_TABLE", "STOP_TASK"},
    ("ErrorBehavior", "TableErrorPolicy"): {"SUSPEND_TABLE", "STOP_TASK"},
    ("ErrorBehavior", "TableErrorEscalationPolicy"): {"STOP_TASK"},
    ("ErrorBehavior", "EventErrorPolicy"): {"IGNORE", "STOP_TASK"},
    ("ValidationSettings", "ValidationMode"): {"ROW_LEVEL", "GROUP_LEVEL"},
}
_RANGES: Mapping[tuple[str, str], tuple[int, int]] = {
    ("TargetMetadata", "InlineLobMaxSize"): (0, 102_400),
    ("FullLoadSettings", "MaxFullLoadSubTasks"): (1, 49),
    ("FullLoadSettings", "CommitRate"): (1, 50_000),
    ("ValidationSettings", "ThreadCount"): (1, 100),
    ("ValidationSettings", "PartitionSize"): (1, 1_000_000),
    ("ErrorBehavior", "RecoverableErrorCount"): (-1, 10_000),
}
_SEVERITIES = {
    f"LOGGER_SEVERITY_{level}" for level in ("ERROR", "WARNING", "INFO", "DEFAULT", "DEBUG", "DETAILED_DEBUG")
}


def default_settings() -> Document:
    """DMS's complete settings document, as a task created without settings has it."""
    return copy.deepcopy(_DEFAULTS)


def merged(given: str | None, *, over: Document | None = None) -> Document:
    """The complete document of a task: the client's values over the defaults, or over what the task has.

    :param given: the client's JSON, possibly with some sections only
    :param over: the settings of an existing task, which keeps what the client does not name
    :raises InvalidParameterValueException: for what DMS refuses; the message names section and key
    """
    document = default_settings() if over is None else copy.deepcopy(over)
    changes = _parsed(given)
    problems = list(_problems(changes))
    if not problems:
        _merge(document, changes)
        problems = list(_contradictions(document))
    if problems:
        raise InvalidParameterValueException(f"Invalid task settings JSON: {'; '.join(problems)}")
    return document


def _parsed(given: str | None) -> Document:
    if not given:
        return {}
    try:
        document = json.loads(given)
    except json.JSONDecodeError as error:
        raise InvalidParameterValueException(f"Invalid task settings JSON: {error}") from None
    if not isinstance(document, dict):
        raise InvalidParameterValueException("Invalid task settings JSON: not an object")
    return document


def _problems(changes: Document) -> Iterator[str]:
    """What is wrong with single sections and values."""
    for section, values in changes.items():
        if section not in _DEFAULTS:
            yield f"unknown section {section}"
        elif section in _FREE_VALUES or (values is None and _DEFAULTS[section] is None):
            continue
        elif isinstance(_DEFAULTS[section], bool):
            if not isinstance(values, bool):
                yield f"{section} must be true or false, not {values!r}"
        elif not isinstance(values, dict):
            yield f"section {section} must be an object, not {values!r}"
        elif section not in _FREE:
            for key, value in values.items():
                yield from _problems_of_value(section, key, value)


def _problems_of_value(section: str, key: str, value: Any) -> Iterator[str]:
    known: Document = _DEFAULTS[section]
    if key not in known:
        yield f"unknown setting {section}.{key}"
    elif key in ("CloudWatchLogGroup", "CloudWatchLogStream"):
        if value is not None:
            yield "Task Settings CloudWatchLogGroup or CloudWatchLogStream cannot be set on create"
    elif key == "LogComponents":
        yield from _problems_of_components(value, {component["Id"] for component in known[key]})
    elif type(value) is not type(known[key]) and not (value is None and isinstance(known[key], str)):
        yield f"{section}.{key} must be of type {type(known[key]).__name__}, not {value!r}"
    elif (choices := _CHOICES.get((section, key))) and value not in choices:
        yield f"{section}.{key} must be one of {', '.join(sorted(choices))}, not {value!r}"
    elif (bounds := _RANGES.get((section, key))) and not bounds[0] <= value <= bounds[1]:
        yield f"{section}.{key} must be between {bounds[0]} and {bounds[1]}, not {value}"


def _problems_of_components(components: Any, known: set[str]) -> Iterator[str]:
    if not isinstance(components, list):
        yield "Logging.LogComponents must be a list"
        return
    for component in components:
        if not isinstance(component, dict) or component.get("Id") not in known:
            yield f"unknown component in Logging.LogComponents: {component!r}"
        elif component.get("Severity") not in _SEVERITIES:
            yield f"unknown severity of component {component['Id']}: {component.get('Severity')!r}"


def _merge(document: Document, changes: Document) -> None:
    for section, values in changes.items():
        if isinstance(document.get(section), dict) and isinstance(values, dict):
            for key, value in values.items():
                document[section][key] = _components(document, value) if key == "LogComponents" else value
        else:
            document[section] = values


def _components(document: Document, given: list[dict[str, str]]) -> list[dict[str, str]]:
    severities = {component["Id"]: component["Severity"] for component in given}
    return [
        {"Id": old["Id"], "Severity": severities.get(old["Id"], old["Severity"])}
        for old in document["Logging"]["LogComponents"]
    ]


def _contradictions(document: Document) -> Iterator[str]:
    """What is wrong between settings; LOB modes by the section "Target metadata task settings" of the guide."""
    target, load = document["TargetMetadata"], document["FullLoadSettings"]
    if target["SupportLobs"]:
        yield from _contradictions_of_lobs(target)
    if load["StopTaskCachedChangesApplied"] and load["StopTaskCachedChangesNotApplied"]:
        yield "StopTaskCachedChangesApplied and StopTaskCachedChangesNotApplied cannot both be true"
    if document["Logging"]["EnableLogContext"] and not document["Logging"]["EnableLogging"]:
        yield "Logging.EnableLogContext is not allowed when Logging.EnableLogging is not true"
    if document["ValidationSettings"]["ValidationOnly"] and not document["ValidationSettings"]["EnableValidation"]:
        yield "ValidationSettings.ValidationOnly needs EnableValidation"


def _contradictions_of_lobs(target: Document) -> Iterator[str]:
    if target["FullLobMode"] and target["LimitedSizeLobMode"]:
        yield "TargetMetadata.FullLobMode and LimitedSizeLobMode cannot both be true"
    if not target["FullLobMode"] and not target["LimitedSizeLobMode"]:
        yield "TargetMetadata.SupportLobs needs FullLobMode or LimitedSizeLobMode"
    if target["FullLobMode"] and target["LobChunkSize"] < 1:
        yield "TargetMetadata.FullLobMode needs a LobChunkSize of at least 1"
    if target["LimitedSizeLobMode"] and target["LobMaxSize"] < 1:
        yield "TargetMetadata.LimitedSizeLobMode needs a LobMaxSize of at least 1"
    if target["InlineLobMaxSize"] and not target["FullLobMode"]:
        yield "TargetMetadata.InlineLobMaxSize needs FullLobMode"
