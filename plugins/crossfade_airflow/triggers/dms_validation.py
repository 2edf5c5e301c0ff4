"""What AWS DMS's own validation says of a replication task's tables."""

from __future__ import annotations

from crossfade.engines.dms.statistics import statistics, validation_summary
from crossfade.engines.dms.task_state import existing
from crossfade_airflow.triggers.dms_task import DmsTaskTrigger, require_going
from crossfade_airflow.triggers.sampling import Sample, StreamBroken


class DmsValidationTrigger(DmsTaskTrigger):
    """
    Fires when every table that can be validated is.

    Ends the wait where records differ, where a validation itself fails, and where nothing is validated.
    """

    def look(self) -> Sample:
        dms = self.client()
        task = existing(dms, self.replication_task_id)
        tables = statistics(dms, task.arn)
        require_going(task, tables)
        if not task.settings.get("ValidationSettings", {}).get("EnableValidation"):
            raise StreamBroken(
                f"replication task {task.identifier} does not validate. Set ValidationSettings.EnableValidation in its "
                "settings (dms.validation in a plan), or leave this task out"
            )
        summary = validation_summary(tables)
        if summary.different or summary.failed:
            raise StreamBroken(
                f"AWS DMS has validated {task.identifier}, and not everything is equal: {summary.line}. The keys of "
                "records that differ are in the table awsdms_validation_failures_v1 on the target. Find out who wrote "
                "there or what DMS could not carry, reload these tables, and clear this task"
            )
        return Sample(good=summary.clean, text=summary.line, figures={"validated": len(summary.validated)})
