"""CloudWatch's opinion of whether changes are still on their way, asked beside the proof."""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING

from crossfade.engines.dms import task
from crossfade.engines.dms.latency import CdcLatency, cdc_latency
from crossfade.engines.dms.resources import instance_of
from crossfade.errors import CrossfadeError, DeadlineExceeded

if TYPE_CHECKING:
    from crossfade.migration import Migration

log = logging.getLogger(__name__)


class SecondOpinion:
    """
    Asks in a thread from the beginning on, since an answer may take longer than a drain: nobody waits for it.

    :param aws: AWS connection id
    :param identifier: of the replication task
    """

    def __init__(self, m: Migration, aws: str, identifier: str) -> None:
        self.m, self.aws, self.identifier = m, aws, identifier
        self._answer = self._ask()

    def agree(self, began: datetime, deadline: float) -> None:
        """
        Return unless CloudWatch says, of a time after `began`, that changes are not applied yet; then wait for these.

        Raises `DeadlineExceeded`.
        """
        start = time.monotonic()
        while (coming := self._still_coming(began)) is not None:
            if time.monotonic() > deadline:
                seen = f"CDCIncomingChanges is {coming:.0f}"
                raise DeadlineExceeded("draining AWS DMS", seconds=time.monotonic() - start, seen=seen)
            time.sleep(0.5)
            self._answer = self._ask()

    def _ask(self) -> Future[CdcLatency]:
        pool = ThreadPoolExecutor(1)
        answer = pool.submit(self._latency)
        pool.shutdown(wait=False)
        return answer

    def _latency(self) -> CdcLatency:
        dms = self.m.clients(self.aws, "dms")
        found = task.existing(dms, self.identifier)
        return cdc_latency(
            self.m.clients(self.aws, "cloudwatch"),
            instance_id=instance_of(dms, found.instance_arn).identifier,
            resource_id=found.resource_id,
        )

    def _still_coming(self, began: datetime) -> float | None:
        """Changes that are not applied yet, by a datapoint after `began`; None where there is none of either."""
        if not self._answer.done():
            log.info("CloudWatch has not answered in time: no second opinion on the drain")
            return None
        try:
            seen = self._answer.result()
        except CrossfadeError as error:
            log.warning("CloudWatch gave no second opinion on the drain: %s", error)
            return None
        log.info("second opinion: %s", seen.line)
        if seen.incoming is None or seen.incoming.at < began or seen.incoming.value == 0:
            return None
        return seen.incoming.value
