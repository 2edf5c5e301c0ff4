"""The local AWS as a context manager: its server process, boto3 clients of it, and faults to inject."""

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import boto3

from crossfade_lab import processes
from crossfade_lab.aws.dms.worker import WORKER_VARIABLE
from crossfade_lab.processes import LabError

START_SECONDS = 120.0
STOP_SECONDS = 15.0

REGION = "eu-west-1"
ACCOUNT = "123456789012"
#: moto accepts any; these say what they are.
ACCESS_KEY, SECRET_KEY = "testing", "testing"


class LocalAws:
    """A local AWS on a free port. As a context manager it starts on entry, and ends on exit with all its workers.

    :param directory: where tasks get their directories and the server its log; created when missing
    :param worker: the command of the workers, to which a task directory is appended; None for the data plane's
    :param detached: leave the server running when this process ends
    :raises LabError: when the server does not start
    """

    def __init__(self, directory: Path, *, worker: Sequence[str] | None = None, detached: bool = False) -> None:
        self.directory = directory
        self.detached = detached
        self.port = 0
        self._worker = worker
        self._process: subprocess.Popen[bytes] | None = None
        self._tether: processes.Tether | None = None

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Take over the detached server whose directory this is."""
        aws = cls(directory, detached=True)
        if not (known := aws._known()):
            raise LabError(f"{directory} holds no local AWS")
        aws.port = known["port"]
        return aws

    @property
    def url(self) -> str:
        """The endpoint of every service."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What the server printed."""
        return self.directory / "server.log"

    @property
    def pid(self) -> int | None:
        """The server's process id, or None when it does not run."""
        pid = self._known().get("pid")
        if pid is not None and processes.is_alive(pid) and str(self.directory) in processes.command_line(pid):
            return pid
        return None

    def client(self, service: str, **options: Any) -> Any:
        """A boto3 client of a service.

        :param options: passed on to `boto3.client`
        """
        login = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY, "region_name": REGION}
        return boto3.client(service, endpoint_url=self.url, **{**login, **options})

    def fault(self, task_arn: str, **faults: Any) -> None:
        """Inject faults into a task, in the place of those before; without any, the faults end.

        :param faults: the keys of faults.json, such as stall=True or storage_full=True
        """
        self._control("fault", task=task_arn, faults=faults)

    def kill_worker(self, task_arn: str) -> bool:
        """SIGKILL the process of a running task; whether there was one."""
        return bool(self._control("kill", task=task_arn)["killed"])

    def throttle(self, action: str, times: int) -> None:
        """Let the next calls of an action fail with ThrottlingException.

        :param action: its name in the API, such as DescribeTableStatistics; boto3 itself retries a few times
        """
        self._control("throttle", action=action, times=times)

    def task_directory(self, task_arn: str) -> Path:
        """Where a task's files are."""
        return Path(self._control("directory", task=task_arn)["directory"])

    def _control(self, verb: str, **asked: Any) -> dict[str, Any]:
        request = urllib.request.Request(f"{self.url}/_lab/{verb}", data=json.dumps(asked).encode())  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            raise LabError(f"The local AWS refused: {error.read().decode()}") from None

    def start(self) -> None:
        """Start the server on a free port; returns when it answers."""
        if self.pid is not None:
            self.port = self._known()["port"]
            return
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.detached:
            atexit.register(self.stop)
        for _ in range(5):
            self.port = processes.free_port()
            if self._try_start():
                return
        raise LabError(f"The local AWS found no free port in 5 tries. Log:\n{processes.tail(self.log)}")

    def stop(self) -> None:
        """End the server and every worker."""
        if self._tether is not None:
            self._tether.cut()
            self._tether = None
        if (pid := self.pid) is not None:
            processes.send(pid, signal.SIGTERM)
            if not self._wait_gone(pid, STOP_SECONDS):
                processes.send(pid, signal.SIGKILL)  # its workers are tethered to it
                self._wait_gone(pid, 5)
        if not self.detached:
            atexit.unregister(self.stop)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _try_start(self) -> bool:
        """Start on the port chosen: False when it is taken, an error for every other failure."""
        start_of_log = self.log.stat().st_size if self.log.exists() else 0
        program = [sys.executable, "-m", "crossfade_lab.aws.server"]
        environment = dict(processes.clean_environment())
        if self._worker is not None:
            environment[WORKER_VARIABLE] = json.dumps(list(self._worker))
        with self.log.open("ab") as output:
            process = self._process = subprocess.Popen(
                [*program, "--port", str(self.port), "--directory", str(self.directory)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        ended = processes.wait_until(lambda: self._answers() or process.poll() is not None, seconds=START_SECONDS)
        said = self.log.read_text(errors="replace")[start_of_log:]
        if not ended or process.returncode is not None:
            if "in use" in said:
                return False
            process.kill()
            raise LabError(f"The local AWS did not start. Log:\n{said[-2000:]}")
        if not self.detached:
            self._tether = processes.Tether(signal.SIGTERM, [process.pid])
        self._describe(process.pid)
        return True

    def _answers(self) -> bool:
        with contextlib.suppress(OSError, LabError):
            self._control("health")
            return True
        return False

    def _wait_gone(self, pid: int, seconds: float) -> bool:
        if self._process is not None and self._process.pid == pid:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        return processes.wait_until(lambda: not processes.is_alive(pid), seconds=seconds)

    def _known(self) -> dict[str, int]:
        """Port and process id of the server that was started last; empty before the first."""
        try:
            return dict(json.loads((self.directory / "server.json").read_text()))
        except FileNotFoundError:
            return {}

    def _describe(self, pid: int) -> None:
        known = {"port": self.port, "pid": pid}
        with os.fdopen(os.open(self.directory / "server.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
            json.dump(known, f)
