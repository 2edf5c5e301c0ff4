"""Premigration assessment runs: started on a task, carried out in a thread, results written to S3."""

import json
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import psycopg
from moto.core.utils import utcnow
from moto.s3.models import s3_backends

from crossfade_lab.aws.dms import mappings, names
from crossfade_lab.aws.dms.account import role_for_dms
from crossfade_lab.aws.dms.checks import CHECKS, Check, Scene
from crossfade_lab.aws.dms.endpoints import CannotConnect
from crossfade_lab.aws.dms.errors import (
    AccessDeniedFault,
    InvalidParameterCombinationException,
    InvalidParameterValueException,
    InvalidResourceStateFault,
    ResourceAlreadyExistsFault,
    ResourceNotFoundFault,
    S3ResourceNotFoundFault,
)
from crossfade_lab.aws.dms.reporting import seconds
from crossfade_lab.aws.dms.selection import selected
from crossfade_lab.aws.dms.tasks import ReplicationTask

STARTING_SECONDS = 0.3

#: Statuses of a run that still has something to do.
UNDER_WAY = frozenset({"starting", "provisioning", "running"})
_COUNTED = ("passed", "failed", "error", "warning", "cancelled", "skipped")


def applicable(migration_type: str | None) -> list[str]:
    """The names that a task of this type allows; all without a type."""
    return [check.name for check in CHECKS if migration_type != "full-load" or not check.cdc_only]


class IndividualAssessment:
    """One check of one run, and what it objected to."""

    def __init__(self, check: Check, *, run_arn: str, task_arn: str) -> None:
        self.check, self.run_arn, self.task_arn = check, run_arn, task_arn
        self.arn = f"{run_arn}/{check.name}".replace(":assessment-run:", ":individual-assessment:")
        self.status = "pending"
        self.started = utcnow()
        self.objections: list[str] = []

    def carry_out(self, scene: Scene) -> None:
        """Look, and take the outcome."""
        self.status, self.started = "running", utcnow()
        try:
            self.objections = list(self.check.run(scene))
            self.status = self.check.outcome if self.objections else "passed"
        except psycopg.Error as error:
            self.status, self.objections = "error", [str(error).strip()]

    def to_dict(self) -> dict[str, Any]:
        """The structure of the API."""
        return {
            "ReplicationTaskIndividualAssessmentArn": self.arn,
            "ReplicationTaskAssessmentRunArn": self.run_arn,
            "IndividualAssessmentName": self.check.name,
            "Status": self.status,
            "ReplicationTaskIndividualAssessmentStartDate": seconds(self.started),
        }


class AssessmentRun:
    """One run on one task."""

    def __init__(self, task: ReplicationTask, asked: Mapping[str, Any], chosen: list[str], *, account: str) -> None:
        self.task, self.asked, self.account = task, asked, account
        self.arn = names.arn("assessment-run", region=task.region, account=account)
        self.name = str(asked["AssessmentRunName"])
        self.folder = str(asked.get("ResultLocationFolder") or f"{self.name}-results")
        self.status = "starting"
        self.created = utcnow()
        self.failure = ""
        self.singles = [
            IndividualAssessment(check, run_arn=self.arn, task_arn=task.arn) for check in CHECKS if check.name in chosen
        ]

    def to_dict(self, *, latest: bool) -> dict[str, Any]:
        """The structure of the API."""
        statuses = [single.status for single in self.singles]
        return {
            "ReplicationTaskAssessmentRunArn": self.arn,
            "ReplicationTaskArn": self.task.arn,
            "Status": self.status,
            "ReplicationTaskAssessmentRunCreationDate": seconds(self.created),
            "AssessmentProgress": {
                "IndividualAssessmentCount": len(statuses),
                "IndividualAssessmentCompletedCount": sum(status in _COUNTED for status in statuses),
            },
            "LastFailureMessage": self.failure,
            "ServiceAccessRoleArn": self.asked["ServiceAccessRoleArn"],
            "ResultLocationBucket": self.asked["ResultLocationBucket"],
            "ResultLocationFolder": self.folder,
            "AssessmentRunName": self.name,
            "IsLatestTaskAssessmentRun": latest,
            "ResultStatistic": {status.capitalize(): statuses.count(status) for status in _COUNTED},
        }

    def carry_out(self, lock: threading.RLock) -> None:
        """Run every check, decide the status, write the results."""
        time.sleep(STARTING_SECONDS)
        try:
            self._carry_out()
        except (CannotConnect, psycopg.Error) as error:
            self.failure, final = str(error).strip(), "error-executing"
        else:
            statuses = {single.status for single in self.singles}
            final = next((status for status in ("failed", "error", "warning") if status in statuses), "passed")
            final = {"error": "error-executing"}.get(final, final)
        with lock:
            self._write_results()
            self.task.end_of_assessment()
            self.status = "cancelled" if self.status == "cancelling" else final

    def _carry_out(self) -> None:
        if self.status == "starting":
            self.status = "running"
        with ExitStack() as stack:
            source = stack.enter_context(self.task.source.login().connect())
            target = self.task.target.login()
            scene = Scene(
                source=source,
                target=stack.enter_context(target.connect()),
                tables=selected(source, mappings.checked(self.task.table_mappings)),
                settings=self.task.settings,
                migration_type=self.task.migration_type,
                after_connect=str(target.settings.get("AfterConnectScript", "")),
            )
            for single in self.singles:
                if self.status == "cancelling":
                    single.status = "cancelled"
                else:
                    single.carry_out(scene)

    def _write_results(self) -> None:
        results = {
            "assessmentRunName": self.name,
            "taskArn": self.task.arn,
            "results": [
                {"name": single.check.name, "status": single.status, "details": single.objections}
                for single in self.singles
            ],
        }
        key = f"{self.folder}/{self.name}/results.json"
        bucket = self.asked["ResultLocationBucket"]
        s3_backends[self.account]["aws"].put_object(bucket, key, json.dumps(results, indent=2).encode())


class AssessmentRuns:
    """The runs of one region."""

    def __init__(self) -> None:
        self._runs: list[AssessmentRun] = []

    def all(self) -> list[AssessmentRun]:
        """Every run, oldest first."""
        return list(self._runs)

    def is_latest(self, run: AssessmentRun) -> bool:
        """Whether no later run is on the same task."""
        return [other for other in self._runs if other.task is run.task][-1] is run

    def start(
        self, task: ReplicationTask, asked: Mapping[str, Any], *, account: str, lock: threading.RLock
    ) -> AssessmentRun:
        """Begin a run; its task is `testing` meanwhile.

        :param asked: the parameters of the request
        :param lock: what guards the states of tasks
        :raises DmsClientError: when role, bucket, names or the task's state do not allow it
        """
        chosen = _chosen(task, asked)
        if not role_for_dms(asked["ServiceAccessRoleArn"], account=account):
            raise AccessDeniedFault(f"Role {asked['ServiceAccessRoleArn']} does not exist or does not trust DMS")
        if asked["ResultLocationBucket"] not in s3_backends[account]["aws"].buckets:
            raise S3ResourceNotFoundFault(f"Bucket {asked['ResultLocationBucket']} does not exist")
        if any(run.name == asked["AssessmentRunName"] for run in self._runs):
            raise ResourceAlreadyExistsFault(f"Assessment run {asked['AssessmentRunName']} already exists")
        task.pause_for_assessment()
        run = AssessmentRun(task, asked, chosen, account=account)
        self._runs.append(run)
        threading.Thread(target=run.carry_out, args=(lock,), name="assessment-run", daemon=True).start()
        return run

    def cancel(self, arn: str) -> AssessmentRun:
        """Ask a run to end; checks that have not started do not run."""
        run = self._run(arn)
        if run.status not in UNDER_WAY:
            raise InvalidResourceStateFault(f"Assessment run {run.name} is {run.status} and cannot be cancelled")
        run.status = "cancelling"
        return run

    def delete(self, arn: str) -> AssessmentRun:
        """Forget a run; its results in S3 stay."""
        run = self._run(arn)
        if run.status in UNDER_WAY:
            raise InvalidResourceStateFault(f"Assessment run {run.name} is {run.status} and cannot be deleted")
        self._runs.remove(run)
        run.status = "deleting"
        return run

    def _run(self, arn: str) -> AssessmentRun:
        for run in self._runs:
            if run.arn == arn:
                return run
        raise ResourceNotFoundFault(f"Assessment run {arn} not found")


def _chosen(task: ReplicationTask, asked: Mapping[str, Any]) -> list[str]:
    only, without = asked.get("IncludeOnly") or [], asked.get("Exclude") or []
    if only and without:
        raise InvalidParameterCombinationException("Use either IncludeOnly or Exclude, not both")
    available = applicable(task.migration_type)
    if unknown := sorted({*only, *without} - set(available)):
        raise InvalidParameterValueException(f"Assessments not applicable to this task: {', '.join(unknown)}")
    return [name for name in available if (name in only if only else name not in without)]
