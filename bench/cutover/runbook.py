"""The usual scripted runbook: PAUSE, look at the lag each second, sequences from max(id), RELOAD, RESUME, all by psql.

It has no fence, no way back and no proof. So that it can be run in both directions, as the product is, both sides
replicate to each other meanwhile (origin = none): more than a runbook has, and nothing that it has to wait for.
"""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from bench.cutover.events import Step
from bench.cutover.scene import Scene
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from crossfade.routers.base import Direction, Side
from crossfade_lab import processes, testing
from crossfade_lab.postgres import binaries
from crossfade_lab.processes import LabError
from crossfade_lab.shop.data import DATABASE

LAG = """\
SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)), -1)
FROM pg_replication_slots WHERE database = current_database()"""

#: Sequences that a column owns, from its largest value.
SEQUENCES = """\
SELECT format('SELECT setval(%L, greatest(max(%I), 1)) FROM %I.%I', s.oid::regclass, a.attname, n.nspname, t.relname)
FROM pg_class AS s
JOIN pg_depend AS d ON d.classid = 'pg_class'::regclass AND d.objid = s.oid AND d.deptype IN ('a', 'i')
JOIN pg_class AS t ON d.refclassid = 'pg_class'::regclass AND t.oid = d.refobjid
JOIN pg_namespace AS n ON n.oid = t.relnamespace AND n.nspname IN ('public', 'billing')
JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
WHERE s.relkind = 'S'
\\gexec
"""
LAG_SECONDS = 60.0  #: after which the script gives up
BACK = "bench_back"  #: publication, slot and subscription from target to source


def psql(dsn: str, script: str) -> str:
    """Run statements as a script does, in a psql of their own; what they print. Raises `LabError`."""
    to = conninfo_to_dict(dsn)
    done = subprocess.run(
        [binaries(18) / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-f", "-"],
        input=script,
        env={
            **processes.clean_environment(),
            **{f"PG{name.upper()}": str(to[name]) for name in ("host", "port", "user", "password")},
            "PGDATABASE": str(to["dbname"]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise LabError(f"psql ended with {done.returncode} at {script.splitlines()[0]!r}: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


@dataclass(kw_only=True)
class Runbook:
    """One run of the script. `steps` has what was done."""

    scene: Scene
    direction: Direction
    steps: list[Step] = field(default_factory=list)
    _start: float = 0.0

    def run(self) -> float:
        """From PAUSE to RESUME; the milliseconds that clients were held. Where it fails, clients go on."""
        lab, old, new = self.scene.lab, self.direction.old, self.direction.new
        consoles = [bouncer.admin_dsn() for bouncer in lab.bouncers]
        self._start = time.monotonic()
        paused = False
        try:
            paused = True
            self._step("pause", lambda: [psql(console, f"PAUSE {DATABASE};") for console in consoles])
            self._step("lag", lambda: self._await_no_lag(old))
            self._step("sequences", lambda: psql(self.scene.server(new).dsn(dbname=DATABASE), SEQUENCES))
            self._step("reload", lambda: self._lead_to(new, consoles))
            self._step("resume", lambda: [psql(console, f"RESUME {DATABASE};") for console in consoles])
            paused = False
        finally:
            if paused:
                for console in consoles:
                    with suppress(LabError):  # it may not have been paused
                        psql(console, f"RESUME {DATABASE};")
        return (time.monotonic() - self._start) * 1000

    def _await_no_lag(self, side: Side) -> None:
        deadline = time.monotonic() + LAG_SECONDS
        dsn = self.scene.server(side).dsn(dbname=DATABASE)
        while (lag := psql(dsn, LAG)) != "0":
            if time.monotonic() > deadline:
                raise LabError(f"The lag was not 0 within {LAG_SECONDS:.0f} s. Last seen: {lag} bytes")
            time.sleep(1)

    def _lead_to(self, side: Side, consoles: list[str]) -> None:
        testing.lead_to(self.scene.lab.databases, self.scene.server(side))
        for console in consoles:
            psql(console, "RELOAD;")

    def _step(self, name: str, act: Callable[[], object]) -> None:
        begun = time.monotonic()
        act()
        ended = time.monotonic()
        self.steps.append(Step(name=name, started_ms=(begun - self._start) * 1000, ms=(ended - begun) * 1000))


@contextmanager
def both_ways(scene: Scene) -> Iterator[None]:
    """The target open, and its changes replicated to the source; afterwards neither, and nothing left behind."""
    publisher = scene.m.target_from_source
    subscribe = sql.SQL(
        "CREATE SUBSCRIPTION {name} CONNECTION {to} PUBLICATION {name} WITH (copy_data = false, origin = none)"
    ).format(name=sql.Identifier(BACK), to=sql.Literal(publisher.conninfo()))
    publish = sql.SQL("CREATE PUBLICATION {} FOR TABLES IN SCHEMA public, billing").format(sql.Identifier(BACK))
    with scene.both_open():
        try:
            with scene.lab.target.connect(DATABASE) as target:
                target.execute(publish)
            with scene.lab.source.connect(DATABASE) as source:
                source.execute(subscribe)
            yield
        finally:
            _await_arrival(scene)
            with scene.lab.source.connect(DATABASE) as source:
                source.execute(sql.SQL("DROP SUBSCRIPTION IF EXISTS {}").format(sql.Identifier(BACK)))
            with scene.lab.target.connect(DATABASE) as target:
                target.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(BACK)))


def _await_arrival(scene: Scene) -> None:
    """Wait until the source has everything that was written to the target, which the next round builds on."""
    query = "SELECT pg_current_wal_insert_lsn() <= confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = %s"
    with scene.lab.target.connect(DATABASE) as target:
        processes.wait_until(lambda: target.execute(query, [BACK]).fetchone() in (None, (True,)), seconds=30)
