"""How late a replication task applies changes, by CloudWatch."""

from __future__ import annotations

from typing import Any

import psycopg

from crossfade.engines.dms.latency import PERIOD_SECONDS, CdcLatency, cdc_latency
from crossfade.engines.dms.resources import instance_of
from crossfade.engines.dms.statistics import statistics
from crossfade.engines.dms.task_state import existing
from crossfade_airflow.triggers.dms_task import DmsTaskTrigger, require_going
from crossfade_airflow.triggers.sampling import Sample, StreamBroken, connect

_WATERMARK = """
    INSERT INTO crossfade.watermark (stream, token) VALUES (%s, 1)
    ON CONFLICT (stream) DO UPDATE SET token = watermark.token + 1, written_at = clock_timestamp()"""


class DmsCdcLatencyTrigger(DmsTaskTrigger):
    """
    Fires when both latencies were at most `max_seconds` in `samples` periods of CloudWatch in a row.

    A period is a minute; seen again, it counts once, and periods that had ended before the sensor began do not count.
    Latencies are 0 while nothing is captured, which proves nothing: with a stream given, each sample first writes its
    watermark on the source, so that there is always something to capture.

    :param max_seconds: of each latency
    :param since: Unix time at which the sensor began
    :param source_conn_id: connection to the source, to write the watermark; None writes none
    :param stream: the watermark's name
    :param counted: Unix time of the period that was counted last
    """

    def __init__(
        self,
        *,
        max_seconds: float,
        since: float,
        source_conn_id: str | None = None,
        stream: str | None = None,
        counted: float = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.max_seconds = max_seconds
        self.since = since
        self.source_conn_id = source_conn_id
        self.stream = stream
        self.counted = counted

    def arguments(self) -> dict[str, Any]:
        return {
            **super().arguments(),
            "max_seconds": self.max_seconds,
            "since": self.since,
            "source_conn_id": self.source_conn_id,
            "stream": self.stream,
            "counted": self.counted,
        }

    async def sample(self) -> Sample:
        if self.source_conn_id and self.stream:
            await self._write_watermark(self.source_conn_id, self.stream)
        return await super().sample()

    def look(self) -> Sample:
        dms = self.client()
        task = existing(dms, self.replication_task_id)
        require_going(task, statistics(dms, task.arn))
        instance = instance_of(dms, task.instance_arn)
        seen = cdc_latency(self.client("cloudwatch"), instance_id=instance.identifier, resource_id=task.resource_id)
        figures = {
            f"{name}_seconds": sample.value
            for name, sample in (("source", seen.source), ("target", seen.target))
            if sample
        }
        return Sample(good=self._judge(seen), text=f"{seen.line} (at most {self.max_seconds:g} s)", figures=figures)

    def _judge(self, seen: CdcLatency) -> bool | None:
        """Whether a period that was not counted yet is good; None where there is no new one."""
        if not seen.source or not seen.target:
            return False
        period = min(seen.source.at, seen.target.at).timestamp()
        if period + PERIOD_SECONDS <= self.since:
            return None
        if not seen.current(self.max_seconds):
            return False  # also one that was counted: a minute's latency is its worst, and may rise while it lasts
        if period <= self.counted:
            return None
        self.counted = period
        return True

    async def _write_watermark(self, conn_id: str, stream: str) -> None:
        async with await connect(conn_id, needed_by="the sensor of CDC latency") as conn:
            try:
                await conn.execute(_WATERMARK, [stream])
            except psycopg.OperationalError:
                raise
            except psycopg.Error as error:
                reason = error.diag.message_primary or str(error)
                raise StreamBroken(
                    f"the watermark {stream!r} cannot be written on {conn_id!r}: {reason}. Clear the task provision, "
                    "which makes its table, or leave out source_conn_id and stream"
                ) from error
