"""A real Airflow of one's own: api-server, scheduler, DAG processor, triggerer, LocalExecutor, PostgreSQL metadata.

Its components are started side by side, which is ready sooner than `airflow standalone` and needs no fifth process.
"""

import atexit
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from crossfade_lab import processes
from crossfade_lab.airflow_client import AirflowClient
from crossfade_lab.postgres import PostgresServer
from crossfade_lab.processes import LabError

REPOSITORY = Path(__file__).parents[2]
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
#: Components that give way to everything else on a small machine; the scheduler, which runs the tasks, does not.
POLITE = frozenset({"api-server", "dag-processor", "triggerer"})
START_SECONDS = 180.0

#: Role `user` of the simple auth manager may trigger, clear, mark and answer; `viewer` only reads.
USERS: Mapping[str, str] = {"operator": "user", "viewer": "viewer"}

SETTINGS: Mapping[str, str] = {
    "AIRFLOW__API__HOST": "127.0.0.1",
    "AIRFLOW__API__WORKERS": "1",
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "AIRFLOW__CORE__PARALLELISM": "8",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    # Importing a DAG takes two seconds of processor time: on a machine that is busy otherwise, perhaps a minute
    "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "120",
    "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "180",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{role}" for user, role in USERS.items()),
    "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "3",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
    "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
    "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
    # How long a supervisor may overlook that its task has ended (default 5 s); see GATE_SETTLES
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}


class AirflowStandalone:
    """One Airflow. As a context manager it starts on entry and is gone on exit, with every process it left behind.

    :param home: AIRFLOW_HOME; logs and the password file live here
    :param metadata: the server for the metadata database `airflow`, created when missing
    :param connections: connections by id, each in Airflow's JSON form
    :param environment: further variables, for instance CROSSFADE_PLANS and PG_BIN
    :param dags: the DAG folder
    :param plugins: the plugin folder
    :param detached: leave it running when this process ends
    """

    host = "127.0.0.1"

    def __init__(
        self,
        home: Path,
        metadata: PostgresServer,
        *,
        connections: Mapping[str, Mapping[str, object]] | None = None,
        environment: Mapping[str, str] | None = None,
        dags: Path = REPOSITORY / "dags",
        plugins: Path = REPOSITORY / "plugins",
        detached: bool = False,
    ) -> None:
        self.home = home
        self.metadata = metadata
        self.dags, self.plugins = dags, plugins
        self.connections = dict(connections or {})
        self.extra = dict(environment or {})
        self.detached = detached
        self.passwords = {user: secrets.token_urlsafe(12) for user in USERS}
        self.secret = secrets.token_hex(64)
        self.port = 0
        self._log_ports = processes.free_port(), processes.free_port()
        self._tether: processes.Tether | None = None
        self._sessions: list[int] = []  # one a component; its workers and tasks are in it

    @classmethod
    def open(cls, home: Path, metadata: PostgresServer) -> Self:
        """Take over the Airflow whose home this is."""
        try:
            known = json.loads((home / "airflow.json").read_text())
        except FileNotFoundError:
            raise LabError(f"{home} holds no Airflow. Start one with: crossfade-lab up") from None
        airflow = cls(home, metadata, detached=True)
        airflow.port, airflow.passwords = known["port"], known["passwords"]
        airflow._sessions = [
            leader
            for leader in known["sessions"]
            if not processes.is_alive(leader) or "airflow" in processes.command_line(leader)
        ]
        return airflow

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def running(self) -> bool:
        return bool(self._processes())

    def client(self, user: str = "operator") -> AirflowClient:
        """A client of its REST API, logged in as one of `USERS`."""
        return AirflowClient(self.url, user, self.passwords[user])

    def environment(self) -> dict[str, str]:
        """The environment of every component."""
        programs = Path(sys.executable).parent
        database = f"{self.metadata.user}:{self.metadata.password}@{self.metadata.host}:{self.metadata.port}/airflow"
        roots = [REPOSITORY / "include", REPOSITORY / "plugins", os.environ.get("PYTHONPATH")]
        connections = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(conn) for name, conn in self.connections.items()}
        return {
            **processes.clean_environment(),
            **SETTINGS,
            "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONPATH": os.pathsep.join(str(root) for root in roots if root),
            "LC_ALL": "C.UTF-8",
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__SECRET_KEY": self.secret,
            "AIRFLOW__API_AUTH__JWT_SECRET": self.secret,
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(self._log_ports[0]),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(self._log_ports[1]),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self.plugins),
            "AIRFLOW__CORE__FERNET_KEY": "",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{database}",
            **connections,
            **self.extra,
        }

    def start(self) -> None:
        """Prepare the metadata, start the components; returns when all are healthy."""
        if self.running:
            return
        self.home.mkdir(parents=True, exist_ok=True)
        self.port = self.port or processes.free_port()
        self._write("passwords.json", self.passwords)
        if not self.detached:
            atexit.register(self.stop)
        self._migrate()
        self._sessions = [self._spawn(component).pid for component in COMPONENTS]
        if not self.detached:
            self._tether = processes.Tether(signal.SIGKILL, [-session for session in self._sessions])
        known = {"port": self.port, "passwords": self.passwords, "sessions": self._sessions}
        self._write("airflow.json", known)
        try:
            self._wait_healthy()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every process that was started with this home: components, workers, tasks and what they left."""
        if self._tether is not None:
            self._tether.cut()
            self._tether = None
        processes.end_all(self._processes, seconds=8)
        if not self.detached:
            atexit.unregister(self.stop)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _processes(self) -> list[int]:
        return processes.descended_from(self._sessions, variable="AIRFLOW_HOME", value=str(self.home))

    def _write(self, name: str, content: Mapping[str, object]) -> None:
        path = self.home / name
        path.write_text(json.dumps(content))
        path.chmod(0o600)

    def _migrate(self) -> None:
        with self.metadata.connect() as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'airflow'").fetchone():
                connection.execute("CREATE DATABASE airflow ENCODING 'UTF8' TEMPLATE template0")
        self._spawn("db", "migrate").wait(START_SECONDS)
        with self.metadata.connect("airflow") as connection:
            if not connection.execute("SELECT to_regclass('public.dag_run')").fetchone() == ("dag_run",):
                raise LabError(f"airflow db migrate failed. Log:\n{processes.tail(self._log('db'))}")

    def _log(self, component: str) -> Path:
        return self.home / f"{component}.log"

    def _spawn(self, *command: str) -> subprocess.Popen[bytes]:
        """Start `airflow <command>` in a session of its own, as the caller (its user must read the code)."""
        priority = ["nice", "-n", "10"] if command[0] in POLITE else []
        with self._log(command[0]).open("ab") as log:
            return subprocess.Popen(
                [*priority, sys.executable, "-m", "airflow", *command],
                cwd=self.home,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wait_healthy(self) -> None:
        seen: dict[str, object] = {}

        def healthy() -> bool:
            with suppress(httpx.HTTPError, ValueError):
                seen.update(httpx.get(f"{self.url}/api/v2/monitor/health", timeout=5).json())
            parts = (seen.get(name) for name in ("metadatabase", "scheduler", "dag_processor", "triggerer"))
            return all(isinstance(part, dict) and part.get("status") == "healthy" for part in parts)

        if not processes.wait_until(healthy, seconds=START_SECONDS, every=0.25):
            logs = "\n".join(f"--- {name}\n{processes.tail(self._log(name), 8)}" for name in COMPONENTS)
            raise LabError(f"Airflow was not healthy after {START_SECONDS:.0f} s. Seen: {seen}\n{logs}")
