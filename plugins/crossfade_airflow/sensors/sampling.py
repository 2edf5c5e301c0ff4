"""What all sensors share: the first sample here, where what is broken fails at once, then a trigger."""

from __future__ import annotations

import abc
import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, RetryPolicy
from airflow.sdk.exceptions import TaskDeferred

from crossfade_airflow.retries import RETRY_ONLY_TRANSIENT
from crossfade_airflow.triggers.sampling import GRACE, Outcome, SamplingTrigger, figures_of

if TYPE_CHECKING:
    from airflow.sdk import Context


class SamplingSensor(BaseSensorOperator):  # type: ignore[misc]  # Airflow is not type-checked
    """
    Wait until `samples` samples in a row are good. `poke_interval` and `timeout` are those of every sensor.

    :param samples: how many in a row must be good
    """

    def __init__(
        self, *, samples: int = 5, poke_interval: float = 2, retry_policy: RetryPolicy | None = None, **kwargs: Any
    ) -> None:
        super().__init__(poke_interval=poke_interval, retry_policy=retry_policy or RETRY_ONLY_TRANSIENT, **kwargs)
        self.samples = samples

    @abc.abstractmethod
    def trigger(self, *, deadline: float) -> SamplingTrigger:
        """What takes the samples, and gives up at that Unix time."""

    def execute(self, context: Context) -> dict[str, float]:
        trigger = self.trigger(deadline=time.time() + self.timeout)
        outcome = asyncio.run(trigger.take())
        if outcome is not None:
            return self.execute_complete(context, outcome)
        raise TaskDeferred(
            trigger=trigger,
            method_name=self.execute_complete.__name__,
            timeout=timedelta(seconds=self.timeout) + GRACE,
        )

    def execute_complete(self, context: Context, event: Outcome) -> dict[str, float]:
        """The figures of the last sample. Raises as `figures_of`."""
        figures = figures_of(event)
        self.log.info("this is what was waited for: %s", event["message"])
        return figures


def listed(names: str | list[str]) -> list[str]:
    """One name or several, as a list. Raises `ValueError` for none, which would count as caught up."""
    found = [names] if isinstance(names, str) else list(names or [])
    if not found:
        raise ValueError("no name was given: there is nothing to wait for")
    return found
