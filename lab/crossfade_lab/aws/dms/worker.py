"""The process that carries a task out: one per running task, in a process group of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from crossfade_lab import processes

#: The data plane's command; the task directory is appended.
COMMAND: tuple[str, ...] = (sys.executable, "-m", "crossfade_lab.aws.replication")

#: Environment variable of the server, a JSON list: another command instead, for tests of the API plane alone.
WORKER_VARIABLE = "CROSSFADE_LAB_DMS_WORKER"

#: Seconds a worker may live after it has written a final state.
GRACE_SECONDS = 5.0


class Worker:
    """A running worker; it ends with this process at the latest.

    :param command: the program and its arguments, to which the task directory is appended
    :param directory: the task directory; what the worker prints is appended to `worker.out` in it
    """

    def __init__(self, command: Sequence[str], directory: Path) -> None:
        with (directory / "worker.out").open("ab") as output:
            self._process = subprocess.Popen(
                [*command, str(directory)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(processes.clean_environment()),
                start_new_session=True,
            )
        self._tether = processes.Tether(signal.SIGKILL, [-self._process.pid])
        self._final_since: float | None = None

    @property
    def pid(self) -> int:
        """Its process id, which is also its group's."""
        return self._process.pid

    def ended(self) -> bool:
        """Whether it is gone; its group is gone then too."""
        if self._process.poll() is None:
            return False
        self._end_group()
        return True

    def exit_code(self) -> int | None:
        """How it ended (negative: by a signal); None while it runs."""
        return self._process.returncode

    def must_end(self) -> None:
        """It said that it is done: kill it when it does not exit within the grace given."""
        self._final_since = self._final_since or time.monotonic()
        if time.monotonic() - self._final_since > GRACE_SECONDS:
            self.kill()

    def kill(self) -> None:
        """SIGKILL to the whole group."""
        self._end_group()
        self._process.wait()

    def _end_group(self) -> None:
        self._tether.cut()
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
