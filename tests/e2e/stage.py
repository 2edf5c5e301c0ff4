"""A stage for end-to-end tests: one Airflow, one pair of servers, one PgBouncer, and a database pair for every plan."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import yaml

from crossfade_lab import processes, testing
from crossfade_lab.airflow import AirflowStandalone
from crossfade_lab.airflow_client import AirflowClient
from crossfade_lab.aws.local import ACCESS_KEY, REGION, SECRET_KEY, LocalAws
from crossfade_lab.pgbouncer import ADMIN, Destination, PgBouncer, write_databases
from crossfade_lab.postgres import PostgresServer, binaries
from crossfade_lab.processes import LabError
from crossfade_lab.shop.data import (
    DATABASE,
    PRIVILEGES,
    SQL,
    Logins,
    create_empty_database,
    create_shop,
    grant_migration_role,
    sizes,
)
from crossfade_lab.workload import Spec

REPOSITORY = Path(__file__).parents[2]
ROWS = 20_000
GATE = "approve_cutover"
BY_DMS = "carried"  #: the plan whose engine is dms

#: A worker that is killed is noticed after this many seconds, instead of after five minutes.
FAST_AIRFLOW = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "3",
}


@dataclass(frozen=True)
class Stage:
    """Everything that runs. A plan's name is also the name of its databases, of its DAG file and in PgBouncer."""

    source: PostgresServer
    target: PostgresServer
    bouncer: PgBouncer
    airflow: AirflowStandalone
    logins: Logins
    dags: Path
    plans: Path
    scratch: Path

    @property
    def client(self) -> AirflowClient:
        return self.airflow.client()

    def plan_file(self, plan: str) -> Path:
        return self.plans / f"{plan}.yaml"

    def through_the_pooler(self, plan: str, user: str = "shop_app") -> str:
        """A connection string as the application uses it."""
        return self.bouncer.dsn(user, plan)

    def serving(self, plan: str) -> str:
        """The side that clients of PgBouncer reach, asked as a client."""
        with psycopg.connect(self.through_the_pooler(plan), autocommit=True, prepare_threshold=None) as connection:
            (port,) = connection.execute("SELECT inet_server_port()").fetchone()
        return {self.source.port: "source", self.target.port: "target"}[port]

    def workload(self, plan: str, *, rate: float = 60) -> Spec:
        """Clients that write to a plan's database."""
        return Spec(
            endpoints=[self.through_the_pooler(plan)],
            directory=str(self.scratch / f"ledger-{plan}"),
            clients=4,
            rate=rate,
            customers=sizes(ROWS)["customers"],
        )

    def slots(self, plan: str) -> list[tuple[str, bool]]:
        """The plan's slots on the source, and whether somebody reads from them."""
        query = "SELECT slot_name, active FROM pg_replication_slots WHERE database = %s ORDER BY 1"
        with self.source.connect() as connection:
            return connection.execute(query, [plan]).fetchall()

    def migrate(self, plan: str, **conf: object) -> str:
        """Trigger a plan's migration; returns the run's id."""
        self.client.wait_for_dag(f"{plan}.migrate")
        return self.client.trigger(f"{plan}.migrate", conf)

    def roll_back(self, plan: str) -> str:
        """Trigger a plan's rollback and approve it; returns the run's id."""
        self.client.wait_for_dag(f"{plan}.rollback")
        run = self.client.trigger(f"{plan}.rollback")
        self.until_the_gate(plan, run, what="rollback", gate="approve_rollback")
        self.client.answer(f"{plan}.rollback", run, "approve_rollback")
        return run

    def until_the_gate(
        self, plan: str, run: str, *, seconds: float = 480, what: str = "migrate", gate: str = GATE
    ) -> None:
        """Wait until a run asks for approval; a run that ends before shows why."""
        dag, deadline = f"{plan}.{what}", time.monotonic() + seconds
        while (states := self.client.task_states(dag, run)).get(gate) != "awaiting_input":
            if bad := [task for task, state in states.items() if state == "failed"]:
                said = (self.airflow.home / "scheduler.log").read_text(errors="replace").splitlines()
                about = "\n".join(line for line in said if bad[0].partition("[")[0] in line and run in line)
                raise AssertionError(f"{bad[0]} of {dag} failed:\n{self.log(dag, run, bad[0])}\n{about[-3000:]}")
            assert time.monotonic() < deadline, states
            time.sleep(0.5)
        time.sleep(4)  # nobody answers sooner; an answer before the scheduler saw the worker end fails the gate

    def log(self, dag: str, run: str, task: str) -> str:
        """The logs of all tries of a task (`load[0]` for a mapped one)."""
        name, _, index = task.rstrip("]").partition("[")
        found = [
            entry
            for entry in self.client.task_instances(dag, run)
            if entry["task_id"] == name and (not index or entry["map_index"] == int(index))
        ]
        tries = [(entry, attempt) for entry in found for attempt in range(1, entry["try_number"] + 1)]
        return "\n".join(self._try(dag, run, entry, attempt) for entry, attempt in tries)

    def _try(self, dag: str, run: str, entry: dict[str, Any], attempt: int) -> str:
        try:
            return self.client.log(dag, run, entry["task_id"], attempt=attempt, map_index=entry["map_index"])
        except LabError as error:  # a try that never came to run has no log
            return f"no log: {error}"

    def kill_task(self, dag: str, run: str, task: str, *, with_children: bool = False) -> list[int]:
        """
        SIGKILL the process of each running instance of a task, and the worker above it, at one instant.

        :param with_children: and whatever the task has started: all that dies with a host
        """
        running = [
            entry["id"]
            for entry in self.client.task_instances(dag, run)
            if entry["task_id"] == task and entry["state"] == "running"
        ]
        everyone = {int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()}
        family = []
        for pid in everyone:
            if any(processes.command_line(pid).startswith(f"airflow worker -- {ti}") for ti in running):
                parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
                assert "LocalExecutor" in processes.command_line(parent), processes.command_line(parent)
                family += [parent, pid, *(processes.children(pid) if with_children else ())]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in family:
                processes.send(pid, number)
        return family


@contextmanager
def stage(plans: Sequence[str]) -> Iterator[Stage]:
    """Start everything, with a database pair and a DAG file for each plan."""
    with ExitStack() as stack:
        directory = stack.enter_context(testing.scratch_directory())
        logins = Logins()
        with ThreadPoolExecutor() as pool:
            starting = [pool.submit(stack.enter_context, testing.server(major)) for major in (16, 18, 18)]
            source, target, metadata = (future.result() for future in starting)
        write_databases(directory / "databases.ini", {plan: _destination(source, plan) for plan in plans})
        bouncer = stack.enter_context(
            PgBouncer(directory / "bouncer", directory / "databases.ini", logins.applications())
        )
        aws = stack.enter_context(LocalAws(directory / "aws"))
        _folders(directory, plans)
        airflow = AirflowStandalone(
            directory / "airflow",
            metadata,
            dags=directory / "dags",
            connections=_connections(plans, source, target, bouncer, logins) | _aws(aws, source, target, logins),
            environment={
                "CROSSFADE_PLANS": str(directory / "plans"),
                "PG_BIN": str(binaries(target.major)),
                **FAST_AIRFLOW,
            },
        )
        with ThreadPoolExecutor() as pool:
            filled = pool.submit(_databases, plans, source, target, logins)
            stack.enter_context(airflow)
            filled.result()
        yield Stage(
            source=source,
            target=target,
            bouncer=bouncer,
            airflow=airflow,
            logins=logins,
            dags=directory / "dags",
            plans=directory / "plans",
            scratch=directory,
        )


def _destination(server: PostgresServer, plan: str) -> Destination:
    return Destination(host=server.host, port=server.port, dbname=plan)


def _databases(plans: Sequence[str], source: PostgresServer, target: PostgresServer, logins: Logins) -> None:
    """The shop once, and copies of it; an empty database for each on the target."""
    create_shop(source, logins, ROWS)
    grant_migration_role(source, logins, "source.sql")
    create_empty_database(target)
    grant_migration_role(target, logins, "target.sql")
    with source.connect() as old, target.connect() as new:
        for plan in plans:
            old.execute(f"CREATE DATABASE {plan} TEMPLATE {DATABASE} OWNER shop_owner")
            old.execute(f"GRANT CREATE, CONNECT ON DATABASE {plan} TO crossfade")
            new.execute(f"CREATE DATABASE {plan} TEMPLATE {DATABASE} OWNER crossfade")
    if BY_DMS in plans:
        _let_dms_in(source, target, logins)


def _let_dms_in(source: PostgresServer, target: PostgresServer, logins: Logins) -> None:
    """
    Its plan's database in the form that it carries, and its roles.

    They have other names than each other: the plans beside it carry the source's role, as they do with any.
    """
    source.psql(SQL / "dms.sql", dbname=BY_DMS, user="shop_owner", password=logins.shop_owner)
    variables = {
        "role": "shop_dms",
        "password": logins.shop_dms,
        "owner": "shop_owner",
        "migration": "crossfade",
        "database": BY_DMS,
    }
    source.psql(PRIVILEGES / "dms_source.sql", dbname=BY_DMS, variables=variables)
    source.psql(SQL / "local_dms.sql", dbname=BY_DMS, variables=variables)
    target.psql(PRIVILEGES / "dms_target.sql", dbname=BY_DMS, variables={**variables, "role": "dms_writes"})


def _folders(directory: Path, plans: Sequence[str]) -> None:
    """A DAG folder like the repository's and a plan folder, with the plans of this stage instead of the shop's."""
    ignored = shutil.ignore_patterns("shop*.py", "example_*", "__pycache__")
    shutil.copytree(REPOSITORY / "dags", directory / "dags", ignore=ignored)
    (directory / "plans").mkdir()
    dag_file = (REPOSITORY / "dags" / "shop.py").read_text()
    for plan in plans:
        (directory / "dags" / f"{plan}.py").write_text(dag_file.replace("shop.yaml", f"{plan}.yaml"))
        (directory / "plans" / f"{plan}.yaml").write_text(yaml.safe_dump(_plan(directory, plan), sort_keys=False))


def _plan(directory: Path, plan: str) -> dict[str, object]:
    switch = {"file": str(directory / "databases.ini")}
    engine: dict[str, object] = {
        "load": {"waves": 2, "jobs": 2},
        "lag": {"max_bytes": "1MB", "max_seconds": 2, "samples": 2, "timeout": "3min"},
    }
    if plan == BY_DMS:
        dms = {
            "instance": {"class": "dms.r6i.large"},
            "source": {"connection": "dms_source", "tls": "none"},
            "target": {"connection": "dms_target", "tls": "none"},
            "latency": {"periods": 1},
        }
        engine = {"engine": "dms", "dms": dms}
    return {
        **engine,
        "guard": {"schedule": "@daily"},  # several plans at a time would be looked at in the middle of every test
        "source": f"{plan}_source",
        "target": f"{plan}_target",
        "tables": {"include": ["public.*", "billing.*"], "exclude": ["public.tmp_*"]},
        "routers": [{"kind": "pgbouncer", "admin": "pooler", "database": plan, "switch": switch}],
        "cutover": {
            "approvers": ["operator"],
            "approval_timeout": "1h",
            "application_roles": ["shop_app"],
            "smoke": ["select 1 from public.orders limit 1"],
        },
    }


def _connections(
    plans: Sequence[str], source: PostgresServer, target: PostgresServer, bouncer: PgBouncer, logins: Logins
) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {
        "pooler": {
            "conn_type": "postgres",
            "host": bouncer.host,
            "port": bouncer.port,
            "login": ADMIN,
            "password": bouncer.admin_password,
            "schema": "pgbouncer",
        }
    }
    for plan in plans:
        for side, server in (("source", source), ("target", target)):
            found[f"{plan}_{side}"] = {
                "conn_type": "postgres",
                "host": server.host,
                "port": server.port,
                "login": "crossfade",
                "password": logins.crossfade,
                "schema": plan,
            }
    return found


def _aws(aws: LocalAws, source: PostgresServer, target: PostgresServer, logins: Logins) -> dict[str, dict[str, object]]:
    """The local AWS, and how its DMS reaches the two databases."""
    found: dict[str, dict[str, object]] = {
        "aws_default": {
            "conn_type": "aws",
            "login": ACCESS_KEY,
            "password": SECRET_KEY,
            "extra": {"endpoint_url": aws.url, "region_name": REGION},
        }
    }
    for side, server in (("source", source), ("target", target)):
        found[f"dms_{side}"] = {
            "conn_type": "postgres",
            "host": server.host,
            "port": server.port,
            "login": "shop_dms" if side == "source" else "dms_writes",
            "password": logins.shop_dms,
            "schema": BY_DMS,
        }
    return found
