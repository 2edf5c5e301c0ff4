"""The whole lab: source, target, two PgBouncers that share one file, Airflow with its metadata server, a local AWS.

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
from crossfade_lab.aws.local import ACCESS_KEY, REGION, SECRET_KEY, LocalAws
from crossfade_lab.pgbouncer import ADMIN, Destination, PgBouncer, write_databases
from crossfade_lab.postgres import PostgresServer, binaries
from crossfade_lab.processes import LabError
from crossfade_lab.shop.data import (
    DATABASE,
    DEFAULT_ROWS,
    Engine,
    Logins,
    create_empty_database,
    create_shop,
    grant_dms_roles,
    grant_migration_role,
    sizes,
)

#: The plan of each engine. Airflow shows both, whichever of them the lab is for.
PLANS: Mapping[Engine, str] = {Engine.LOGICAL: "shop", Engine.DMS: "shop_dms"}
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
        self.rows, self.engine, self.logins = self._remember()
        self.aws = self._aws()
        self.bouncers = [self._bouncer(number) for number in (1, 2)]
        self.airflow = self._airflow()

    def up(
        self,
        rows: int = DEFAULT_ROWS,
        *,
        engine: Engine = Engine.LOGICAL,
        airflow: bool = True,
        tell: Callable[[str], None] = print,
    ) -> None:
        """Create everything anew and start it; when one part fails, everything is stopped again.

        :param engine: what the shop is to be moved with; for `dms` a local AWS is started as well
        """
        if running := [part.name for part in self.parts() if part.running]:
            raise LabError(f"The lab is up already ({', '.join(running)}). Stop it with: crossfade-lab down")
        self._begin_anew(rows, engine)
        try:
            self._start(rows, airflow, tell)
        except BaseException:
            self.down()
            raise

    def down(self) -> None:
        """Stop everything; the data stays until the next `up` or `remove`."""
        self.airflow.stop()
        self.aws.stop()
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
        aws = Part(name="local AWS", running=self.aws.pid is not None, where=self.aws.url)
        return [
            *(
                Part(name=f"{name} (PostgreSQL {s.major})", running=s.running, where=f"{s.host}:{s.port}")
                for name, s in servers.items()
            ),
            *(Part(name=b.directory.name, running=b.running, where=f"{b.host}:{b.port}") for b in self.bouncers),
            *([aws] if self.engine == Engine.DMS else []),
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
        return found | (self._connections_of_dms() if self.engine == Engine.DMS else {})

    def _connections_of_dms(self) -> dict[str, dict[str, object]]:
        """The local AWS, and the two databases as DMS reaches them and logs in."""
        login = {"conn_type": "postgres", "login": "shop_dms", "password": self.logins.shop_dms, "schema": DATABASE}
        return {
            "aws_default": {
                "conn_type": "aws",
                "login": ACCESS_KEY,
                "password": SECRET_KEY,
                "extra": {"endpoint_url": self.aws.url, "region_name": REGION},
            },
            "shop_dms_source": {"host": self.source.host, "port": self.source.port, **login},
            "shop_dms_target": {"host": self.target.host, "port": self.target.port, **login},
        }

    def environment(self) -> dict[str, str]:
        """What Crossfade reads from the environment, and a DAG processor that leaves the processors to the clients."""
        return {
            "CROSSFADE_PLANS": str(self.plans),
            "PG_BIN": str(binaries(TARGET_MAJOR)),
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "120",
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

    def _aws(self) -> LocalAws:
        directory = self.directory / "aws"
        if (directory / "server.json").exists():
            return LocalAws.open(directory)
        return LocalAws(directory, detached=self.detached)

    def _remember(self) -> tuple[int, Engine, Logins]:
        """Rows, engine and logins of the lab that this directory holds, or fresh ones."""
        try:
            known = json.loads((self.directory / "lab.json").read_text())
        except FileNotFoundError:
            return DEFAULT_ROWS, Engine.LOGICAL, Logins()
        return int(known["rows"]), Engine(known.get("engine", Engine.LOGICAL)), Logins(**known["logins"])

    def _begin_anew(self, rows: int, engine: Engine) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self.directory.chmod(0o755)  # the servers' user passes through; what is secret has a mode of its own
        self.rows, self.engine, self.logins = rows, engine, Logins()
        self.source = self._server("source", SOURCE_MAJOR)
        self.target = self._server("target", TARGET_MAJOR)
        self.metadata = self._server("metadata", METADATA_MAJOR, METADATA_SETTINGS)
        self.aws = self._aws()
        self.bouncers = [self._bouncer(number) for number in (1, 2)]
        self.airflow = self._airflow()

    def _start(self, rows: int, airflow: bool, tell: Callable[[str], None]) -> None:
        servers = [self.source, self.target, *([self.metadata] if airflow else [])]
        with ThreadPoolExecutor() as pool:
            aws = pool.submit(self.aws.start) if self.engine == Engine.DMS else None
            list(pool.map(PostgresServer.start, servers))
            write_databases(self.databases, {DATABASE: self._destination(self.source)})
            list(pool.map(PgBouncer.start, self.bouncers))
            if aws is not None:
                aws.result()  # Airflow is told its address
            self._write_plans()
            tell(f"PostgreSQL {SOURCE_MAJOR} and {TARGET_MAJOR} and two PgBouncers run; making {rows:,} rows")
            filled = pool.submit(self._fill, rows)
            if airflow:
                tell("Starting Airflow (about half a minute)")
                self.airflow.connections = dict(self.connections())
                self.airflow.extra = self.environment()
                self.airflow.start()
            filled.result()
        with self.source.connect() as admin:
            query = "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = ANY(%s)"
            found = admin.execute(query, [list(self.logins.applications())]).fetchall()
        for bouncer in self.bouncers:
            bouncer.keep_verifiers({role: verifier for role, verifier in found})
        self._write_description()

    def _destination(self, server: PostgresServer) -> Destination:
        return Destination(host=server.host, port=server.port, dbname=DATABASE)

    def _fill(self, rows: int) -> None:
        create_shop(self.source, self.logins, rows, engine=self.engine)
        grant_migration_role(self.source, self.logins, "source.sql")
        create_empty_database(self.target)
        grant_migration_role(self.target, self.logins, "target.sql")
        if self.engine == Engine.DMS:
            grant_dms_roles(self.source, self.target, self.logins)

    def _write_plans(self) -> None:
        """The repository's plans of the shop, with this lab's routers."""
        self.plans.mkdir(exist_ok=True)
        for name in PLANS.values():
            given = REPOSITORY / "include" / "migrations" / f"{name}.yaml"
            if not given.exists():
                raise LabError(f"{given} is missing: the lab migrates what that plan declares")
            plan = yaml.safe_load(given.read_text())
            plan["routers"][0]["admin"] = [f"shop_pgbouncer_{number}" for number in (1, 2)]
            plan["routers"][0]["switch"] = {"file": str(self.databases), "via": "local"}
            (self.plans / given.name).write_text(yaml.safe_dump(plan, sort_keys=False))

    def _write_description(self) -> None:
        """`lab.json`: where everything is and how to log in; only for the user who started it."""
        parts = [asdict(part) for part in self.parts()]
        servers = (self.source, self.target, self.metadata)
        pids = {server.directory.name: server.pid for server in servers}
        pids |= {bouncer.directory.name: bouncer.pid for bouncer in self.bouncers}
        known = {
            "rows": self.rows,
            "engine": self.engine,
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
