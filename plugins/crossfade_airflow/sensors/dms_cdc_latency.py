"""Wait until a replication task of AWS DMS applies changes soon after they were made."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from crossfade_airflow.sensors.dms_task import DmsTaskSensor
from crossfade_airflow.triggers.dms_cdc_latency import DmsCdcLatencyTrigger


class DmsCdcLatencySensor(DmsTaskSensor):
    """
    Wait until both of CloudWatch's latencies are at most `max_seconds` in `samples` of its minutes in a row.

    CloudWatch shows a minute one to three minutes late. On a source where nothing is written the latencies are 0 and
    prove nothing, so nothing would ever be good: with `source_conn_id` and `stream`, a watermark is written there at
    every sample. A task that does not run, or goes on without some of its tables, fails this one at once.

    :param max_seconds: of each latency
    :param source_conn_id: connection to the source, for the watermark
    :param stream: name of the watermark's stream, in a source that Crossfade has prepared
    """

    template_fields: Sequence[str] = (*DmsTaskSensor.template_fields, "source_conn_id", "stream")

    def __init__(
        self,
        *,
        max_seconds: float = 10,
        source_conn_id: str | None = None,
        stream: str | None = None,
        samples: int = 3,
        **kwargs: Any,
    ) -> None:
        super().__init__(samples=samples, **kwargs)
        self.max_seconds = max_seconds
        self.source_conn_id = source_conn_id
        self.stream = stream

    def trigger(self, *, deadline: float) -> DmsCdcLatencyTrigger:
        return DmsCdcLatencyTrigger(
            max_seconds=self.max_seconds,
            since=time.time(),
            source_conn_id=self.source_conn_id,
            stream=self.stream,
            **self.sampling(deadline),
        )
