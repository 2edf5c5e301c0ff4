"""The demo: a shop moves to another PostgreSQL under write load, and every acknowledged write is counted again."""

import json
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
from rich.console import Console
from rich.live import Live
from rich.table import Table

from crossfade_lab import dms_facts, journal_facts, samples
from crossfade_lab.airflow import REPOSITORY
from crossfade_lab.airflow_client import FINISHED, AirflowClient
from crossfade_lab.processes import LabError
from crossfade_lab.report import Evidence, broken_promises, figures, summary
from crossfade_lab.shop.data import DATABASE, Engine
from crossfade_lab.stack import PLANS, Lab
from crossfade_lab.verdict import verify
from crossfade_lab.workload import Spec, WorkloadProcess

OUT = REPOSITORY / "lab" / "out"
GATE = "approve_cutover"
#: Tasks and groups of tasks, in the order in which they are shown.
TASKS: Mapping[Engine, Sequence[str]] = {
    Engine.LOGICAL: (
        "assess",
        "prepare",
        "load",
        "harden",
        "catch_up",
        "validate",
        "rehearse",
        "window",
        GATE,
        "cutover",
        "reconcile",
    ),
    Engine.DMS: (
        "assess",
        "prepare",
        "provision",
        "size_lobs",
        "drop_not_null",
        "load",
        "harden",
        "resume_task",
        "catch_up",
        "validate",
        "check_lobs",
        "rehearse",
        "window",
        GATE,
        "cutover",
        "reconcile",
    ),
}
AFTERWARDS_SECONDS = 10.0
LOOK_EVERY = 1.5  # seconds; each look costs the api-server time that clients would feel on a small machine
LONGEST_RUN_SECONDS = 1800.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Demo:
    """How to run it."""

    rows: int
    engine: Engine = Engine.LOGICAL
    clients: int = 16
    rate: float = 500.0
    baseline_seconds: float = 15.0
    approve: str = "auto"  #: auto, or manual: a person answers the gate in the UI
    keep: bool = False  #: leave the lab running
    console: Console = field(default_factory=Console)

    @property
    def ledger(self) -> Path:
        return OUT / "ledger"

    @property
    def dag(self) -> str:
        """The DAG that migrates."""
        return f"{PLANS[self.engine]}.migrate"

    def run(self) -> bool:
        """Run the demo; returns whether everything was as promised. The lab is stopped unless `keep`."""
        shutil.rmtree(OUT, ignore_errors=True)
        self.ledger.mkdir(parents=True)
        lab = Lab(detached=self.keep)
        lab.up(self.rows, engine=self.engine, tell=self.console.print)
        try:
            result = figures(self._observe(lab))
        except LabError as error:
            raise LabError(f"{error}\nLogs: {lab.airflow.home}") from error
        finally:
            if not self.keep:
                lab.down()
        (OUT / "demo.json").write_text(json.dumps(result, indent=2) + "\n")
        self.console.print(summary(result))
        return self._judge(broken_promises(result), lab)

    def _judge(self, broken: list[str], lab: Lab) -> bool:
        if broken:
            self.console.print(f"[red]Not as promised: {'; '.join(broken)}[/red]")
            self.console.print(f"Logs: {lab.airflow.home}/logs and {lab.directory}; ledger: {self.ledger}")
            return False
        self.console.print(f"[green]As promised.[/green] Figures: {OUT / 'demo.json'}, ledger: {self.ledger}")
        return True

    def _observe(self, lab: Lab) -> Evidence:
        client = lab.airflow.client()
        client.wait_for_dag(self.dag)
        spec = Spec(
            endpoints=lab.endpoints(),
            directory=str(self.ledger),
            clients=self.clients,
            rate=self.rate,
            customers=lab.customers,
        )
        with WorkloadProcess(spec) as workload:
            begin = time.time()
            self.console.print(f"{self.clients} clients write; {self.baseline_seconds:.0f} s of baseline")
            time.sleep(self.baseline_seconds)
            triggered = time.time()
            run = client.trigger(self.dag)
            state = Watch(self, lab, client, workload, run).until_the_end()
            ended = time.time()
            time.sleep(AFTERWARDS_SECONDS)
            self._show_failures(client, run)
        whole = (0.0, time.time())
        self.console.print("The workload has ended; counting every write again")
        serving = lab.serving()
        return Evidence(
            engine=self.engine,
            clients=self.clients,
            baseline=(begin, triggered),
            migration=(triggered, ended),
            whole=whole,
            samples=samples.read(self.ledger),
            verdict=verify(self.ledger, lab.endpoints()[0]),
            journal=journal_facts.read_journal(lab.target.dsn(dbname=DATABASE)),
            run_state=state,
            run_seconds=float(client.run(self.dag, run)["duration"] or ended - triggered),
            source_version=_version(lab.source.dsn()),
            target_version=_version(lab.target.dsn()),
            serving="target" if serving is lab.target else "source",
        )

    def _show_failures(self, client: AirflowClient, run: str) -> None:
        """The end of the log of every failed task."""
        for task in client.task_instances(self.dag, run):
            if task["state"] == "failed":
                log = client.log(
                    self.dag, run, task["task_id"], attempt=task["try_number"], map_index=task["map_index"]
                )
                last = "\n".join(log.splitlines()[-15:])
                self.console.print(f"[red]{task['task_id']} failed:[/red]")
                self.console.print(last, markup=False, highlight=False, soft_wrap=True)


def _version(dsn: str) -> str:
    with psycopg.connect(dsn) as connection:
        return connection.info.parameter_status("server_version") or "unknown"


class Watch:
    """Shows a run's progress until it ends, and answers its gate."""

    def __init__(self, demo: Demo, lab: Lab, client: AirflowClient, workload: WorkloadProcess, run: str) -> None:
        self.demo, self.lab, self.client, self.workload, self.run = demo, lab, client, workload, run
        self.dag = demo.dag
        self.console = demo.console
        self._dms = lab.aws.client("dms") if demo.engine == Engine.DMS else None
        self._answered = False
        self._loaded = (time.time(), 0)
        self._told: dict[str, str] = {}

    def until_the_end(self) -> str:
        """Watch until the run has ended; returns its state."""
        deadline = time.monotonic() + LONGEST_RUN_SECONDS
        with Live(console=self.console, refresh_per_second=2, transient=True) as live:
            while time.monotonic() < deadline:
                try:
                    state, tasks = self._look()
                except (httpx.HTTPError, LabError):  # a busy api-server; the deadline bounds how often
                    time.sleep(1)
                    continue
                live.update(self._picture(tasks))
                self._tell(tasks)
                if state in FINISHED:
                    return state
                if tasks.get(GATE) == "awaiting_input" and not self._answered:
                    self._gate()
                time.sleep(LOOK_EVERY)
        raise LabError(f"{self.dag} had not ended after {LONGEST_RUN_SECONDS:.0f} s. Tasks: {self._told}")

    def _look(self) -> tuple[str, dict[str, str]]:
        return self.client.run_state(self.dag, self.run), self.client.task_states(self.dag, self.run)

    def _gate(self) -> None:
        self._answered = True
        if self.demo.approve == "auto":
            self.console.print("Approving the cutover")
            self.client.answer(self.dag, self.run, GATE)
            return
        where = f"{self.client.url}/dags/{self.dag}/runs/{self.run}"
        password = self.lab.airflow.passwords["operator"]
        self.console.print(f"Approve the cutover at {where} (log in as operator, password {password})")

    def _tell(self, tasks: dict[str, str]) -> None:
        """One line for each task that reached an end, for logs that keep no live picture."""
        for task, state in tasks.items():
            if state in {"success", "failed", "skipped", "upstream_failed"} and self._told.get(task) != state:
                self.console.print(f"  {task}: {state}")
            self._told[task] = state

    def _rows(self) -> tuple[float, int]:
        """The moment and the rows loaded so far, by whoever counts them while they come."""
        if self._dms is not None:
            return dms_facts.loading(self._dms)
        return journal_facts.loading(self.lab.target.dsn(dbname=DATABASE))

    def _picture(self, tasks: dict[str, str]) -> Table:
        table = Table(title=f"{self.dag}  {self.lab.airflow.url}")
        table.add_column("task")
        table.add_column("state")
        for task in TASKS[self.demo.engine]:
            states = [state for name, state in tasks.items() if re.split(r"[.\[]", name)[0] == task]
            table.add_row(task, ", ".join(states) or "-")
        now, rows = self._rows()
        before, rows_before = self._loaded
        self._loaded = (now, rows)
        per_second = max(0.0, (rows - rows_before) / max(now - before, 0.1))
        status = self.workload.status()
        table.add_section()
        table.add_row("loaded", f"{rows:,} rows ({per_second:,.0f} a second)")
        pulse = "{:,.0f} transactions a second, latest {:.0f} ms, {} failed"
        table.add_row(
            "clients",
            pulse.format(status.get("per_second", 0), status.get("latest_max_ms", 0), status.get("failed", 0)),
        )
        return table
