"""Wait until replication slots are only a few bytes behind their server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crossfade_airflow.sensors.sampling import SamplingSensor, listed
from crossfade_airflow.triggers.replication_slot_lag import ReplicationSlotLagTrigger


class ReplicationSlotLagSensor(SamplingSensor):
    """
    Wait until every slot is at most `max_bytes` behind, in `samples` samples in a row; needs no plan.

    Bytes are counted from the server's position to what the slot's reader has flushed and confirmed. A slot that is
    missing or lost fails the task at once.

    :param conn_id: connection to the server that has the slots
    :param slots: name of a logical replication slot, or a list
    :param max_bytes: bytes of WAL not yet confirmed
    """

    template_fields: Sequence[str] = ("conn_id", "slots")

    def __init__(self, *, conn_id: str, slots: str | list[str], max_bytes: int = 2**20, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.slots = slots
        self.max_bytes = max_bytes

    def trigger(self, *, deadline: float) -> ReplicationSlotLagTrigger:
        return ReplicationSlotLagTrigger(
            conn_id=self.conn_id,
            slots=listed(self.slots),
            max_bytes=self.max_bytes,
            samples=self.samples,
            poke_interval=self.poke_interval,
            deadline=deadline,
        )
