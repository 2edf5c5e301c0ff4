"""One operator a phase of the migration, and single steps for users' own DAGs."""

from crossfade_airflow.operators.abort import AbortOperator
from crossfade_airflow.operators.approve_cleanup import CleanupApprovalOperator
from crossfade_airflow.operators.approve_cutover import CutoverApprovalOperator
from crossfade_airflow.operators.approve_rollback import RollbackApprovalOperator
from crossfade_airflow.operators.assess import AssessOperator
from crossfade_airflow.operators.assessment_run import AssessmentRunOperator
from crossfade_airflow.operators.begin_validation import BeginValidationOperator
from crossfade_airflow.operators.check_definitions import CheckDefinitionsOperator
from crossfade_airflow.operators.check_lobs import CheckLobsOperator
from crossfade_airflow.operators.cleanup import CleanupOperator
from crossfade_airflow.operators.compare_tables import CompareTablesOperator
from crossfade_airflow.operators.confirm_return import ConfirmReturnOperator
from crossfade_airflow.operators.create_task import CreateTaskOperator
from crossfade_airflow.operators.cutover import CutoverOperator
from crossfade_airflow.operators.drop_not_null import DropNotNullOperator
from crossfade_airflow.operators.finish_copy import FinishCopyOperator
from crossfade_airflow.operators.guard import GuardOperator
from crossfade_airflow.operators.harden import HardenOperator
from crossfade_airflow.operators.hook_dag import HookDagOperator
from crossfade_airflow.operators.load_wave import LoadWaveOperator
from crossfade_airflow.operators.map_tables import MapTablesOperator
from crossfade_airflow.operators.migration import MigrationOperator
from crossfade_airflow.operators.pgbouncer_pause import PgBouncerPauseOperator
from crossfade_airflow.operators.pgbouncer_reload import PgBouncerReloadOperator
from crossfade_airflow.operators.pgbouncer_resume import PgBouncerResumeOperator
from crossfade_airflow.operators.prepare import PrepareOperator
from crossfade_airflow.operators.provision import ProvisionOperator
from crossfade_airflow.operators.rehearse import RehearseOperator
from crossfade_airflow.operators.reload_tables import ReloadTablesOperator
from crossfade_airflow.operators.report_validation import ReportValidationOperator
from crossfade_airflow.operators.reset_sequences import ResetSequencesOperator
from crossfade_airflow.operators.restore_not_null import RestoreNotNullOperator
from crossfade_airflow.operators.resume_task import ResumeTaskOperator
from crossfade_airflow.operators.rollback import RollbackOperator
from crossfade_airflow.operators.size_lobs import SizeLobsOperator
from crossfade_airflow.operators.start_task import StartTaskOperator
from crossfade_airflow.operators.start_way_back import StartWayBackOperator

__all__ = [
    "AssessOperator",
    "PrepareOperator",
    "LoadWaveOperator",
    "HardenOperator",
    "BeginValidationOperator",
    "CheckDefinitionsOperator",
    "CompareTablesOperator",
    "ReportValidationOperator",
    "RehearseOperator",
    "CutoverApprovalOperator",
    "CutoverOperator",
    "HookDagOperator",
    "StartWayBackOperator",
    "FinishCopyOperator",
    "RollbackApprovalOperator",
    "RollbackOperator",
    "ConfirmReturnOperator",
    "CleanupApprovalOperator",
    "CleanupOperator",
    "GuardOperator",
    "AbortOperator",
    "MigrationOperator",
    "ProvisionOperator",
    "SizeLobsOperator",
    "DropNotNullOperator",
    "MapTablesOperator",
    "CreateTaskOperator",
    "AssessmentRunOperator",
    "StartTaskOperator",
    "ResumeTaskOperator",
    "CheckLobsOperator",
    "ReloadTablesOperator",
    "RestoreNotNullOperator",
    "ResetSequencesOperator",
    "PgBouncerPauseOperator",
    "PgBouncerReloadOperator",
    "PgBouncerResumeOperator",
]
