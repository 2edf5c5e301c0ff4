"""How much WAL the slots of the source still have to send."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crossfade.quantities import format_size
from crossfade_airflow.triggers.sampling import Sample, SamplingTrigger, StreamBroken, connect

# replay_lsn and sent_lsn flatter: they read 0 while megabytes were outstanding. Only what was flushed counts.
_SLOTS = """
    SELECT slot_name, wal_status, active,
           CASE WHEN confirmed_flush_lsn IS NOT NULL  -- greatest() would make a 0 of it
                THEN greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn), 0)::bigint END AS bytes
    FROM pg_replication_slots WHERE slot_name = ANY(%s)"""


class ReplicationSlotLagTrigger(SamplingTrigger):
    """
    Fires when every slot is at most `max_bytes` behind its server, in `samples` samples in a row.

    :param conn_id: connection to the server that has the slots
    :param slots: their names
    :param max_bytes: bytes of WAL not yet confirmed
    """

    def __init__(self, *, conn_id: str, slots: Sequence[str], max_bytes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.slots = list(slots)
        self.max_bytes = max_bytes

    def arguments(self) -> dict[str, Any]:
        return {"conn_id": self.conn_id, "slots": self.slots, "max_bytes": self.max_bytes}

    async def sample(self) -> Sample:
        async with await connect(self.conn_id, needed_by="the sensor of slot lag") as conn:
            rows = await (await conn.execute(_SLOTS, [self.slots])).fetchall()
        found = {row["slot_name"]: row for row in rows}
        for slot in self.slots:
            self._require_usable(slot, found.get(slot))
        behind = {slot: int(found[slot]["bytes"]) for slot in self.slots}
        slowest = max(behind, key=behind.__getitem__)
        idle = [slot for slot in self.slots if not found[slot]["active"]]
        note = f" · nobody reads from {', '.join(idle)}" if idle else ""
        return Sample(
            good=behind[slowest] <= self.max_bytes,
            text=f"{slowest} is {format_size(behind[slowest])} behind (at most {format_size(self.max_bytes)}){note}",
            figures={"bytes": behind[slowest]},
        )

    def _require_usable(self, slot: str, row: dict[str, Any] | None) -> None:
        if row is None:
            raise StreamBroken(
                f"the replication slot {slot!r} does not exist on {self.conn_id!r}: its changes are gone. "
                "Its tables have to be loaded again: clear the task load of its wave, with AWS DMS start_task"
            )
        if row["wal_status"] == "lost":
            raise StreamBroken(
                f"the replication slot {slot!r} on {self.conn_id!r} is lost: the server has removed WAL it needed "
                "(max_slot_wal_keep_size). Raise that limit; its tables have to be loaded again: clear the task load "
                "of its wave, with AWS DMS start_task"
            )
        if row["bytes"] is None:
            raise StreamBroken(f"{slot!r} on {self.conn_id!r} is no logical replication slot. Name a logical one")
