"""The write workload: clients at a fixed total rate, through PgBouncer, with a ledger and latency samples.

It runs in a process of its own (`WorkloadProcess`, or `python -m crossfade_lab.workload`, which reads a `Spec` as JSON
from standard input). The rate is a schedule: a client held up sends what became due meanwhile as soon as it can. A
transaction that fails is counted and never sent again.
"""

import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psycopg2
from psycopg2.extensions import connection as Connection

from crossfade_lab import processes
from crossfade_lab.ledger import LedgerWriter, Outcome
from crossfade_lab.processes import LabError
from crossfade_lab.samples import Sample, SampleWriter
from crossfade_lab.transactions import Mix, Transaction

CONNECT_SECONDS = 10
START_SECONDS = 60.0
LOST = {"08", "57"}  # SQLSTATE classes after which nothing is known: connection exceptions, shutdown
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5  # seconds between two tries to connect


@dataclass(frozen=True, kw_only=True, slots=True)
class Spec:
    """What to run."""

    endpoints: Sequence[str]  #: DSNs; clients are spread over them and change over when one fails
    directory: str  #: where ledger, samples and status.json go
    clients: int = 16
    rate: float = 500.0  #: transactions a second of all clients together
    duration: float | None = None  #: seconds; None: until told to stop
    customers: int = 10  #: sample customers to refer to
    run: str = field(default_factory=lambda: f"{time.time_ns() // 10**6:x}")  #: names this run in every uid


class Client(threading.Thread):
    """One client: a connection, a schedule, a ledger."""

    def __init__(self, spec: Spec, number: int, begin: float, stop: threading.Event) -> None:
        super().__init__(name=f"client-{number}", daemon=True)
        self.spec, self.number, self.stop = spec, number, stop
        self.interval = spec.clients / spec.rate
        self.begin = begin + number / spec.rate
        self.counts = {"ok": 0, "failed": 0}
        self.latest_ms = 0.0
        self.last_error = ""
        self._connection: Connection | None = None
        self._endpoint = number
        self._pause = FIRST_PAUSE

    def run(self) -> None:
        mix = Mix(self.spec.run, self.number, customers=self.spec.customers)
        directory = Path(self.spec.directory)
        samples = SampleWriter(directory, self.spec.run, self.number)
        with LedgerWriter(directory, self.spec.run, self.number) as ledger:
            for turn, transaction in enumerate(mix.transactions()):
                due = self.begin + turn * self.interval
                if self.stop.wait(max(0.0, due - time.time())):
                    break
                self._perform(transaction, due, ledger, samples, mix)
        samples.close()
        self._disconnect()

    def _perform(
        self, transaction: Transaction, due: float, ledger: LedgerWriter, samples: SampleWriter, mix: Mix
    ) -> None:
        """Send one transaction, and enter what became of it."""
        ledger.attempt(transaction.write)
        start, clock = time.time(), time.perf_counter()
        outcome, error = self._send(transaction)
        latency = (time.perf_counter() - clock) * 1000
        ledger.settle(transaction.write.uid, outcome, error)
        ok = outcome is Outcome.ACKNOWLEDGED
        mix.learn(transaction, None if outcome is Outcome.UNKNOWN else ok)
        samples.add(Sample(start, latency, max(0.0, (start - due) * 1000), ok))
        self.counts["ok" if ok else "failed"] += 1
        self.latest_ms = latency
        self.last_error = error or self.last_error
        if ok:
            self._pause = FIRST_PAUSE
        elif self._connection is None:
            self.stop.wait(self._pause)
            self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def _send(self, transaction: Transaction) -> tuple[Outcome, str]:
        try:
            connection = self._connect()
        except psycopg2.Error as error:
            self._endpoint += 1
            return Outcome.NOT_APPLIED, f"connect: {error}"
        try:
            with connection.cursor() as cursor:
                transaction.send(cursor)
        except Exception as error:
            return self._failed(transaction, error)
        return Outcome.ACKNOWLEDGED, ""

    def _failed(self, transaction: Transaction, error: Exception) -> tuple[Outcome, str]:
        """What a failure says about the write, leaving a connection that can be used or none."""
        code = getattr(error, "pgcode", None)
        text = f"{type(error).__name__} {code or ''} {error}"
        connection = self._connection
        refused = code is not None and connection is not None and not connection.closed and code[:2] not in LOST
        if connection is not None and refused:  # the server answered: this transaction is rolled back
            try:
                with connection.cursor() as cursor:
                    cursor.execute("ROLLBACK")
            except psycopg2.Error:
                self._disconnect()
        else:
            self._disconnect()
        return (Outcome.UNKNOWN if transaction.committing and not refused else Outcome.NOT_APPLIED), text

    def _connect(self) -> Connection:
        if self._connection is None:
            endpoint = self.spec.endpoints[self._endpoint % len(self.spec.endpoints)]
            self._connection = psycopg2.connect(endpoint, connect_timeout=CONNECT_SECONDS)
            self._connection.autocommit = True
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def work(spec: Spec, stop: threading.Event) -> list[Client]:
    """Run the workload until told to stop or for its duration; transactions under way are finished."""
    sys.setswitchinterval(0.001)  # 16 threads wait for sockets: hand the interpreter over quickly
    clients = [Client(spec, number, time.time() + 0.2, stop) for number in range(spec.clients)]
    gc.collect()
    gc.disable()  # a collection is a stall of all clients; transactions leave no cycles behind
    for client in clients:
        client.start()
    deadline = time.monotonic() + spec.duration if spec.duration is not None else None
    stop_file = Path(spec.directory) / "stop"
    done = 0
    while not stop.is_set() and any(client.is_alive() for client in clients):
        stop.wait(0.5)
        done = _report(spec, clients, done)
        if stop_file.exists() or (deadline is not None and time.monotonic() >= deadline):
            stop.set()
    for client in clients:
        client.join()
    _report(spec, clients, done)
    return clients


def _report(spec: Spec, clients: Sequence[Client], before: int) -> int:
    """Replace `status.json`, for whoever watches; returns the number of successes so far."""
    done = sum(client.counts["ok"] for client in clients)
    status = {
        "run": spec.run,
        "acked": done,
        "failed": sum(client.counts["failed"] for client in clients),
        "per_second": (done - before) / 0.5,
        "latest_max_ms": max(client.latest_ms for client in clients),
        "last_error": next((client.last_error for client in clients if client.last_error), ""),
    }
    fresh = Path(spec.directory) / ".status.json"
    fresh.write_text(json.dumps(status))
    fresh.replace(fresh.with_name("status.json"))
    return done


class WorkloadProcess:
    """The workload in a process of its own, as a context manager: runs on entry, drained and gone on exit."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.directory = Path(spec.directory)
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it; returns when the first transactions have succeeded."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "stop").unlink(missing_ok=True)
        (self.directory / "status.json").unlink(missing_ok=True)
        with (self.directory / "workload.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "crossfade_lab.workload"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(self.spec)))
        self._process.stdin.close()
        if not processes.wait_until(lambda: self.status().get("acked", 0) > 0, seconds=START_SECONDS, every=0.1):
            seen = self.status() or processes.tail(self.directory / "workload.log")
            self.stop()
            raise LabError(f"The workload had no success within {START_SECONDS:.0f} s. Seen: {seen}")

    def status(self) -> dict[str, float]:
        """What the workload last reported; empty before its first report."""
        try:
            report: dict[str, float] = json.loads((self.directory / "status.json").read_text())
        except FileNotFoundError:
            return {}
        return report

    def wait(self) -> None:
        """Wait until it ends by itself (after its duration, or by the stop file)."""
        if self._process is not None:
            self._process.wait()

    def stop(self, seconds: float = 30.0) -> None:
        """Let transactions under way finish, then end; whoever is stuck after `seconds` is killed."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> "WorkloadProcess":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def main() -> None:
    """Run the workload that standard input describes, until SIGTERM, SIGINT, the stop file or its duration."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    clients = work(Spec(**json.load(sys.stdin)), stop)
    totals = {name: sum(client.counts[name] for client in clients) for name in ("ok", "failed")}
    sys.stdout.write(json.dumps(totals) + os.linesep)


if __name__ == "__main__":
    main()
