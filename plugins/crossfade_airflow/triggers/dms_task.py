"""What triggers that watch a replication task of AWS DMS share: AWS is asked in a thread, never in the event loop."""

from __future__ import annotations

import abc
import asyncio
import time
from collections.abc import Sequence
from typing import Any

from crossfade.engines.dms.failures import TaskFailed, explained, failure_of
from crossfade.engines.dms.statistics import TableStatistics
from crossfade.engines.dms.task_state import TaskState
from crossfade_airflow.connections import aws_client
from crossfade_airflow.triggers.sampling import Sample, SamplingTrigger

#: Seconds after which the connection is looked up again: its credentials may have been exchanged meanwhile. Not at
#: every sample, since making a client takes a tenth of a second of CPU.
_CLIENT_AGE = 900.0


class DmsTaskTrigger(SamplingTrigger):
    """
    Sample something about a replication task.

    :param aws_conn_id: connection to AWS
    :param replication_task_id: the task's identifier, not its ARN
    """

    def __init__(self, *, aws_conn_id: str, replication_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.aws_conn_id = aws_conn_id
        self.replication_task_id = replication_task_id
        self._clients: dict[str, tuple[Any, float]] = {}

    def arguments(self) -> dict[str, Any]:
        return {"aws_conn_id": self.aws_conn_id, "replication_task_id": self.replication_task_id}

    async def sample(self) -> Sample:
        return await asyncio.to_thread(self.look)

    @abc.abstractmethod
    def look(self) -> Sample:
        """Take one sample, in a thread of its own. Raises as `sample`."""

    def client(self, service: str = "dms") -> Any:
        """A boto3 client of the connection. Raises `UnusableConnection`."""
        client, made = self._clients.get(service, (None, 0.0))
        if client is None or time.monotonic() - made > _CLIENT_AGE:
            client = aws_client(self.aws_conn_id, service, needed_by="a sensor of AWS DMS")
            self._clients[service] = client, time.monotonic()
        return client


def require_well(task: TaskState, tables: Sequence[TableStatistics] = ()) -> None:
    """Raise the error that the task's state is: failed, or with broken tables. See `failures.failure_of`."""
    if error := failure_of(task, tables):
        raise error


def require_going(task: TaskState, tables: Sequence[TableStatistics] = ()) -> None:
    """The same where the task must not have stopped either, for whatever reason."""
    require_well(task, tables)
    if task.status == "stopped":
        raise TaskFailed(explained(task, tables))
