"""Wait for the hours in which a plan allows its cutover."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import BaseSensorOperator, RetryPolicy
from airflow.sdk.exceptions import TaskDeferred

from crossfade.cutover.window import in_zones
from crossfade_airflow.migrations import pinned_migration
from crossfade_airflow.retries import RETRY_ONLY_TRANSIENT
from crossfade_airflow.triggers.sampling import HAND_OVER

if TYPE_CHECKING:
    from airflow.sdk import Context


class CutoverWindowSensor(BaseSensorOperator):  # type: ignore[misc]  # Airflow is not type-checked
    """
    Wait until the window of the plan is open (``cutover.window``); a plan without one is not waited for.

    Looks once, then sleeps in the triggerer until the next opening, however far that is. The plan is the one that the
    journal holds at every look.

    :param plan: name of the plan: its file's name without the ending
    :param target_conn_id: connection to the plan's target, whose journal holds the plan
    """

    template_fields: Sequence[str] = ("plan", "target_conn_id")

    def __init__(
        self, *, plan: str, target_conn_id: str, retry_policy: RetryPolicy | None = None, **kwargs: Any
    ) -> None:
        super().__init__(retry_policy=retry_policy or RETRY_ONLY_TRANSIENT, **kwargs)
        self.plan = plan
        self.target_conn_id = target_conn_id

    def execute(self, context: Context, event: Any = None) -> str | None:
        """When the window closes, in ISO 8601; None without a window, or where it stays open for weeks."""
        windows = pinned_migration(self.plan, self.target_conn_id).plan.cutover.window
        if windows is None:
            self.log.info("the plan has no cutover.window: a cutover may begin at any time")
            return None
        now = datetime.now(UTC)
        opens, closes = windows.next_opening(now), windows.closes(now)
        if not windows.open_now(now):
            self.log.info("the window is %s; it opens at %s", windows, in_zones(windows, opens))
            moment = max(opens, now + timedelta(seconds=HAND_OVER))
            raise TaskDeferred(trigger=DateTimeTrigger(moment=moment), method_name=self.execute.__name__)
        until = in_zones(windows, closes) if closes else "further notice"
        self.log.info("the window is open until %s", until)
        return closes.isoformat() if closes else None
