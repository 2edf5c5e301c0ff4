"""Premigration assessment runs of AWS DMS: started, awaited, and read."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crossfade.engines.dms.refusals import Client, Refused, asking, pages
from crossfade.engines.dms.waiting import until
from crossfade.errors import PreconditionError, TransientError

log = logging.getLogger(__name__)

#: States in which a run still works (API reference of AWS DMS: ReplicationTaskAssessmentRun).
UNDER_WAY = frozenset({"starting", "provisioning", "running", "cancelling", "deleting"})


class AssessmentFailed(PreconditionError):
    """A premigration assessment found what would make the migration fail."""


class AssessmentBroken(TransientError):
    """A premigration assessment run did not come to a result."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AssessmentRun:
    """A run and its individual assessments."""

    arn: str
    name: str
    status: str  #: passed, failed, warning, error-executing, error-provisioning …
    failure: str | None
    completed: int  #: individual assessments, of
    total: int
    location: str  #: where the results are, as s3://bucket/folder
    assessments: Mapping[str, str]  #: name to status: passed, failed, warning, error, skipped, cancelled …

    def of_status(self, *statuses: str) -> tuple[str, ...]:
        """Names of the individual assessments that ended so."""
        return tuple(sorted(name for name, status in self.assessments.items() if status in statuses))

    @property
    def line(self) -> str:
        """One line for a log."""
        parts = [f"assessment run {self.name}: {self.status}, {self.completed} of {self.total} done"]
        for title, names in (("failed", self.of_status("failed", "error")), ("warning", self.of_status("warning"))):
            if names:
                parts.append(f"{title}: {', '.join(names)}")
        return "; ".join(parts)

    def require_passed(self) -> None:
        """
        Raises `AssessmentFailed` naming the assessments, `AssessmentBroken` where there is no result.

        Warnings pass.
        """
        reason = f" {self.failure.rstrip('.')}." if self.failure else ""
        if bad := self.of_status("failed"):
            raise AssessmentFailed(
                f"the premigration assessment {self.name} of AWS DMS failed: {', '.join(bad)}.{reason} What each found "
                f"is in {self.location}. Put it right, or leave an assessment out by dms.assessment.exclude, and clear "
                "this task"
            )
        if errors := self.of_status("error", "cancelled"):
            raise AssessmentBroken(
                f"the premigration assessment {self.name} did not finish: {', '.join(errors)}.{reason} Clear this task"
            )
        if self.status not in ("passed", "warning"):
            raise AssessmentBroken(
                f"the premigration assessment {self.name} ended as {self.status!r}.{reason} Clear this task; if it "
                "goes on, check the service role and the bucket"
            )


def start(
    dms: Client,
    *,
    task_arn: str,
    name: str,
    role: str,
    bucket: str,
    folder: str = "",
    exclude: Sequence[str] = (),
) -> str:
    """
    Start a run and return its ARN; the run of that name where it was started before.

    DMS wants a successful connection test of both endpoints, and a task that does not run.
    :param role: ARN of the service role that writes the results
    Raises as `refusals.asking`.
    """
    options: dict[str, Any] = {"ResultLocationFolder": folder} if folder else {}
    if exclude:
        options["Exclude"] = list(exclude)
    try:
        with asking("dms:StartReplicationTaskAssessmentRun", f"assessment run {name} of task {task_arn}"):
            answer = dms.start_replication_task_assessment_run(
                ReplicationTaskArn=task_arn,
                ServiceAccessRoleArn=role,
                ResultLocationBucket=bucket,
                AssessmentRunName=name,
                **options,
            )
    except Refused as error:
        earlier = _named(dms, task_arn, name) if error.code == "ResourceAlreadyExistsFault" else None
        if earlier is None:
            raise
        log.info("assessment run %s was started before", name)
        return earlier
    arn: str = answer["ReplicationTaskAssessmentRun"]["ReplicationTaskAssessmentRunArn"]
    log.info("assessment run %s started", name)
    return arn


def _named(dms: Client, task_arn: str, name: str) -> str | None:
    for run in _runs(dms, "replication-task-arn", task_arn):
        if run.get("AssessmentRunName") == name:
            return str(run["ReplicationTaskAssessmentRunArn"])
    return None


def _runs(dms: Client, by: str, value: str) -> list[Mapping[str, Any]]:
    return pages(
        dms,
        "describe_replication_task_assessment_runs",
        "ReplicationTaskAssessmentRuns",
        action="dms:DescribeReplicationTaskAssessmentRuns",
        subject=f"assessment runs of {value}",
        Filters=[{"Name": by, "Values": [value]}],
    )


def read(dms: Client, run_arn: str) -> AssessmentRun:
    """The run as it is now. Raises `PreconditionError` where there is none."""
    runs = _runs(dms, "replication-task-assessment-run-arn", run_arn)
    if not runs:
        raise PreconditionError(f"AWS DMS has no assessment run {run_arn}: it was deleted. Start another one")
    run = runs[0]
    individual = pages(
        dms,
        "describe_replication_task_individual_assessments",
        "ReplicationTaskIndividualAssessments",
        action="dms:DescribeReplicationTaskIndividualAssessments",
        subject=f"assessment run {run_arn}",
        Filters=[{"Name": "replication-task-assessment-run-arn", "Values": [run_arn]}],
    )
    progress = run.get("AssessmentProgress") or {}
    place = "/".join(part for part in (run.get("ResultLocationBucket"), run.get("ResultLocationFolder")) if part)
    return AssessmentRun(
        arn=run_arn,
        name=run.get("AssessmentRunName") or run_arn,
        status=str(run["Status"]).lower(),
        failure=(run.get("LastFailureMessage") or "").strip() or None,
        completed=int(progress.get("IndividualAssessmentCompletedCount") or 0),
        total=int(progress.get("IndividualAssessmentCount") or len(individual)),
        location=f"s3://{place}",
        assessments={one["IndividualAssessmentName"]: str(one["Status"]).lower() for one in individual},
    )


def wait(dms: Client, run_arn: str, deadline: float) -> AssessmentRun:
    """
    The run once it has ended, however.

    :param deadline: `time.monotonic()`
    Raises `DeadlineExceeded`.
    """
    return until(
        lambda: read(dms, run_arn),
        lambda run: run.status not in UNDER_WAY,
        what="the premigration assessment",
        seen=lambda run: run.line,
        deadline=deadline,
    )
