"""Where Airflow keeps the reports of validations, and the link from a task to the report that it wrote."""

from __future__ import annotations

import logging
import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink

from crossfade.validation.report import save
from crossfade.validation.result import Report

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context, ObjectStoragePath
    from airflow.sdk.types import TaskInstanceKey

log = logging.getLogger(__name__)

XCOM_KEY = "validation_report"  #: of the only XCom here: verdict and path, no row
URL_PREFIX = "/crossfade"  #: of what `crossfade_airflow.console` serves


def reports_directory() -> ObjectStoragePath:
    """
    ``CROSSFADE_REPORTS``, else ``reports`` in Airflow's home; a relative path begins there, too.

    A local directory has to be the same for workers and API servers: ``s3://<connection id>@<bucket>/<prefix>`` needs
    no shared disk.
    """
    from airflow.configuration import get_airflow_home
    from airflow.sdk import ObjectStoragePath  # here: plugins are loaded in every process, most write no report

    configured = os.environ.get("CROSSFADE_REPORTS") or "reports"
    if "://" not in configured:
        configured = f"file://{Path(get_airflow_home()).absolute() / Path(configured).expanduser()}"
    return ObjectStoragePath(configured)


def publish(report: Report, context: Context) -> dict[str, str]:
    """
    Save a report and enter verdict and path into XCom, from where the task's link finds it. Returns the same.

    To be called before a difference fails the task. Where the report can't be saved the log says why and the path is
    empty: a verdict that took hours is worth more than its page.
    """
    path = ""
    try:
        path = str(save(report, reports_directory()).html)
        log.info("the report is in %s", path)
    except Exception:  # whatever an object storage raises: each has errors of its own
        log.exception("the report could not be saved: see whether CROSSFADE_REPORTS names a place to write to")
    told = {"verdict": str(report.verdict), "path": path}
    context["ti"].xcom_push(key=XCOM_KEY, value=told)
    return told


class ValidationReportLink(BaseOperatorLink):  # type: ignore[misc]  # Airflow is not type-checked
    """
    The button on a task that leads to its report, wherever that is kept: the API server reads it.

    An operator that calls `publish` has it in ``operator_extra_links``. Airflow asks for the address when the task has
    ended, in the task's own process.
    """

    name = "Validation report"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        from airflow.sdk.execution_time.xcom import XCom  # there only while a task runs

        return address(XCom.get_value(ti_key=ti_key, key=XCOM_KEY))


def address(told: dict[str, Any] | None) -> str:
    """
    What to put into a browser for what `publish` told; empty where there is no report.

    Relative: the page of a task has Airflow's own address as its base, also below a path of a proxy.
    """
    if not told or not told["path"]:
        return ""
    path = PurePosixPath(told["path"])
    return f"{URL_PREFIX.lstrip('/')}/validations/{path.parent.name}/{path.name}"
