"""The whole lab: source, target, two PgBouncers that share one file, Airflow with its metadata server.

Everything lives in one state directory, which describes itself: another process takes the lab over with `Lab()`.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from crossfade_lab.airflow import REPOSITORY, AirflowStandalone
from crossfade_lab.pgbouncer import ADMIN, Destination, PgBouncer, write_databases
from crossfade_lab.postgres import PostgresServer, binaries
from crossfade_lab.processes import LabError
from crossfade_lab.shop.data import (
    DATABASE,
    DEFAULT_ROWS,
    Logins,
    create_empty_database,
    create_shop,
    grant_migration_role,
    sizes,
)

PLAN = "shop.yaml"
SOURCE_MAJOR, TARGET_MAJOR, METADATA_MAJOR = 16, 18, 18

#: The metadata server serves Airflow only; it leaves the memory to the others.
METADATA_SETTINGS: Mapping[str, str] = {"wal_level": "replica", "fsync": "off", "shared_buffers": "64MB"}


def default_directory() -> Path:
    """CROSSFADE_LAB_DIR, else one of this user and checkout below the system's temporary directory."""
    if configured := os.environ.get("CROSSFADE_LAB_DIR"):
        return Path(configured).absolute()
    checkout = hashlib.sha256(str(REPOSITORY).encode()).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"crossfade-lab-{os.getuid()}-{checkout}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One component, for people."""

    name: str
    running: bool
    where: str


class Lab:
    """All components of the lab.

    :param directory: the state directory; see `default_directory`
    :param detached: components outlive this process (`crossfade-lab up`); otherwise they end with it
    """

    def __init__(self, directory: Path | None = None, *, detached: bool = True) -> None:
        self.directory = directory or default_directory()
        self.detached = detached
        self.databases = self.directory / "databases.ini"
        self.plans = self.directory / "migrations"
        self.source = self._server("source", SOURCE_MAJOR)
        self.target = self._server("target", TARGET_MAJOR)
        self.metadata = self._server("metadata", METADATA_MAJOR, METADATA_SETTINGS)
        self.rows, self.logins = self._remember()
        self.bouncers = [self._bouncer(number) for number in (1, 2)]
        self.airflow = self._airflow()

    def up(self, rows: int = DEFAULT_ROWS, *, airflow: bool = True, tell: Callable[[str], None] = print) -> None:
        """Create everything anew and start it; when one part fails, everything is stopped again."""
        if running := [part.name for part in self.parts() if part.running]:
            raise LabError(f"The lab is up already ({', '.join(running)}). Stop it with: crossfade-lab down")
        self._begin_anew(rows)
        try:
            self._start(rows, airflow, tell)
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """Stop everything; the data stays until the next `up` or `remove`."""
        self.airflow.stop()
        for bouncer in self.bouncers:
            bouncer.stop()
        for server in (self.metadata, self.target, self.source):
            server.stop()

    def remove(self) -> None:
        """Stop everything and delete the state directory."""
        self.down()
        shutil.rmtree(self.directory, ignore_errors=True)

    def parts(self) -> list[Part]:
        """Every component with its state and address."""
        servers = {"source": self.source, "target": self.target, "metadata": self.metadata}
        return [
            *(
                Part(name=f"{name} (PostgreSQL {s.major})", running=s.running, where=f"{s.host}:{s.port}")
                for name, s in servers.items()
            ),
            *(Part(name=b.directory.name, running=b.running, where=f"{b.host}:{b.port}") for b in self.bouncers),
            Part(name="airflow", running=self.airflow.running, where=self.airflow.url),
        ]

    def serving(self) -> PostgresServer:
        """The server that `databases.ini` names now."""
        text = self.databases.read_text() if self.databases.exists() else ""
        for server in (self.source, self.target):
            if f"port={server.port} " in f"{text.replace(chr(10), ' ')} ":
                return server
        raise LabError(f"{self.databases} names neither the source nor the target. Seen: {text.strip() or 'nothing'}")

    def endpoints(self, user: str = "shop_app") -> list[str]:
        """Connection strings to the shop through each PgBouncer."""
        return [bouncer.dsn(user, DATABASE) for bouncer in self.bouncers]

    @property
    def customers(self) -> int:
        return sizes(self.rows)["customers"]

    def connections(self) -> dict[str, dict[str, object]]:
        """What Airflow connects to, by connection id, in the parts of Airflow's JSON form."""
        shop = {"login": "crossfade", "password": self.logins.crossfade, "schema": DATABASE}
        sides = {"shop_source": self.source, "shop_target": self.target}
        found: dict[str, dict[str, object]] = {}
        for name, server in sides.items():
            here = {"conn_type": "postgres", "host": server.host, "port": server.port, **shop}
            found[name] = here
            found[f"{name}_private"] = dict(here)
        for number, bouncer in enumerate(self.bouncers, 1):
            found[f"shop_pgbouncer_{number}"] = {
                "conn_type": "postgres",
                "host": bouncer.host,
                "port": bouncer.port,
                "login": ADMIN,
                "password": bouncer.admin_password,
                "schema": "pgbouncer",
            }
        return found

    def environment(self) -> dict[str, str]:
        """What Crossfade reads from the environment, and a DAG processor that leaves the processors to the clients."""
        return {
            "CROSSFADE_PLANS": str(self.plans),
            "PG_BIN": str(binaries(TARGET_MAJOR)),
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "30",
        }

    def _server(self, name: str, major: int, settings: Mapping[str, str] | None = None) -> PostgresServer:
        directory = self.directory / name
        if (directory / "server.json").exists():
            return PostgresServer.open(directory, detached=self.detached)
        return PostgresServer(directory, major, settings=settings, detached=self.detached)

    def _bouncer(self, number: int) -> PgBouncer:
        directory = self.directory / f"bouncer-{number}"
        if (directory / "pgbouncer.json").exists():
            return PgBouncer.open(directory, detached=self.detached)
        return PgBouncer(directory, self.databases, self.logins.applications(), detached=self.detached)

    def _airflow(self) -> AirflowStandalone:
        home = self.directory / "airflow"
        if (home / "airflow.json").exists():
            return AirflowStandalone.open(home, self.metadata)
        return AirflowStandalone(home, self.metadata, detached=self.detached)

    def _remember(self) -> tuple[int, Logins]:
        """Rows and logins of the lab that this directory holds, or fresh ones."""
        try:
            known = json.loads((self.directory / "lab.json").read_text())
        except FileNotFoundError:
            return DEFAULT_ROWS, Logins()
        return int(known["rows"]), Logins(**known["logins"])

    def _begin_anew(self, rows: int) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self.directory.chmod(0o755)  # the servers' user passes through; what is secret has a mode of its own
        self.rows, self.logins = rows, Logins()
        self.source = self._server("source", SOURCE_MAJOR)
        self.target = self._server("target", TARGET_MAJOR)
        self.metadata = self._server("metadata", METADATA_MAJOR, METADATA_SETTINGS)
        self.bouncers = [self._bouncer(number) for number in (1, 2)]
        self.airflow = self._airflow()

    def _start(self, rows: int, airflow: bool, tell: Callable[[str], None]) -> None:
        servers = [self.source, self.target, *([self.metadata] if airflow else [])]
        with ThreadPoolExecutor() as pool:
            list(pool.map(PostgresServer.start, servers))
            write_databases(self.databases, {DATABASE: self._destination(self.source)})
            list(pool.map(PgBouncer.start, self.bouncers))
            self._write_plan()
            tell(f"PostgreSQL {SOURCE_MAJOR} and {TARGET_MAJOR} and two PgBouncers run; making {rows:,} rows")
            filled = pool.submit(self._fill, rows)
            if airflow:
                tell("Starting Airflow (about half a minute)")
                self.airflow.connections = dict(self.connections())
                self.airflow.extra = self.environment()
                self.airflow.start()
            filled.result()
        self._write_description()

    def _destination(self, server: PostgresServer) -> Destination:
        return Destination(host=server.host, port=server.port, dbname=DATABASE)

    def _fill(self, rows: int) -> None:
        create_shop(self.source, self.logins, rows)
        grant_migration_role(self.source, self.logins, "source.sql")
        create_empty_database(self.target)
        grant_migration_role(self.target, self.logins, "target.sql")

    def _write_plan(self) -> None:
        """The repository's plan of the shop, with this lab's routers."""
        self.plans.mkdir(exist_ok=True)
        given = REPOSITORY / "include" / "migrations" / PLAN
        if not given.exists():
            raise LabError(f"{given} is missing: the lab migrates what that plan declares")
        plan = yaml.safe_load(given.read_text())
        plan["routers"][0]["admin"] = [f"shop_pgbouncer_{number}" for number in (1, 2)]
        plan["routers"][0]["switch"] = {"file": str(self.databases), "via": "local"}
        (self.plans / PLAN).write_text(yaml.safe_dump(plan, sort_keys=False))

    def _write_description(self) -> None:
        """`lab.json`: where everything is and how to log in; only for the user who started it."""
        parts = [asdict(part) for part in self.parts()]
        servers = (self.source, self.target, self.metadata)
        pids = {server.directory.name: server.pid for server in servers}
        pids |= {bouncer.directory.name: bouncer.pid for bouncer in self.bouncers}
        known = {
            "rows": self.rows,
            "logins": asdict(self.logins),
            "parts": parts,
            "pids": pids,
            "airflow": {"url": self.airflow.url, "passwords": self.airflow.passwords},
            "connections": self.connections(),
            "environment": self.environment(),
        }
        path = self.directory / "lab.json"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(known, file, indent=2)
