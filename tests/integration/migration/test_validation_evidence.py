"""What a validation claims, proved: no false alarm at a thousand writes a second, and a hundred differences found."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from crossfade.routers.base import Side
from crossfade.validation import run as validation
from crossfade.validation.result import Report, Verdict
from crossfade_lab import verdict
from crossfade_lab.postgres import binaries
from crossfade_lab.workload import Spec, WorkloadProcess

from . import planted

#: Tables of rows that never stand still, made before the load.
HOT = """
    CREATE TABLE public.hot_counter (id int PRIMARY KEY, n bigint NOT NULL);
    INSERT INTO hot_counter VALUES (1, 0);
    CREATE TABLE public.hot_flags (id int PRIMARY KEY, up boolean NOT NULL);
    INSERT INTO hot_flags SELECT n, true FROM generate_series(1, 20) AS n;
    CREATE TABLE public.hot_brief (id int PRIMARY KEY, what text NOT NULL);
    CREATE TABLE public.hot_keys (id int PRIMARY KEY, what text NOT NULL);
    INSERT INTO hot_keys SELECT n, 'row ' || n FROM generate_series(1, 200) AS n;
    CREATE TABLE public.hot_keyless (a int, b text);
    ALTER TABLE public.hot_keyless REPLICA IDENTITY FULL;
    INSERT INTO hot_keyless SELECT n % 50, 'x' FROM generate_series(1, 200) AS n;
    CREATE TABLE public.hot_large (id int PRIMARY KEY, n bigint NOT NULL, content bytea NOT NULL);
    ALTER TABLE hot_large ALTER content SET STORAGE EXTERNAL;
    INSERT INTO hot_large SELECT n, 0, decode(repeat(md5(n::text), 4000), 'hex') FROM generate_series(1, 20) AS n;
"""
HOT_TABLES = ("hot_counter", "hot_flags", "hot_brief", "hot_keys", "hot_keyless", "hot_large")

#: What pgbench does to them, and how often: each statement is a transaction of its own.
WRITES = {
    "UPDATE hot_counter SET n = n + 1 WHERE id = 1;": 10,
    "\\set k random(1, 20)\nUPDATE hot_flags SET up = NOT up WHERE id = :k;": 20,
    "\\set k random(1, 20)\nINSERT INTO hot_brief VALUES (:k, 'here') ON CONFLICT DO NOTHING;\n"
    "DELETE FROM hot_brief WHERE id = :k;": 10,
    "\\set k random(1, 200)\nUPDATE hot_keys SET id = -id WHERE id IN (:k, -:k);": 20,
    "\\set k random(0, 49)\nINSERT INTO hot_keyless VALUES (:k, 'x');\n"
    "UPDATE hot_keyless SET b = b || 'x' WHERE ctid = (SELECT ctid FROM hot_keyless WHERE a = :k LIMIT 1);\n"
    "DELETE FROM hot_keyless WHERE ctid = (SELECT ctid FROM hot_keyless WHERE a = :k LIMIT 1);": 4,
    "\\set k random(1, 20)\nUPDATE hot_large SET n = n + 1 WHERE id = :k;": 10,  # its content is not sent again
    "\\set k random(1, 20)\nUPDATE hot_large SET content = decode(repeat(md5(random()::text), 4000), 'hex')"
    " WHERE id = :k;": 2,
}
WRITTEN = """
    SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables WHERE schemaname IN ('public', 'billing')"""


@contextmanager
def _hot_rows(world: Any, directory: Path, *, rate: int) -> Iterator[None]:
    """
    Clients that keep changing the same rows. Fails if one of them did.

    :param rate: of `WRITES` a second, of all clients together
    """
    known = conninfo_to_dict(world.pair.source.dsn(dbname="shop"))
    command = [str(Path(binaries(18)) / "pgbench"), "--no-vacuum", "--client=8", f"--rate={rate}", "--time=3600"]
    for number, (script, weight) in enumerate(WRITES.items()):
        path = directory / f"hot{number}.sql"
        path.write_text(script)
        command.append(f"--file={path}@{weight}")
    dsn = " ".join(f"{name}={value}" for name, value in known.items())
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen([*command, dsn], stdout=said, stderr=said)
        try:
            yield
            assert process.poll() is None, said.seek(0) or said.read()
        finally:
            process.terminate()
            process.wait()


def _written(world: Any) -> int:
    """Rows of the application's tables that were inserted, updated and deleted on the source, as it counts them."""
    time.sleep(1.1)  # a session reports to the statistics once a second
    with world.admin("source") as source:
        return int(source.execute(WRITTEN).fetchone()[0])


@pytest.mark.slow
def test_twenty_validations_at_a_thousand_writes_a_second_raise_no_false_alarm(
    make_world: Callable[..., Any], ledger: Path, tmp_path: Path
) -> None:
    world = make_world(rows=10_000)
    with world.admin("source") as source:
        source.execute(HOT)
        for table in HOT_TABLES:
            source.execute(f"ALTER TABLE public.{table} OWNER TO shop_owner".encode())
    world.load()
    spec = Spec(endpoints=[world.through_router()], directory=str(ledger), clients=8, rate=350)
    settled: Counter[str] = Counter()
    with WorkloadProcess(spec), _hot_rows(world, tmp_path, rate=450):
        before, start = _written(world), time.monotonic()
        for n in range(20):
            report = validation.examine(world.m, run_id=f"run {n}")
            assert report.verdict is Verdict.OK, report.problems
            assert len(report.tables) == 15 + len(HOT_TABLES)
            settled.update({table.table: table.settled for table in report.tables})
        rate = (_written(world) - before) / (time.monotonic() - start)
    print(f"{rate:.0f} rows a second were written; seen unequal at first: {+settled}")
    assert rate >= 1000
    assert sum(settled[f"public.{table}"] for table in HOT_TABLES) >= 10, settled  # they were seen in motion
    judged = verdict.verify(ledger, world.through_router())
    assert judged.ok, judged


@pytest.mark.slow
def test_a_hundred_planted_differences_are_found_and_nothing_else_and_repaired(
    make_world: Callable[..., Any], ledger: Path
) -> None:
    world = make_world(rows=3000, validate={"part_rows": 1000})
    with world.pair.target.connect() as admin:  # repair writes past triggers, and under an origin
        admin.execute("ALTER ROLE crossfade SUPERUSER")
    with world.admin("source") as source:
        planted.create(source)
    world.load()
    spec = Spec(endpoints=[world.through_router()], directory=str(ledger), clients=8, rate=150)
    with WorkloadProcess(spec):
        assert validation.validate(world.m, run_id="before").verdict is Verdict.OK
        with (
            world.admin("target") as admin,
            world.m.session(Side.SOURCE, "look") as source,
            world.m.session(Side.TARGET, "look") as target,
        ):
            expected = planted.plant(admin, source, target)
        assert len(expected) == 100
        report = validation.examine(world.m, run_id="planted")
        assert report.verdict is Verdict.MISMATCH
        assert _differences(report) == Counter(expected)
        assert not [table.error for table in report.tables if table.error]

        repaired = validation.examine(world.m, run_id="repair", repairing=True)
        left = {table.table: table for table in repaired.tables if table.verdict is not Verdict.OK}
        assert set(left) == {f"public.{name}" for name in planted.KEYLESS}
        for name, table in left.items():
            assert table.error.startswith(f"{name} was not repaired: it has no key. Clear the load task"), table.error
        assert _differences(repaired) == Counter(each for each in expected if each.table in left)
        assert sum(table.repaired for table in repaired.tables) == 100 - _differences(repaired).total()

        with world.admin("target") as admin:
            planted.copy_keyless(admin)
        assert validation.validate(world.m, run_id="after").verdict is Verdict.OK
    judged = verdict.verify(ledger, world.through_router())
    assert judged.ok, judged


def _differences(report: Report) -> Counter[planted.Difference]:
    """Every row that differs, as the report lists it."""
    assert not any(table.more or table.unsettled for table in report.tables)
    return Counter(
        planted.Difference(
            table=table.table,
            kind=row.kind,
            key=row.key,
            columns=frozenset(column.name for column in row.columns),
            copies=row.copies,
        )
        for table in report.tables
        for row in table.differences
    )
