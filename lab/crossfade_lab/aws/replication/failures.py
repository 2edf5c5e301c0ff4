"""What ends a task, and what takes one table out of it."""


class TaskFailed(Exception):
    """The task cannot go on.

    :param message: what LastFailureMessage tells
    :param reason: the stop reason, in DMS's words
    """

    def __init__(self, message: str, reason: str = "FATAL_ERROR") -> None:
        super().__init__(message)
        self.reason = reason


class Interrupted(TaskFailed):
    """A session with a server was lost: a recoverable error, which RecoverableErrorCount lets DMS try again."""

    def __init__(self, message: str) -> None:
        super().__init__(message, "RECOVERABLE_ERROR")


class TableSuspended(Exception):
    """One table has to leave the task; the message is the reason."""


class StopRequested(Exception):
    """Somebody asked the task to stop; not a failure."""
