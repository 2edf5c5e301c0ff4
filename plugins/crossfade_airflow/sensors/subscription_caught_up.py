"""Wait until subscriptions apply what the source writes within seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crossfade_airflow.sensors.sampling import SamplingSensor, listed
from crossfade_airflow.triggers.subscription_caught_up import SubscriptionCaughtUpTrigger


class SubscriptionCaughtUpSensor(SamplingSensor):
    """
    Wait until the source's position is applied within `max_seconds`, in `samples` samples in a row; needs no plan.

    A subscription that is missing, disabled, carries other tables than its publications, or fails again and again to
    apply fails the task at once.

    :param source_conn_id: connection to the publishing database
    :param target_conn_id: connection to the subscribing database (15 or newer)
    :param subscriptions: name of a subscription, or a list
    :param max_seconds: from reading the source's position to its confirmation by every slot
    """

    template_fields: Sequence[str] = ("source_conn_id", "target_conn_id", "subscriptions")

    def __init__(
        self,
        *,
        source_conn_id: str,
        target_conn_id: str,
        subscriptions: str | list[str],
        max_seconds: float = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source_conn_id = source_conn_id
        self.target_conn_id = target_conn_id
        self.subscriptions = subscriptions
        self.max_seconds = max_seconds

    def trigger(self, *, deadline: float) -> SubscriptionCaughtUpTrigger:
        return SubscriptionCaughtUpTrigger(
            source_conn_id=self.source_conn_id,
            target_conn_id=self.target_conn_id,
            subscriptions=listed(self.subscriptions),
            max_seconds=self.max_seconds,
            samples=self.samples,
            poke_interval=self.poke_interval,
            deadline=deadline,
        )
