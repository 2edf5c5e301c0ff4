"""Take samples until enough in a row are good, one shows that waiting is pointless, or time is up."""

from __future__ import annotations

import abc
import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypedDict

import psycopg
from airflow.sdk.exceptions import AirflowSensorTimeout
from airflow.triggers.base import BaseTrigger, TriggerEvent

from crossfade.connect import CONNECT_TIMEOUT, Endpoint
from crossfade.engines.dms.refusals import AwsUnreachable, Throttled
from crossfade.errors import CrossfadeError, FatalError, TransientError, Unreachable
from crossfade_airflow.connections import aendpoint

#: Seconds before the first sample. Where a trigger fires before the scheduler has seen its worker end, the scheduler
#: takes that end for a failure ("finished with state success, but the task instance's state attribute is queued":
#: Airflow 3.3.2 on a busy machine, three tries in a row).
HAND_OVER = 5.0

GRACE = timedelta(minutes=2)  #: a trigger keeps the time itself; Airflow's limit only covers a dead triggerer


class StreamBroken(FatalError):
    """Waiting is pointless: what is waited for will not come by itself."""


class StreamInterrupted(TransientError):
    """What is waited for will not come by itself, but another try of the task may bring it."""


#: No look was had, which says nothing of what is waited for.
_NO_SAMPLE = (psycopg.OperationalError, Unreachable, Throttled, AwsUnreachable)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One look at what is waited for."""

    good: bool | None  #: as it shall be; None: nothing new was seen, the count of good ones stays
    text: str  #: for the log
    figures: dict[str, float]  #: for the XCom


class Outcome(TypedDict):
    """What a sampling trigger fires. Everything in it is safe to show."""

    status: Literal["caught up", "broken", "interrupted", "timeout"]
    message: str
    figures: dict[str, float]


def figures_of(outcome: Outcome) -> dict[str, float]:
    """
    The figures of what was waited for.

    Raises `StreamBroken`, `StreamInterrupted`, and `AirflowSensorTimeout` when time was up.
    """
    if outcome["status"] == "broken":
        raise StreamBroken(outcome["message"])
    if outcome["status"] == "interrupted":
        raise StreamInterrupted(outcome["message"])
    if outcome["status"] == "timeout":
        raise AirflowSensorTimeout(outcome["message"])
    return outcome["figures"]


class SamplingTrigger(BaseTrigger):  # type: ignore[misc]  # Airflow is not type-checked
    """
    Sample every `poke_interval` seconds, from `HAND_OVER` seconds after the sensor's own first sample.

    A sample that could not be taken counts as a bad one: a network that comes back, or an AWS that throttles, is no
    reason to fail.

    :param samples: how many in a row must be good
    :param poke_interval: seconds between two samples
    :param deadline: Unix time at which to give up
    :param in_a_row: how many good ones were seen already
    """

    def __init__(
        self, *, samples: int, poke_interval: float, deadline: float, in_a_row: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.samples = samples
        self.poke_interval = poke_interval
        self.deadline = deadline
        self.in_a_row = in_a_row

    @abc.abstractmethod
    async def sample(self) -> Sample:
        """
        Take one sample.

        Raises what ends the wait: `TransientError` where another try of the task may help, any other `CrossfadeError`
        where it can not. `_NO_SAMPLE` ends nothing.
        """

    @abc.abstractmethod
    def arguments(self) -> dict[str, Any]:
        """What the subclass adds to the serialised form: connection ids and plain values, no secrets."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        kind = type(self)
        shared = {
            "samples": self.samples,
            "poke_interval": self.poke_interval,
            "deadline": self.deadline,
            "in_a_row": self.in_a_row,
        }
        return f"{kind.__module__}.{kind.__qualname__}", {**shared, **self.arguments()}

    async def take(self) -> Outcome | None:
        """One sample, logged; the outcome once there is one."""
        try:
            seen = await self.sample()
        except _NO_SAMPLE as error:
            seen = Sample(good=False, text=f"no sample: {str(error).strip()}", figures={})
        except CrossfadeError as error:
            passes = isinstance(error, TransientError)
            return Outcome(status="interrupted" if passes else "broken", message=str(error), figures={})
        if seen.good is not None:
            self.in_a_row = self.in_a_row + 1 if seen.good else 0
        count = f" · {self.in_a_row} of {self.samples} good samples in a row" if self.samples > 1 else ""
        self.log.info("%s%s", seen.text, count)
        if self.in_a_row >= self.samples:
            return Outcome(status="caught up", message=seen.text, figures=seen.figures)
        if time.time() > self.deadline:
            return Outcome(status="timeout", message=f"time is up. Seen last: {seen.text}", figures={})
        return None

    async def run(self) -> AsyncIterator[TriggerEvent]:
        await asyncio.sleep(max(HAND_OVER, self.poke_interval))
        while (outcome := await self.take()) is None:
            await asyncio.sleep(self.poke_interval)
        yield TriggerEvent(dict(outcome))


async def connect(conn_id: str, *, needed_by: str) -> psycopg.AsyncConnection[dict[str, Any]]:
    """An autocommit connection for one sample. Raises `Unreachable`, `UnusableConnection`."""
    found: Endpoint = await aendpoint(conn_id, needed_by=needed_by)
    try:
        return await psycopg.AsyncConnection.connect(
            found.conninfo(application_name="crossfade/sensor", connect_timeout=str(CONNECT_TIMEOUT)),
            autocommit=True,
            row_factory=psycopg.rows.dict_row,
            prepare_threshold=None,
        )
    except psycopg.OperationalError as error:
        raise Unreachable(name=conn_id, address=found.address, reason=str(error)) from error
