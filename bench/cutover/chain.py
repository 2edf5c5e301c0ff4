"""The same steps as a chain of Airflow tasks, and the product's one task, in a real Airflow."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.cutover.events import Step
from bench.cutover.scene import Scene

from crossfade.cutover import recovery
from crossfade_lab.airflow import AirflowStandalone
from crossfade_lab.airflow_client import FINISHED, AirflowClient
from crossfade_lab.processes import LabError

RUN_SECONDS = 300.0
LOOK_EVERY = 1.0  #: seconds; each look costs processor time that clients feel on a small machine
AROUND = ("begin", "finish")  #: tasks of the chain that are not in the pause

#: An idle Airflow that leaves the processors to the clients; none of it delays a task.
IDLE: Mapping[str, str] = {
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "300",
    # The lab's api-server gives way to the clients. A task that has no answer in 5 s fails; this one may wait longer
    "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Airflow:
    """A running Airflow that has the benchmark's DAGs."""

    scene: Scene
    client: AirflowClient

    def cut_over(self) -> tuple[float, list[Step]]:
        """Forward by the chain of tasks: milliseconds from the start of `pause` to the end of `open`, and each task."""
        run = self._run("chain")
        tasks = [t for t in self.client.task_instances("chain", run) if t["task_id"] not in AROUND]
        times = sorted((_epoch(t["start_date"]), _epoch(t["end_date"]), str(t["task_id"])) for t in tasks)
        first = times[0][0]
        steps = [Step(name=name, started_ms=(a - first) * 1000, ms=(b - a) * 1000) for a, b, name in times]
        return (times[-1][1] - first) * 1000, steps

    def roll_back(self) -> tuple[float, list[Step]]:
        """Back by the product's one task: milliseconds that clients were held, and the steps within."""
        result = self.client.xcom("back", self._run("back"), "rollback")
        steps = [Step(name=s["name"], started_ms=s["started_ms"], ms=s["ms"]) for s in result["steps"]]
        return float(result["paused_ms"]), steps

    def _run(self, dag: str) -> str:
        run = self.client.trigger(dag)
        deadline = time.monotonic() + RUN_SECONDS
        while (state := self.client.run_state(dag, run)) not in FINISHED and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY)
        if state != "success":
            recovery.settle(self.scene.m)  # clients are not left waiting
            raise LabError(f"The run {run} of the DAG {dag} is {state}.\n{self._said(dag, run)}")
        return run

    def _said(self, dag: str, run: str) -> str:
        failed = [t for t in self.client.task_instances(dag, run) if t["state"] == "failed"]
        return (
            "\n".join(f"--- {t['task_id']}\n{self._log(dag, run, t)[-2000:]}" for t in failed)
            or f"No task failed: {self.client.task_states(dag, run)}"
        )

    def _log(self, dag: str, run: str, entry: Mapping[str, Any]) -> str:
        return self.client.log(dag, run, entry["task_id"], attempt=entry["try_number"])


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@contextmanager
def airflow(scene: Scene) -> Iterator[Airflow]:
    """Start one beside the lab's servers; gone at the end."""
    lab = scene.lab
    running = AirflowStandalone(
        scene.directory / "airflow",
        lab.metadata,
        connections=lab.connections(),
        environment={**lab.environment(), **IDLE},
        dags=Path(__file__).parent / "dags",
    )
    with lab.metadata, running:
        client = running.client()
        try:
            for dag in ("chain", "back"):
                client.wait_for_dag(dag)
            yield Airflow(scene=scene, client=client)
        finally:
            client.close()
