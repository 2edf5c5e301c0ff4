"""Whether subscriptions keep up: how long a position of the source takes to be applied and confirmed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from crossfade_airflow.triggers.sampling import Sample, SamplingTrigger, StreamBroken, connect

Connection = psycopg.AsyncConnection[dict[str, Any]]

ERRORS_WITHOUT_PROGRESS = 3  #: a worker that was cut off counts one too; one that can't apply goes on counting
_EVERY = 0.05  #: seconds between two looks at the slots

_SUBSCRIPTIONS = """
    SELECT s.subname AS name, s.subslotname AS slot, s.subenabled AS enabled, s.subpublications AS publications,
           coalesce(t.apply_error_count, 0)::bigint AS errors,
           ARRAY(SELECT n.nspname || '.' || c.relname
                 FROM pg_subscription_rel r
                 JOIN pg_class c ON c.oid = r.srrelid JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE r.srsubid = s.oid ORDER BY 1) AS tables
    FROM pg_subscription s LEFT JOIN pg_stat_subscription_stats t ON t.subid = s.oid
    WHERE s.subdbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND s.subname = ANY(%s)"""

_PUBLISHED = """
    SELECT schemaname || '.' || tablename AS name FROM pg_publication_tables WHERE pubname = ANY(%s) ORDER BY 1"""

_OUTSTANDING = """
    SELECT slot_name, greatest(pg_wal_lsn_diff(%s::pg_lsn, confirmed_flush_lsn), 0)::bigint AS bytes
    FROM pg_replication_slots WHERE slot_name = ANY(%s) AND confirmed_flush_lsn IS NOT NULL"""


class SubscriptionCaughtUpTrigger(SamplingTrigger):
    """
    Fires when what the source wrote up to now is applied within `max_seconds`, in `samples` samples in a row.

    :param source_conn_id: connection to the publishing database
    :param target_conn_id: connection to the subscribing database (15 or newer)
    :param subscriptions: their names
    :param max_seconds: from reading the source's position to its confirmation by every slot
    :param progress: for each subscription, its error count when it last made progress
    """

    def __init__(
        self,
        *,
        source_conn_id: str,
        target_conn_id: str,
        subscriptions: Sequence[str],
        max_seconds: float,
        progress: Mapping[str, int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source_conn_id = source_conn_id
        self.target_conn_id = target_conn_id
        self.subscriptions = list(subscriptions)
        self.max_seconds = max_seconds
        self.progress = dict(progress or {})
        self._outstanding: dict[str, int] = {}

    def arguments(self) -> dict[str, Any]:
        return {
            "source_conn_id": self.source_conn_id,
            "target_conn_id": self.target_conn_id,
            "subscriptions": self.subscriptions,
            "max_seconds": self.max_seconds,
            "progress": self.progress,
        }

    async def sample(self) -> Sample:
        needed_by = "the sensor of subscriptions"
        async with (
            await connect(self.source_conn_id, needed_by=needed_by) as source,
            await connect(self.target_conn_id, needed_by=needed_by) as target,
        ):
            rows = await (await target.execute(_SUBSCRIPTIONS, [self.subscriptions])).fetchall()
            found = {row["name"]: row for row in rows}
            for name in self.subscriptions:
                await self._require_complete(name, found.get(name), source)
            seconds, outstanding = await self._await_position(source, {row["slot"] for row in rows})
        for row in rows:
            self._require_progress(row, outstanding[row["slot"]])
        self._outstanding = outstanding
        behind = max(outstanding.values())
        lag = f"applied after {seconds:.2f} s" if not behind else f"{behind} bytes not applied after {seconds:.2f} s"
        return Sample(
            good=not behind,
            text=f"{', '.join(self.subscriptions)}: {lag} (at most {self.max_seconds:g} s)",
            figures={"seconds": round(seconds, 3), "bytes": behind},
        )

    async def _require_complete(self, name: str, row: dict[str, Any] | None, source: Connection) -> None:
        if row is None:
            raise StreamBroken(
                f"the subscription {name!r} does not exist on {self.target_conn_id!r}. "
                "Clear the load task of its wave, which makes it again"
            )
        if not row["enabled"]:
            raise StreamBroken(
                f"the subscription {name!r} on {self.target_conn_id!r} is disabled: nothing is applied. Look for the "
                f"reason in the target's log, then: ALTER SUBSCRIPTION {name} ENABLE"
            )
        tables = await (await source.execute(_PUBLISHED, [row["publications"]])).fetchall()
        published = {table["name"] for table in tables}
        subscribed = set(row["tables"])
        if not published or published != subscribed:
            # a missing publication is only a warning to PostgreSQL, and "all tables ready" is then true of none
            raise StreamBroken(
                f"the subscription {name!r} on {self.target_conn_id!r} does not carry what {row['publications']} "
                f"publish(es) on {self.source_conn_id!r}. Not subscribed: {sorted(published - subscribed) or 'none'}; "
                f"not published: {sorted(subscribed - published) or 'none'}"
            )

    async def _await_position(self, source: Connection, slots: set[str]) -> tuple[float, dict[str, int]]:
        """Seconds until every slot has confirmed the source's present position, and the bytes still missing."""
        start = time.monotonic()
        row = await (await source.execute("SELECT pg_current_wal_lsn() AS lsn")).fetchone()
        assert row is not None  # a SELECT without FROM
        while True:
            found = await (await source.execute(_OUTSTANDING, [row["lsn"], list(slots)])).fetchall()
            outstanding = {slot["slot_name"]: int(slot["bytes"]) for slot in found}
            if missing := slots - outstanding.keys():
                raise StreamBroken(
                    f"the replication slot(s) {sorted(missing)} do not exist on {self.source_conn_id!r}: their changes "
                    "are gone. Clear the load task of the wave, which copies it again"
                )
            seconds = time.monotonic() - start
            if not any(outstanding.values()) or seconds > self.max_seconds:
                return seconds, outstanding
            await asyncio.sleep(_EVERY)

    def _require_progress(self, row: dict[str, Any], outstanding: int) -> None:
        """Errors alone are no reason to give up, errors without any progress between them are."""
        name, slot, errors = row["name"], row["slot"], int(row["errors"])
        if not outstanding or outstanding < self._outstanding.get(slot, 0):
            self.progress[name] = errors
        risen = errors - self.progress.setdefault(name, errors)
        if risen >= ERRORS_WITHOUT_PROGRESS:
            raise StreamBroken(
                f"the subscription {name!r} on {self.target_conn_id!r} failed {risen} times to apply the same change. "
                "The target's log says which row and why; put it right, then clear this task"
            )
