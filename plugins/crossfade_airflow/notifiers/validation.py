"""What a task calls when a validation failed for good: tells all that the plan names, and never fails itself."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook, BaseNotifier
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import redact

from crossfade.plan import Plan
from crossfade.plan_notify import Notify
from crossfade.validation.result import Report
from crossfade.validation.told import Notice, of_failure, of_report, with_links
from crossfade_airflow.connections import UnusableConnection
from crossfade_airflow.notifiers.providers import provider_notifier
from crossfade_airflow.validation_reports import ValidationReportLink

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

#: Seconds for all together. Airflow ends a task that takes ``[core] task_success_overtime`` (20 s) for its callbacks,
#: and one that has retries left is then taken for worth a retry, whatever its error was.
PATIENCE = 10.0


def notifiers_of(plan: Plan) -> list[BaseNotifier]:
    """The ``on_failure_callback`` of the task that tells a validation's verdict. Imports no provider, asks nothing."""
    notify = plan.validation.notify
    return [ValidationNotifier(plan=plan.name, notify=notify)] if notify else []


class ValidationNotifier(BaseNotifier):  # type: ignore[misc]  # Airflow is not type-checked
    """
    Tell of a failed validation: the verdict, tables and counts, where its report is. At once, and each on its own.

    Nothing is raised: who could not be told, and why, is in the task's log.

    :param plan: name of the plan
    :param notify: who is told, and how
    """

    def __init__(self, *, plan: str, notify: Sequence[Notify]) -> None:
        super().__init__()
        self.plan = plan
        self.entries = tuple(notify)

    def notify(self, context: Context) -> None:
        """Tell all of them, within `PATIENCE`."""
        deadline = time.monotonic() + PATIENCE
        notice = self._notice(context)
        under_way = [(entry, thread) for entry in self.entries if (thread := _start(entry, notice))]
        for entry, thread in under_way:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                log.error("%s was not told within %g s (connection %r)", entry, PATIENCE, entry.connection)

    def _notice(self, context: Context) -> Notice:
        error = context.get("exception")
        report = getattr(error, "report", None)
        if not isinstance(report, Report):
            return with_links(of_failure(self.plan, error, redact), _links(context, report=False))
        return with_links(of_report(report, redact), _links(context, report=True))


def _links(context: Context, *, report: bool) -> list[tuple[str, str]]:
    """Pages of Airflow, where it knows its own address."""
    ti = context["ti"]
    base = conf.get("api", "base_url", fallback="")
    if not base:
        return []
    try:
        there = ValidationReportLink().get_link(context["task"], ti_key=ti) if report else ""
        return [("Report", there and f"{base.rstrip('/')}/{there}"), ("Task", ti.log_url)]
    except Exception:  # whatever asking the API server raises: people are told all the same
        log.exception("told without links, as Airflow could not be asked where the report is")
        return []


def _start(entry: Notify, notice: Notice) -> threading.Thread | None:
    """
    Begin to tell one of them; None where that is not possible.

    In a thread that ends with the process: no client bounds how long a name is looked up, or an answer drips.
    """
    try:
        notifier = provider_notifier(entry, notice)
    except Exception as error:  # whatever importing a provider raises
        _not_told(entry, error)
        return None
    run = contextvars.copy_context().run
    thread = threading.Thread(target=run, args=(_tell, entry, notifier), name=f"tell {entry}", daemon=True)
    thread.start()
    return thread


def _tell(entry: Notify, notifier: BaseNotifier) -> None:
    try:
        _require(entry.connection)
        notifier.notify({})
    except Exception as error:  # whatever a provider's client raises: each has errors of its own
        _not_told(entry, error)
    else:
        log.info("%s was told of the validation", entry)


def _require(conn_id: str) -> None:
    """Not left to the provider's hook: that of AWS goes on without a connection, as whoever the worker is."""
    try:
        BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise UnusableConnection(conn_id=conn_id, needed_by="validate.notify", problem="does not exist") from None


def _not_told(entry: Notify, error: Exception) -> None:
    why = " ".join(redact(str(error)).split())
    log.error("%s was not told of the validation: %s: %s", entry, type(error).__name__, why)
