"""Hold the clients of a database in PgBouncer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from crossfade_airflow.operators.pgbouncer import PgBouncerOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class PgBouncerPauseOperator(PgBouncerOperator):
    """
    PAUSE on every instance at once: transactions under way finish, new ones wait.

    When one instance can't be paused in time, all are resumed and the task fails, naming who held it. Follow it with a
    `PgBouncerResumeOperator` as its teardown, so that clients go on whatever happens in between: PgBouncer drops
    those that waited for `query_wait_timeout` (120 s unless configured otherwise). For pool_mode transaction.

    :param timeout: seconds to wait for transactions under way
    """

    def __init__(self, *, timeout: float = 5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.timeout = timeout

    def execute(self, context: Context) -> None:
        with self.fleet() as fleet:
            fleet.pause(time.monotonic() + self.timeout)
