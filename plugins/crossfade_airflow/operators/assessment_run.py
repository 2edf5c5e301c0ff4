"""The task `dms_assessment`: AWS DMS's own look at a replication task before it starts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, RetryPolicy
from airflow.sdk.exceptions import TaskDeferred

from crossfade.engines.dms import assessment
from crossfade.engines.dms.native import NOTHING_TO_DO, native_slots
from crossfade.engines.dms.task_state import settled
from crossfade_airflow.connections import aws_client
from crossfade_airflow.migrations import pinned_migration
from crossfade_airflow.retries import RETRY_ONLY_TRANSIENT
from crossfade_airflow.triggers.dms_assessment_run import DmsAssessmentRunTrigger
from crossfade_airflow.triggers.sampling import GRACE, Outcome, figures_of

if TYPE_CHECKING:
    from airflow.sdk import Context


class AssessmentRunOperator(BaseOperator):  # type: ignore[misc]  # Airflow is not type-checked
    """
    Run a premigration assessment of a replication task that has not started, and wait for it; needs no plan.

    Occupies no worker while it waits. An assessment that fails fails the task and is named, like the place of its
    results; warnings are logged. A task whose load has begun is left alone. Returns each assessment's status. With a
    plan, it succeeds at once where the plan was rolled back and the task is over.

    :param replication_task_id: the task's identifier, not its ARN
    :param service_role_arn: role that writes the results
    :param bucket: S3 bucket of the results
    :param folder: in that bucket
    :param exclude: names of individual assessments to leave out
    :param aws_conn_id: connection to AWS
    :param plan: name of the plan whose task it is
    :param target_conn_id: connection to the plan's target, whose journal holds the plan
    :param poke_interval: seconds between two looks
    :param timeout: seconds to wait
    """

    template_fields: Sequence[str] = (
        "aws_conn_id",
        "replication_task_id",
        "service_role_arn",
        "bucket",
        "folder",
        "exclude",
        "plan",
        "target_conn_id",
    )

    def __init__(
        self,
        *,
        replication_task_id: str,
        service_role_arn: str,
        bucket: str,
        folder: str = "",
        exclude: Sequence[str] = (),
        aws_conn_id: str = "aws_default",
        plan: str | None = None,
        target_conn_id: str | None = None,
        poke_interval: float = 10,
        timeout: float = 3600,
        retry_policy: RetryPolicy | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(retry_policy=retry_policy or RETRY_ONLY_TRANSIENT, **kwargs)
        self.replication_task_id = replication_task_id
        self.service_role_arn = service_role_arn
        self.bucket = bucket
        self.folder = folder
        self.exclude = exclude
        self.aws_conn_id = aws_conn_id
        self.plan = plan
        self.target_conn_id = target_conn_id
        self.poke_interval = poke_interval
        self.timeout = timeout

    def execute(self, context: Context) -> dict[str, str]:
        if self.plan and self.target_conn_id and native_slots(pinned_migration(self.plan, self.target_conn_id)):
            self.log.info(NOTHING_TO_DO)
            return {}
        dms = self.client()
        task = settled(dms, self.replication_task_id)  # a run that was begun by an earlier try keeps the task busy
        if task.has_run:
            self.log.info("the load of %s has begun: it is too late for an assessment", task.identifier)
            return {}
        run_arn = assessment.start(
            dms,
            task_arn=task.arn,
            name=f"{task.identifier}-{datetime.now(UTC):%Y%m%d-%H%M%S}",
            role=self.service_role_arn,
            bucket=self.bucket,
            folder=self.folder,
            exclude=self.exclude,
        )
        raise TaskDeferred(
            trigger=DmsAssessmentRunTrigger(
                aws_conn_id=self.aws_conn_id,
                replication_task_id=self.replication_task_id,
                run_arn=run_arn,
                samples=1,
                poke_interval=self.poke_interval,
                deadline=time.time() + self.timeout,
            ),
            method_name=self.execute_complete.__name__,
            kwargs={"run_arn": run_arn},
            timeout=timedelta(seconds=self.timeout) + GRACE,
        )

    def execute_complete(self, context: Context, event: Outcome, run_arn: str) -> dict[str, str]:
        """Read the results. Raises `AssessmentFailed`, `AssessmentBroken`, and as a sensor."""
        figures_of(event)
        run = assessment.read(self.client(), run_arn)
        for name, status in sorted(run.assessments.items()):
            self.log.info("%s: %s", name, status)
        self.log.info("%s; details in %s", run.line, run.location)
        run.require_passed()
        return dict(run.assessments)

    def client(self) -> Any:
        """A boto3 client of the connection. Raises `UnusableConnection`."""
        return aws_client(self.aws_conn_id, "dms", needed_by=f"the task {self.task_id!r}")
