"""Whether a premigration assessment run of AWS DMS has ended."""

from __future__ import annotations

from typing import Any

from crossfade.engines.dms import assessment
from crossfade_airflow.triggers.dms_task import DmsTaskTrigger
from crossfade_airflow.triggers.sampling import Sample


class DmsAssessmentRunTrigger(DmsTaskTrigger):
    """
    Fires when the run has ended, however.

    :param run_arn: ARN of the run
    """

    def __init__(self, *, run_arn: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.run_arn = run_arn

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "run_arn": self.run_arn}

    def look(self) -> Sample:
        run = assessment.read(self.client(), self.run_arn)
        return Sample(
            good=run.status not in assessment.UNDER_WAY,
            text=run.line,
            figures={"completed": run.completed, "total": run.total},
        )
