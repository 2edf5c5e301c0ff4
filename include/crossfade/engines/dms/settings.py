"""The settings of a replication task: Crossfade's defaults with a plan's own merged into them, checked before AWS."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError, model_validator

from crossfade.engines.dms.sections import (
    ChangeProcessingDdlHandlingPolicy,
    ChangeProcessingTuning,
    ControlTablesSettings,
    ErrorBehavior,
    FullLoadSettings,
    Logging,
    ResyncSettings,
    SettingsModel,
    StreamBufferSettings,
    TargetMetadata,
    ValidationSettings,
)
from crossfade.errors import PreconditionError

MOST_COMMIT_RATE = 10_000  #: rows a batch where memory does not matter: DMS's own default


class SettingRefused(PreconditionError):
    """A task setting that DMS would not take, or that is misspelt."""

    def __init__(self, *, key: str, problem: str, fix: str) -> None:
        self.key, self.problem, self.fix = key, problem, fix
        super().__init__(f"DMS task setting {key}: {problem}. {fix}")


class TaskSettings(SettingsModel):
    """The settings of a replication task."""

    target_metadata: TargetMetadata = TargetMetadata()
    full_load_settings: FullLoadSettings = FullLoadSettings()
    logging: Logging = Logging()
    control_tables_settings: ControlTablesSettings
    stream_buffer_settings: StreamBufferSettings = StreamBufferSettings()
    change_processing_tuning: ChangeProcessingTuning = ChangeProcessingTuning()
    change_processing_ddl_handling_policy: ChangeProcessingDdlHandlingPolicy = ChangeProcessingDdlHandlingPolicy()
    error_behavior: ErrorBehavior = ErrorBehavior()
    validation_settings: ValidationSettings = ValidationSettings()
    resync_settings: ResyncSettings | None = None
    """Left out unless given: older versions of DMS do not know it."""

    @model_validator(mode="after")
    def _no_contradictions(self) -> TaskSettings:
        if problems := list(_contradictions(self)):
            raise ValueError("; ".join(problems))
        return self

    def to_json(self) -> str:
        """For ``ReplicationTaskSettings`` of CreateReplicationTask and ModifyReplicationTask."""
        return self.model_dump_json(by_alias=True, exclude_none=True)


def task_settings(
    *,
    control_schema: str,
    jobs: int,
    validation: bool,
    inline_limit_kb: int = 64,
    commit_rate: int = MOST_COMMIT_RATE,
    overrides: Mapping[str, Any],
) -> TaskSettings:
    """
    Crossfade's settings with a plan's own merged into them, section by section.

    :param control_schema: schema of the target for DMS's control tables
    :param jobs: tables, or ranges of tables, loaded at the same time; 1 to 49
    :param validation: whether DMS validates, too
    :param inline_limit_kb: LOBs up to this size load in bulk in tables whose mapping does not limit them; 0: none
    :param commit_rate: rows a batch of the load, see `lob_memory.commit_rate`
    :param overrides: sections under DMS's names
    :raises SettingRefused: naming the key, what was seen and what DMS takes
    """
    ours: dict[str, Any] = {
        "TargetMetadata": {"InlineLobMaxSize": inline_limit_kb},
        "FullLoadSettings": {"MaxFullLoadSubTasks": jobs, "CommitRate": commit_rate},
        "ControlTablesSettings": {"ControlSchema": control_schema},
        "ValidationSettings": {"EnableValidation": validation},
    }
    _refuse_unknown(overrides, TaskSettings, "")
    try:
        return TaskSettings.model_validate(_merged(ours, overrides))
    except ValidationError as error:
        raise _refusal(error) from None


#: Section, key, values that lose rows or hide a loss, and what happens then.
_LOSSY: Sequence[tuple[str, str, frozenset[Any], str]] = (
    *(
        ("ErrorBehavior", key, frozenset({"IGNORE_RECORD", "LOG_ERROR"}), f"{what} is left out and the task goes on")
        for key, what in (
            ("DataErrorPolicy", "a record with a value that cannot be converted"),
            ("DataMaskingErrorPolicy", "a record that cannot be masked"),
            ("ApplyErrorDeletePolicy", "a DELETE that fails"),
            ("ApplyErrorInsertPolicy", "an INSERT that fails"),
            ("ApplyErrorUpdatePolicy", "an UPDATE that fails"),
            ("ApplyErrorEscalationPolicy", "a change that fails"),
        )
    ),
    (
        "ErrorBehavior",
        "DataTruncationErrorPolicy",
        frozenset({"IGNORE_RECORD", "LOG_ERROR"}),
        "a value that was cut is kept that way, or its record left out, and the task goes on",
    ),
    (
        "ErrorBehavior",
        "FailOnNoTablesCaptured",
        frozenset({False}),
        "a task that found no tables looks like one that has nothing to do",
    ),
    ("TargetMetadata", "SupportLobs", frozenset({False}), "columns of LOB types stay empty on the target"),
    (
        "TargetMetadata",
        "LimitedSizeLobMode",
        frozenset({True}),
        "in tables whose mapping has no limit of its own, values larger than LobMaxSize are cut",
    ),
    (
        "TargetMetadata",
        "BatchApplyEnabled",
        frozenset({True}),
        "changes of one transaction arrive apart, so that a watermark may overtake rows it should follow",
    ),
    (
        "TargetMetadata",
        "TaskRecoveryTableEnabled",
        frozenset({False}),
        "a task that resumes after a failure may apply changes twice",
    ),
    (
        "FullLoadSettings",
        "TargetTablePrepMode",
        frozenset({"DROP_AND_CREATE"}),
        "tables are made anew without their defaults, constraints and exact types",
    ),
    (
        "FullLoadSettings",
        "TargetTablePrepMode",
        frozenset({"DO_NOTHING"}),
        "rows of an earlier load stay: in tables without a key a second load doubles them",
    ),
    (
        "FullLoadSettings",
        "StopTaskCachedChangesApplied",
        frozenset({False}),
        "the load does not stop at its consistent point, where constraints are restored",
    ),
    ("Logging", "EnableLogging", frozenset({False}), "what DMS leaves out or cuts is written down nowhere"),
    (
        "ChangeProcessingDdlHandlingPolicy",
        "HandleSourceTableTruncated",
        frozenset({False}),
        "rows that the source truncated stay on the target",
    ),
    (
        "ChangeProcessingDdlHandlingPolicy",
        "HandleSourceTableAltered",
        frozenset({False}),
        "values of columns added meanwhile are not carried",
    ),
    ("ValidationSettings", "SkipLobColumns", frozenset({True}), "DMS's validation does not look at LOB columns"),
)


def lossy(settings: TaskSettings) -> list[str]:
    """Settings with which rows or values get lost, doubled or overlooked in silence; a sentence for each."""
    document = settings.model_dump(by_alias=True)
    return [
        f"{section}.{key} is {document[section][key]}: {consequence}"
        for section, key, values, consequence in _LOSSY
        if document[section][key] in values
    ]


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _refuse_unknown(given: Mapping[str, Any], model: type[BaseModel], above: str) -> None:
    fields = {str(field.alias): field for field in model.model_fields.values()}
    for key, value in given.items():
        path = f"{above}{key}"
        if key not in fields:
            close = difflib.get_close_matches(str(key), fields, 1)
            fix = f"Did you mean {above}{close[0]}?" if close else f"Known here: {', '.join(fields)}"
            raise SettingRefused(key=path, problem="DMS has no such setting", fix=fix)
        annotation = fields[key].annotation
        for kind in get_args(annotation) or (annotation,):
            if isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(value, Mapping):
                _refuse_unknown(value, kind, f"{path}.")


def _refusal(error: ValidationError) -> SettingRefused:
    first = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    problem = first["msg"].removeprefix("Value error, ")
    if not key:
        return SettingRefused(key="(together)", problem=problem, fix="Change one of them in dms.settings of the plan")
    return SettingRefused(
        key=key, problem=f"{problem}, got {first['input']!r}", fix="Correct it in dms.settings of the plan"
    )


def _contradictions(settings: TaskSettings) -> Iterator[str]:
    """What DMS refuses between settings."""
    target, load, validation = settings.target_metadata, settings.full_load_settings, settings.validation_settings
    if target.support_lobs:
        yield from _contradictions_of_lobs(target)
    if load.stop_task_cached_changes_applied and load.stop_task_cached_changes_not_applied:
        yield "StopTaskCachedChangesApplied and StopTaskCachedChangesNotApplied cannot both be true"
    if settings.logging.enable_log_context and not settings.logging.enable_logging:
        yield "EnableLogContext needs EnableLogging"
    if validation.validation_only and not validation.enable_validation:
        yield "ValidationOnly needs EnableValidation"


def _contradictions_of_lobs(target: TargetMetadata) -> Iterator[str]:
    if target.full_lob_mode == target.limited_size_lob_mode:
        yield "one of FullLobMode and LimitedSizeLobMode must be true and the other false"
    if target.limited_size_lob_mode and target.lob_max_size < 1:
        yield "LimitedSizeLobMode needs a LobMaxSize of at least 1 (kB)"
    if target.inline_lob_max_size and not target.full_lob_mode:
        yield "InlineLobMaxSize needs FullLobMode: set it to 0"
    if target.batch_apply_enabled and target.full_lob_mode:
        yield "BatchApplyEnabled works only with LimitedSizeLobMode"
