"""The sections of DMS's task settings: typed, under DMS's own names, with defaults that never lose rows in silence.

Names, values and ranges are those of the chapter "Specifying task settings" of the AWS DMS user guide. Where DMS's own
default drops a record and goes on (error policies, cut values), Crossfade's suspends the table, which its
sensors report.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_pascal

#: kB; DMS takes no more in bulk (user guide: Target metadata task settings).
MOST_LOB_KB = 102_400

Count = Annotated[int, Field(ge=0)]
RowPolicy = Literal["IGNORE_RECORD", "LOG_ERROR", "SUSPEND_TABLE", "STOP_TASK"]
ApplyPolicy = Literal["IGNORE_RECORD", "LOG_ERROR", "SUSPEND_TABLE", "STOP_TASK", "INSERT_RECORD", "UPDATE_RECORD"]
TablePolicy = Literal["SUSPEND_TABLE", "STOP_TASK"]
Severity = Literal[
    "LOGGER_SEVERITY_ERROR",
    "LOGGER_SEVERITY_WARNING",
    "LOGGER_SEVERITY_INFO",
    "LOGGER_SEVERITY_DEFAULT",
    "LOGGER_SEVERITY_DEBUG",
    "LOGGER_SEVERITY_DETAILED_DEBUG",
]


class SettingsModel(BaseModel):
    """A part of the settings; the JSON names are DMS's."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, alias_generator=to_pascal, use_attribute_docstrings=True
    )


class TargetMetadata(SettingsModel):
    """LOBs of tables without settings of their own, and how changes are applied."""

    target_schema: str = ""
    support_lobs: bool = True
    full_lob_mode: bool = True
    """Nothing is cut: values up to InlineLobMaxSize in bulk, larger ones one by one. Mappings limit single tables."""
    lob_chunk_size: Annotated[int, Field(ge=1)] = 64
    """kB. DMS advises against more."""
    limited_size_lob_mode: bool = False
    lob_max_size: Count = 0
    """kB; of the limited mode."""
    inline_lob_max_size: Annotated[int, Field(ge=0, le=MOST_LOB_KB)] = 64
    """kB. 0: every value one by one."""
    load_max_file_size: Annotated[int, Field(ge=0, le=100_000)] = 0
    """kB of the CSV files that DMS loads from. 0: as the endpoint says."""
    parallel_load_threads: Count = 0
    parallel_load_buffer_size: Count = 0
    parallel_load_queues_per_thread: Count = 0
    parallel_apply_threads: Count = 0
    parallel_apply_buffer_size: Count = 0
    parallel_apply_queues_per_thread: Count = 0
    batch_apply_enabled: bool = False
    """Batches do not keep the source's transactions whole: a watermark could overtake other tables."""
    task_recovery_table_enabled: bool = True
    """awsdms_txn_state on the target: a resumed task does not apply again what was committed."""


class FullLoadSettings(SettingsModel):
    """How tables are loaded."""

    target_table_prep_mode: Literal["DO_NOTHING", "DROP_AND_CREATE", "TRUNCATE_BEFORE_LOAD"] = "TRUNCATE_BEFORE_LOAD"
    create_pk_after_full_load: bool = False
    stop_task_cached_changes_applied: bool = True
    """Stop at the consistent point, where constraints and indexes are restored."""
    stop_task_cached_changes_not_applied: bool = False
    max_full_load_sub_tasks: Annotated[int, Field(ge=1, le=49)] = 8
    transaction_consistency_timeout: Count = 600
    """Seconds to wait for the end of transactions that are open at the start."""
    commit_rate: Annotated[int, Field(ge=1, le=50_000)] = 10_000
    """Rows a batch; memory of limited LOBs grows with it."""


class LogComponent(SettingsModel):
    """How much one part of the task logs."""

    id: str
    severity: Severity = "LOGGER_SEVERITY_DEFAULT"


class LogConfiguration(SettingsModel):
    """Details when an error occurs."""

    enable_trace_on_error: bool = False
    trace_on_error_mb: Count = 10


class Logging(SettingsModel):
    """CloudWatch Logs."""

    enable_logging: bool = True
    enable_log_context: bool = False
    log_components: tuple[LogComponent, ...] = Field(
        default=tuple(
            LogComponent(Id=part)
            for part in ("SOURCE_UNLOAD", "SOURCE_CAPTURE", "TARGET_LOAD", "TARGET_APPLY", "TASK_MANAGER")
        ),
        strict=False,  # a list, as JSON and YAML have it
    )
    log_configuration: LogConfiguration = LogConfiguration()


class ControlTablesSettings(SettingsModel):
    """DMS's own tables on the target."""

    control_schema: Annotated[str, Field(min_length=1)]
    history_timeslot_in_minutes: Annotated[int, Field(ge=1)] = 5
    history_table_enabled: bool = True
    suspended_tables_table_enabled: bool = True
    status_table_enabled: bool = True
    full_load_exception_table_enabled: bool = True


class StreamBufferSettings(SettingsModel):
    """Memory between reading and applying."""

    stream_buffer_count: Annotated[int, Field(ge=1)] = 3
    stream_buffer_size_in_mb: Annotated[int, Field(ge=1, alias="StreamBufferSizeInMB")] = 8
    ctrl_stream_buffer_size_in_mb: Annotated[int, Field(ge=1, le=8, alias="CtrlStreamBufferSizeInMB")] = 5


class ChangeProcessingTuning(SettingsModel):
    """Memory and batches of applying changes."""

    batch_apply_preserve_transaction: bool = True
    batch_apply_timeout_min: Annotated[int, Field(ge=1)] = 1
    batch_apply_timeout_max: Annotated[int, Field(ge=1)] = 30
    batch_apply_memory_limit: Annotated[int, Field(ge=1)] = 500
    batch_split_size: Count = 0
    min_transaction_size: Count = 1000
    commit_timeout: Annotated[int, Field(ge=1)] = 1
    """Seconds that changes of several transactions are collected."""
    memory_limit_total: Annotated[int, Field(ge=1)] = 1024
    """MB of all transactions before they go to the disk of the instance."""
    memory_keep_time: Count = 60
    statement_cache_size: Annotated[int, Field(ge=0, le=200)] = 50


class ChangeProcessingDdlHandlingPolicy(SettingsModel):
    """Whether the target follows DDL of the source."""

    handle_source_table_dropped: bool = True
    handle_source_table_truncated: bool = True
    handle_source_table_altered: bool = True


class ErrorBehavior(SettingsModel):
    """What happens to a record that cannot be written, and to its table."""

    data_error_policy: RowPolicy = "SUSPEND_TABLE"
    event_error_policy: Literal["IGNORE", "STOP_TASK"] = "IGNORE"
    """About notifications, not rows."""
    data_truncation_error_policy: RowPolicy = "SUSPEND_TABLE"
    data_masking_error_policy: RowPolicy = "STOP_TASK"
    data_error_escalation_policy: TablePolicy = "SUSPEND_TABLE"
    data_error_escalation_count: Count = 0
    table_error_policy: TablePolicy = "SUSPEND_TABLE"
    table_error_escalation_policy: Literal["STOP_TASK"] = "STOP_TASK"
    table_error_escalation_count: Count = 0
    recoverable_error_count: Annotated[int, Field(ge=-1, le=10_000)] = -1
    recoverable_error_interval: Count = 5
    recoverable_error_throttling: bool = True
    recoverable_error_throttling_max: Count = 1800
    recoverable_error_stop_retry_after_throttling_max: bool = True
    apply_error_delete_policy: RowPolicy = "SUSPEND_TABLE"
    apply_error_insert_policy: ApplyPolicy = "SUSPEND_TABLE"
    apply_error_update_policy: ApplyPolicy = "SUSPEND_TABLE"
    apply_error_escalation_policy: Literal["LOG_ERROR", "SUSPEND_TABLE", "STOP_TASK"] = "SUSPEND_TABLE"
    apply_error_escalation_count: Count = 0
    apply_error_fail_on_truncation_ddl: bool = True
    full_load_ignore_conflicts: bool = True
    """Cached changes repeat what the load has already read: their conflicts are expected."""
    fail_on_transaction_consistency_breached: bool = True
    fail_on_no_tables_captured: bool = True


class ValidationSettings(SettingsModel):
    """DMS's own comparison of rows."""

    enable_validation: bool = False
    validation_mode: Literal["ROW_LEVEL", "GROUP_LEVEL"] = "ROW_LEVEL"
    thread_count: Annotated[int, Field(ge=1, le=100)] = 5
    partition_size: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    failure_max_count: Annotated[int, Field(ge=1)] = 10_000
    table_failure_max_count: Annotated[int, Field(ge=1)] = 1000
    record_failure_delay_in_minutes: Count = 5
    record_failure_delay_limit_in_minutes: Count = 0
    record_suspend_delay_in_minutes: Count = 30
    max_key_column_size: Annotated[int, Field(ge=1)] = 8096
    handle_collation_diff: bool = False
    skip_lob_columns: bool = False
    validation_only: bool = False
    validation_partial_lob_size: Count = 0
    """kB of each LOB that is compared. 0: all of it."""
    validation_query_cdc_delay_seconds: Count = 0


class ResyncSettings(SettingsModel):
    """Repair of rows that DMS's validation found different."""

    enable_resync: bool = False
    resync_schedule: str = ""
    max_resync_time: Count = 0
    validation_task_id: str = ""
