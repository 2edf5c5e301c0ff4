"""Wait until AWS DMS's own validation has found every table equal."""

from __future__ import annotations

from crossfade_airflow.sensors.dms_task import DmsTaskSensor
from crossfade_airflow.triggers.dms_validation import DmsValidationTrigger


class DmsValidationSensor(DmsTaskSensor):
    """
    Wait until every table that DMS can validate is validated; tables without a primary key are only named.

    Fails at once where records differ or a validation fails, naming the tables, and where the task does not validate.
    """

    def trigger(self, *, deadline: float) -> DmsValidationTrigger:
        return DmsValidationTrigger(**self.sampling(deadline))
