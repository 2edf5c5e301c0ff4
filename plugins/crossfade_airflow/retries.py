"""Which errors a retry can help: the branch of Crossfade's error tree decides."""

from __future__ import annotations

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from crossfade.errors import FatalError, PreconditionError, TransientError

#: For every task. What is not ours (a killed worker, a bug) is left to the task's own `retries`.
RETRY_ONLY_TRANSIENT = ExceptionRetryPolicy(
    rules=[
        RetryRule(exception=TransientError, action=RetryAction.RETRY, reason="this may pass by itself"),
        RetryRule(
            exception=[PreconditionError, FatalError],
            action=RetryAction.FAIL,
            reason="a retry would find the same: read the message, put it right, then clear this task",
        ),
    ]
)
