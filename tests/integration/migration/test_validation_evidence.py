"""What a validation claims, proved: no false alarm at a thousand writes a second, and a hundred differences found."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from crossfade.plan_validate import Validate
from crossfade.routers.base import Side
from crossfade.validation import compare, tables
from crossfade.validation import report as report_pages
from crossfade.validation import run as validation
from crossfade.validation.between import examine_between
from crossfade.validation.result import Mode, Report, Verdict
from crossfade.validation.verdicts import JournalLost
from crossfade_lab import verdict
from crossfade_lab.postgres import binaries
from crossfade_lab.workload import Spec, WorkloadProcess

from . import planted
from .conftest import migration

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
    assert settled.total() >= 10, settled  # rows were seen in motion
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


def test_each_table_that_cannot_be_read_is_one_line_and_the_others_are_compared(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = ("wider_there", "forbidden_there", "forbidden_here", "dropped_there", "dropped_here")
    with world.admin("source") as source:
        for name in odd:
            source.execute(f"CREATE TABLE public.{name} (id int PRIMARY KEY)".encode())
            source.execute(f"ALTER TABLE public.{name} OWNER TO shop_owner".encode())
    world.load()
    with world.admin("source") as source, world.admin("target") as target:
        source.execute("ALTER TABLE wider_there ADD COLUMN extra text")
        for side, admin in (("there", source), ("here", target)):
            admin.execute("REVOKE pg_read_all_data FROM crossfade")
            admin.execute(f"ALTER TABLE forbidden_{side} OWNER TO postgres".encode())
            admin.execute(f"REVOKE ALL ON forbidden_{side} FROM PUBLIC, shop_app, shop_readers".encode())
    whole = compare.compare_part

    def dropping(pair: Any, digests: Any, part: Any, **limits: Any) -> Any:
        if digests.table.name.startswith("dropped"):  # after it was looked up, and split
            with world.admin("source" if digests.table.name.endswith("there") else "target") as admin:
                admin.execute(f"DROP TABLE {digests.table.name}".encode())
        return whole(pair, digests, part, **limits)

    monkeypatch.setattr(tables, "compare_part", dropping)
    report = validation.examine(world.m, run_id="one")
    assert report.verdict is not Verdict.OK
    said = {table.table: table for table in report.tables if table.verdict is not Verdict.OK}
    assert set(said) == {f"public.{name}" for name in odd}
    assert {table.verdict for table in said.values()} == {Verdict.INCOMPLETE}
    assert said["public.wider_there"].error == "the column extra is only on the source: it was not compared"
    for name in odd[1:3]:
        assert f"permission denied for table {name}" in said[f"public.{name}"].error
    for name in odd[3:]:
        assert f'relation "public.{name}" does not exist' in said[f"public.{name}"].error
    for name in said:
        assert len([line for line in report.problems if line.startswith(f"{name}: ")]) == 1
        assert "\n" not in said[name].error
    assert sum(table.rows[0] for table in report.tables if table.verdict is Verdict.OK) > 1_000


@contextmanager
def _gone_in_the_middle(world: Any, monkeypatch: pytest.MonkeyPatch, side: str, after: int) -> Iterator[None]:
    """That side lets nobody in from when so many parts are compared."""
    server = world.pair.source if side == "source" else world.pair.target
    compared = 0
    whole = compare.compare_part

    def cutting(*given: Any, **limits: Any) -> Any:
        nonlocal compared
        compared += 1
        if compared == after + 1:
            with server.connect() as admin:
                admin.execute("ALTER DATABASE shop ALLOW_CONNECTIONS false")
                admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'shop'")
        return whole(*given, **limits)

    with monkeypatch.context() as patch:
        patch.setattr(tables, "compare_part", cutting)
        patch.setattr(tables, "_AGAIN_SECONDS", 0.1)
        try:
            yield
        finally:
            with server.connect() as admin:
                admin.execute("ALTER DATABASE shop ALLOW_CONNECTIONS true")


def test_a_source_that_is_lost_in_the_middle_is_a_line_for_each_table_that_was_left(
    make_world: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(validate={"jobs": 1, "back_off": {"active_sessions": 50}})
    world.load()
    with _gone_in_the_middle(world, monkeypatch, "source", after=5):
        report = validation.examine(world.m, run_id="one")
    _five_of_fifteen(report)
    assert report.verdict is Verdict.INCOMPLETE
    assert _equal(world) is False


def test_between_any_two_databases_a_target_that_is_lost_is_a_line_for_each_table_that_was_left(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.load()
    settings = Validate(jobs=1)
    ends = [world.m.endpoint(each) for each in (Side.SOURCE, Side.TARGET)]
    with _gone_in_the_middle(world, monkeypatch, "target", after=5):
        report = examine_between(
            *ends, tables=world.m.plan.tables, settings=settings, mode=Mode.FULL, told=lambda done, of: None
        )
    _five_of_fifteen(report)


def _five_of_fifteen(report: Report) -> None:
    lost = [table for table in report.tables if table.verdict is not Verdict.OK]
    assert len(report.tables) == 15
    assert len(lost) == 10
    assert report.verdict is not Verdict.OK
    assert {table.verdict for table in lost} == {Verdict.INCOMPLETE}
    assert len([line for line in report.problems if line.startswith(("public.", "billing."))]) == 10
    for table in lost:
        assert "not currently accepting connections" in table.error
        assert table.coverage < 1


def test_a_target_that_is_lost_in_the_middle_is_no_verdict_and_the_run_goes_on_when_it_is_back(
    make_world: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(validate={"jobs": 1})
    world.load()
    with _gone_in_the_middle(world, monkeypatch, "target", after=5), pytest.raises(JournalLost):
        validation.examine(world.m, run_id="one")
    assert _equal(world) is None
    assert validation.validate(world.m, run_id="one").verdict is Verdict.OK
    assert _equal(world) is True


def _equal(world: Any) -> bool | None:
    """What the journal has of the last validation, by which a cutover is allowed; None: it did not end."""
    with world.m.journal() as journal:
        newest = journal.last_validation(journal.get("shop").id)
    return None if newest is None else newest.equal


@pytest.mark.slow
def test_a_validation_waits_while_replication_is_behind_and_says_so_where_it_went_on(
    make_world: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(validate={"back_off": {"lag": "256kB", "patience": "1s"}})
    world.load()
    _streams(world, "DISABLE")
    with world.admin("source") as source:
        source.execute("SELECT pg_logical_emit_message(true, 'test', repeat('x', 1000000))")

    hurried = validation.examine(world.m, run_id="one")
    assert len(hurried.tables) == 15
    for table in hurried.tables:
        assert table.verdict is Verdict.OK  # nothing was written: what was compared is equal
        (note,) = table.notes
        assert re.fullmatch(
            r"1 of 1 parts were compared although replication is [\d.]+ kB behind, the plan allows 256\.0 kB,"
            r" also after 1 s",
            note,
        )
        assert note in report_pages.as_html(hurried)
    assert "although replication is" in report_pages.as_markdown(hurried)

    began: list[float] = []
    whole = compare.compare_part

    def beginning(*given: Any, **limits: Any) -> Any:
        began.append(time.monotonic())
        return whole(*given, **limits)

    monkeypatch.setattr(tables, "compare_part", beginning)
    patient = migration(world.pair, world.bouncers, validate={"back_off": {"lag": "256kB", "patience": "60s"}})
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(validation.examine, patient, run_id="two")
        time.sleep(4)
        assert not running.done()
        enabled = time.monotonic()
        _streams(world, "ENABLE")
        report = running.result(timeout=60)
    assert len(began) == 15
    assert min(began) > enabled
    assert not any(table.notes for table in report.tables)


def _streams(world: Any, change: str) -> None:
    with world.admin("target") as target:
        for (name,) in target.execute("SELECT subname FROM pg_subscription").fetchall():
            target.execute(sql.SQL("ALTER SUBSCRIPTION {} {}").format(sql.Identifier(name), sql.SQL(change)))
