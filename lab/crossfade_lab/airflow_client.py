"""A client of Airflow's REST API: what an operator does in the UI, for tests and the demo."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import httpx

from crossfade_lab.processes import LabError, wait_until

FINISHED = frozenset({"success", "failed"})
#: Seconds to wait before a gate is answered. A task's supervisor overlooks its end for up to
#: `[workers] min_heartbeat_interval`; a gate answered before that is queued again while the executor still reports its
#: first execution, and Airflow 3.3.2 then fails it ("finished with state success, but … state attribute is queued").
GATE_SETTLES = 4.0
ENDED = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


class AirflowClient:
    """Talks to `/api/v2` as one user; logs in on first use and again when the token has expired."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self.url, self.user, self._password = url, user, password
        self._http = httpx.Client(base_url=url, timeout=120)

    def close(self) -> None:
        self._http.close()

    def call(self, method: str, path: str, **options: Any) -> Any:
        """One request below `/api/v2`; returns the parsed answer, an error says what Airflow answered."""
        answer = self.raw(method, path, **options)
        if answer.is_error:
            raise LabError(f"{method} {path} as {self.user}: {answer.status_code} {answer.text[:1000]}")
        if not answer.content:
            return None
        return answer.json()

    def raw(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request below `/api/v2`, whatever the answer (for tests of what is refused)."""
        if "Authorization" not in self._http.headers:
            self.login()
        answer = self._http.request(method, f"/api/v2{path}", **options)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self.login()
            answer = self._http.request(method, f"/api/v2{path}", **options)
        return answer

    def login(self) -> str:
        """Fetch a token, which is also returned (for the console and other HTTP clients)."""
        answer = self._http.post("/auth/token", json={"username": self.user, "password": self._password})
        if answer.is_error:
            raise LabError(f"Login of {self.user} at {self.url}: {answer.status_code} {answer.text[:300]}")
        token: str = answer.json()["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"
        return token

    def trigger(self, dag: str, conf: Mapping[str, object] | None = None) -> str:
        """Start a run now; returns its id."""
        body = {"logical_date": None, "conf": dict(conf or {})}
        return str(self.call("POST", f"/dags/{dag}/dagRuns", json=body)["dag_run_id"])

    def run_state(self, dag: str, run: str) -> str:
        """queued, running, success or failed."""
        return str(self.call("GET", f"/dags/{dag}/dagRuns/{run}")["state"])

    def run(self, dag: str, run: str) -> dict[str, Any]:
        """Everything Airflow tells about a run."""
        details: dict[str, Any] = self.call("GET", f"/dags/{dag}/dagRuns/{run}")
        return details

    def task_instances(self, dag: str, run: str) -> list[dict[str, Any]]:
        """All task instances of a run, mapped ones singly."""
        path = f"/dags/{dag}/dagRuns/{run}/taskInstances"
        found: list[dict[str, Any]] = self.call("GET", path, params={"limit": 1000})["task_instances"]
        return found

    def task_states(self, dag: str, run: str) -> dict[str, str]:
        """State of each task; mapped instances are named `task[index]`."""
        return {
            task["task_id"] if task["map_index"] < 0 else f"{task['task_id']}[{task['map_index']}]": task["state"]
            or "none"
            for task in self.task_instances(dag, run)
        }

    def clear(
        self, dag: str, run: str, tasks: Sequence[str], *, downstream: bool = True, only_failed: bool = False
    ) -> list[str]:
        """Clear tasks so that they run again; returns the ids of all that were cleared."""
        body = {
            "dry_run": False,
            "dag_run_id": run,
            "task_ids": list(tasks),
            "include_downstream": downstream,
            "only_failed": only_failed,
            "reset_dag_runs": True,
        }
        cleared = self.call("POST", f"/dags/{dag}/clearTaskInstances", json=body)["task_instances"]
        return [task["task_id"] for task in cleared]

    def set_state(self, dag: str, run: str, task: str, state: str) -> None:
        """Mark a task `success`, `failed` or `skipped`."""
        path = f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}"
        self.call("PATCH", path, json={"new_state": state})

    def set_run_state(self, dag: str, run: str, state: str) -> None:
        """Mark a whole run `success`, `failed` or `queued`."""
        self.call("PATCH", f"/dags/{dag}/dagRuns/{run}", json={"state": state})

    def answer(self, dag: str, run: str, task: str, option: str = "Approve") -> None:
        """Answer a gate that awaits input, after the moment that Airflow needs (see `GATE_SETTLES`)."""
        time.sleep(GATE_SETTLES)
        self.call("PATCH", self._gate(dag, run, task), json={"chosen_options": [option], "params_input": {}})

    def gate(self, dag: str, run: str, task: str) -> dict[str, Any]:
        """What a gate asks: subject, body, options, and the answer once given."""
        details: dict[str, Any] = self.call("GET", self._gate(dag, run, task))
        return details

    @staticmethod
    def _gate(dag: str, run: str, task: str) -> str:
        return f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}/-1/hitlDetails"

    def log(self, dag: str, run: str, task: str, *, attempt: int = 1, map_index: int = -1) -> str:
        """The log of one try of a task as plain text."""
        path = f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}/logs/{attempt}"
        content = self.call("GET", path, params={"map_index": map_index, "full_content": True})["content"]
        lines = [content] if isinstance(content, str) else content
        return "\n".join(_log_line(line) for line in lines)

    def xcom(self, dag: str, run: str, task: str, key: str = "return_value", map_index: int = -1) -> Any:
        """One XCom value of a task."""
        path = f"/dags/{dag}/dagRuns/{run}/taskInstances/{task}/xcomEntries/{key}"
        return self.call("GET", path, params={"map_index": map_index, "deserialize": True})["value"]

    def dags(self) -> list[str]:
        """Ids of all DAGs that have been parsed."""
        return [dag["dag_id"] for dag in self.call("GET", "/dags", params={"limit": 500})["dags"]]

    def import_errors(self) -> dict[str, str]:
        """Files that could not be parsed, and why."""
        errors = self.call("GET", "/importErrors", params={"limit": 100})["import_errors"]
        return {error["filename"]: error["stack_trace"] for error in errors}

    def wait_for_dag(self, dag: str, *, seconds: float = 240) -> None:
        """Wait until a DAG has been parsed; otherwise show what could not be."""
        if wait_until(lambda: dag in self.dags(), seconds=seconds, every=0.5):
            return
        errors = "\n".join(f"{file}:\n{trace}" for file, trace in self.import_errors().items())
        raise LabError(f"Waited {seconds:.0f} s for DAG {dag}. Seen: {self.dags()}. Import errors:\n{errors or 'none'}")

    def wait_for_run(self, dag: str, run: str, *, states: Collection[str] = FINISHED, seconds: float = 600) -> str:
        """Wait until a run is in one of the states; returns the state it is in."""
        seen = self._wait(
            lambda: {"run": self.run_state(dag, run), "tasks": self.task_states(dag, run)},
            lambda seen: seen["run"] in states,
            what=f"run {run} of {dag} to be {' or '.join(sorted(states))}",
            seconds=seconds,
        )
        return str(seen["run"])

    def wait_for_task(
        self, dag: str, run: str, task: str, *, states: Collection[str] = ENDED, seconds: float = 300
    ) -> str:
        """Wait until a task is in one of the states (`awaiting_input` for a gate); returns its state."""
        seen = self._wait(
            lambda: self.task_states(dag, run),
            lambda seen: seen.get(task) in states,
            what=f"task {task} of {dag} to be {' or '.join(sorted(states))}",
            seconds=seconds,
        )
        return str(seen[task])

    @staticmethod
    def _wait(
        look: Callable[[], dict[str, Any]], enough: Callable[[dict[str, Any]], bool], *, what: str, seconds: float
    ) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while True:
            seen = look()
            if enough(seen):
                return seen
            if time.monotonic() > deadline:
                raise LabError(f"Waited {seconds:.0f} s for {what}. Last seen: {seen}")
            time.sleep(0.3)


def _log_line(line: object) -> str:
    """One line of a log, which Airflow gives as text or as a structured event."""
    if not isinstance(line, dict):
        return str(line)
    details = line.get("error_detail")
    return " ".join(str(part) for part in (line.get("timestamp"), line.get("event"), details) if part)
