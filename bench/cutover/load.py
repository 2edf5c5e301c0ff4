"""The clients of the benchmark: part of them keep a ledger, the others are pgbench's, which cost less processor time.

Both go through every PgBouncer, at a fixed rate, and leave the latency of each transaction. The ledger's clients run
in Python; 32 of them at 1000 transactions a second would themselves be what is measured on a small machine.
"""

import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from psycopg.conninfo import conninfo_to_dict

from crossfade_lab import processes, samples
from crossfade_lab.postgres import binaries
from crossfade_lab.processes import LabError
from crossfade_lab.samples import Sample
from crossfade_lab.workload import Spec, WorkloadProcess

#: One transaction of pgbench: four messages, as an application's unit of work. Events of this kind are in no ledger.
SCRIPT = """\
\\set customer random(1, {customers})
BEGIN;
UPDATE customers SET credit = credit + 0.01 WHERE id = :customer;
INSERT INTO events (uid, kind, value, payload) VALUES ('{mark}', 'sample', :client_id, '{{"bench": true}}');
COMMIT;
"""
LEDGER_SHARE = 8  #: of so many clients one keeps a ledger
DURATION = 3600  #: seconds after which pgbench ends by itself
END_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Clients:
    """How many clients there are, and where they connect."""

    endpoints: Sequence[str]  #: DSNs of the application through each PgBouncer
    clients: int
    rate: float  #: transactions a second of all together
    customers: int  #: sample customers to refer to
    directory: Path  #: where ledgers and logs go

    @property
    def with_ledger(self) -> int:
        return max(self.clients // LEDGER_SHARE, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """What the clients of one load did. The ledger has its part by itself."""

    samples: list[Sample]  #: by start
    pgbench: int  #: transactions that pgbench's clients were told of as committed
    aborted: int  #: clients of pgbench that gave up, each at a transaction that failed
    said: Sequence[str]  #: why, and why transactions of the ledger's clients failed
    ledger_failed: int  #: transactions


@dataclass(kw_only=True)
class Load:
    """All clients at work. As a context manager it writes on entry; after the exit `written` tells what it did.

    :param mark: what pgbench's events carry as their uid
    :param ledger: the directory of the ledger
    """

    clients: Clients
    mark: str
    ledger: Path
    _bench: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        part, whole = self.clients.with_ledger, self.clients.clients
        self._workload = WorkloadProcess(
            Spec(
                endpoints=self.clients.endpoints,
                directory=str(self.ledger),
                clients=part,
                rate=self.clients.rate * part / whole,
                customers=self.clients.customers,
            )
        )
        self._directory = self.clients.directory / f"pgbench-{self._workload.spec.run}"

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True)
        try:
            self._start_pgbench()
            self._workload.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._workload.stop()
        for process in self._bench:  # as its own alarm at the end of its duration does: orderly, logs written
            process.send_signal(signal.SIGALRM)
        for process in self._bench:
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def undisturbed(self, seconds: float) -> tuple[float, float]:
        """Let the clients write for so many seconds; returns the stretch. Raises `LabError` where pgbench gave up."""
        start = time.time()
        time.sleep(seconds)
        for number, process in enumerate(self._bench):
            if process.poll() is not None:
                raise LabError(f"pgbench ended with {process.returncode}:\n{processes.tail(self._log(number))}")
        return start, time.time()

    @property
    def written(self) -> Written:
        """What was done, once the load has ended."""
        run = self._workload.spec.run
        files = sorted(self.ledger.glob(f"{run}-*.samples"))
        seen = [sample for file in files for sample in samples.read_file(file)]
        logs = [self._log(number).read_text() for number in range(len(self._bench))]
        for file in self._directory.glob("log.*"):
            seen += _samples(file)
        counts = [re.search(r"transactions actually processed: (\d+)", log) for log in logs]
        if not all(counts):
            raise LabError("pgbench gave no count of its transactions:\n" + "\n".join(log[-500:] for log in logs))
        status = self._workload.status()
        errors = [line for log in logs for line in log.splitlines() if "error:" in line]
        return Written(
            samples=sorted(seen, key=lambda sample: sample.start),
            pgbench=sum(int(found[1]) for found in counts if found),
            aborted=sum(bool(re.search(r"client \d+ .*aborted", line)) for line in errors),
            said=[*errors, *([str(status["last_error"])] if status.get("last_error") else [])],
            ledger_failed=int(status.get("failed", 0)),
        )

    def _start_pgbench(self) -> None:
        clients = self.clients
        script = self._directory / "transaction.sql"
        script.write_text(SCRIPT.format(customers=clients.customers, mark=self.mark))
        count = clients.clients - clients.with_ledger
        parts = [len(range(n, count, len(clients.endpoints))) for n in range(len(clients.endpoints))]
        for endpoint, part in zip(clients.endpoints, parts, strict=True):
            if part:
                self._spawn(endpoint, script, part, clients.rate * part / clients.clients)

    def _spawn(self, endpoint: str, script: Path, clients: int, rate: float) -> None:
        number = len(self._bench)
        to = conninfo_to_dict(endpoint)
        command = [
            *(str(binaries(18) / "pgbench"), "--no-vacuum", "--log", f"--log-prefix={self._directory / 'log'}"),
            *(f"--client={clients}", f"--rate={rate:g}", f"--time={DURATION}", f"--file={script}"),
        ]
        environment = {
            **processes.clean_environment(),
            **{f"PG{name.upper()}": str(to[name]) for name in ("host", "port", "user", "password")},
            "PGDATABASE": str(to["dbname"]),
        }
        with self._log(number).open("wb") as log:
            self._bench.append(
                subprocess.Popen(
                    command,
                    cwd=self._directory,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def _log(self, number: int) -> Path:
        return self._directory / f"said-{number}.txt"


def _samples(file: Path) -> Iterator[Sample]:
    """
    The transactions of one log of pgbench, of which each line ends with the microseconds it was behind schedule.

    Its time begins when the transaction was due (PostgreSQL's documentation, pgbench, --rate); ours when it was sent.
    """
    for line in file.read_text().splitlines():
        _, _, took, _, seconds, micros, behind = line.split()[:7]
        end = int(seconds) + int(micros) / 1e6
        if not took.isdecimal():
            yield Sample(end, 0.0, float(behind) / 1000, False)
            continue
        latency = (int(took) - float(behind)) / 1000
        yield Sample(end - latency / 1000, latency, float(behind) / 1000, True)
