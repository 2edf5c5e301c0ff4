"""Loading waves: killed, refused, out of space, done again; never half-made in a way that blocks the next try."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from crossfade import catalog, phases
from crossfade.connect import Endpoint
from crossfade.engines.logical import copy, load
from crossfade.engines.logical.stream import SlotHeldByTransaction
from crossfade.errors import CrossfadeError, Unreachable
from crossfade.migration import Migration
from crossfade.routers.base import Side
from crossfade.validation import run as validation
from crossfade_lab import testing
from crossfade_lab.processes import wait_until
from crossfade_lab.workload import Spec, WorkloadProcess


def equal(world: Any) -> bool:
    return len(validation.validate(world.m, run_id="test").tables) > 0


def test_a_wave_killed_in_mid_copy_is_copied_again_while_clients_write(
    make_world: Callable[..., Any], ledger: Path
) -> None:
    world = make_world(rows=20_000)
    waves = phases.prepare(world.m).waves
    spec = Spec(endpoints=[world.through_router()], directory=str(ledger), clients=4, rate=100)

    def copy_slowly_and_die(m: Migration, wave: int) -> None:
        real = copy.copy
        copied = []

        def slow(*args: Any) -> int:
            copied.append(1)
            if len(copied) > 3:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args)

        load.copy = slow
        phases.load_wave(m, wave)

    with WorkloadProcess(spec):
        for wave in waves:
            victim = multiprocessing.get_context("fork").Process(
                target=copy_slowly_and_die, args=(world.m, wave.number)
            )
            victim.start()
            victim.join(60)
            assert victim.exitcode == -signal.SIGKILL
        for wave in waves:
            assert phases.load_wave(world.m, wave.number).rows > 0
        phases.harden(world.m)
        assert equal(world)


def test_a_wave_that_streams_is_not_copied_again(world: Any) -> None:
    world.load()
    assert phases.load_wave(world.m, 1).rows == 0


def test_a_wave_can_be_copied_again_after_constraints_were_restored(world: Any) -> None:
    world.load()
    with world.admin("target") as target, world.admin("source") as source:
        target.execute("DROP SUBSCRIPTION crossfade_shop_2")
        assert source.execute("SELECT count(*) FROM pg_replication_slots").fetchone() == (1,)
    assert phases.load_wave(world.m, 2).rows > 0
    phases.harden(world.m)
    assert equal(world)


def test_rows_of_every_type_arrive_as_they_were(world: Any) -> None:
    with world.admin("source") as source:
        source.execute("""
            CREATE TYPE public.mood AS ENUM ('fine', 'not fine');
            CREATE DOMAIN public.moods AS public.mood[];
            CREATE TYPE public.pair AS (mood public.mood, n int);
            CREATE TABLE public."naïve""quote" ("select" int PRIMARY KEY, "Order Items" public.mood[],
                pairs public.pair[], one public.pair, dom public.moods, t regclass, j json, r int4range,
                m money, b bit(3),
                f float8, nothing int, a text[][], h inet, i interval, gone int);
            ALTER TABLE public."naïve""quote" DROP COLUMN gone, OWNER TO shop_owner;
            ALTER TYPE public.mood OWNER TO shop_owner; ALTER DOMAIN public.moods OWNER TO shop_owner;
            ALTER TYPE public.pair OWNER TO shop_owner;
            INSERT INTO public."naïve""quote" VALUES (1, '{fine,"not fine",NULL}', ARRAY[ROW('fine', 1)::public.pair],
                ROW('not fine', NULL), '{fine}', 'pg_class', '{"b": 1,  "a": 2}', '[1,5)', '12.34', B'101',
                '-0.0', NULL, '{{a,b},{NULL,"d,e"}}', '10.0.0.1/8', '1 mon 2 days'),
                (2, '{}', NULL, NULL, NULL, NULL, 'null', 'empty', NULL, NULL, 'NaN', NULL, '{}', NULL, NULL)
        """)
    world.load()
    assert equal(world)
    query = 'SELECT t::text FROM public."naïve""quote" AS t ORDER BY "select"'
    with world.admin("source") as source, world.admin("target") as target:
        assert target.execute(query).fetchall() == source.execute(query).fetchall()


def test_large_tables_are_copied_in_parts_and_nothing_is_missing_or_doubled(make_world: Callable[..., Any]) -> None:
    world = make_world(rows=20_000, load={"waves": 1, "jobs": 3, "split_larger_than": "64kB"})
    with world.m.session(Side.SOURCE, "test") as source:
        largest = max(catalog.tables(source, world.m.plan.tables), key=lambda table: table.pages)
    assert len(list(copy.parts(largest, world.m.plan.load.split_larger_than))) > 2
    world.load()
    assert equal(world)


def test_a_slot_that_waits_for_a_transaction_names_it_and_leaves_nothing(make_world: Callable[..., Any]) -> None:
    world = make_world(load={"slot_timeout": "2s"})
    phases.prepare(world.m)
    with psycopg.connect(world.pair.dsn("source", "shop_app")) as client:
        client.execute("UPDATE orders SET updated_at = now() WHERE id = (SELECT min(id) FROM orders)")
        with pytest.raises(SlotHeldByTransaction, match=rf"pid {client.info.backend_pid} .*UPDATE orders"):
            phases.load_wave(world.m, 1)
        with world.admin("source") as source:
            assert source.execute("SELECT slot_name FROM pg_replication_slots").fetchall() == []
    phases.load_wave(world.m, 1)
    phases.harden(world.m)
    assert equal(world)


def test_a_table_dropped_before_its_copy_is_named_and_preparing_again_goes_on(world: Any) -> None:
    phases.prepare(world.m)
    with world.admin("source") as source:
        source.execute("DROP TABLE prices")
    with pytest.raises(load.TableChanged, match="prices"):
        for wave in (1, 2):
            phases.load_wave(world.m, wave)
    world.load()
    assert equal(world)


def test_a_table_rewritten_while_the_copy_is_set_up_stops_it(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    phases.prepare(world.m)
    held = load.tables_held

    @contextmanager
    def rewritten_first(conn: Any, tables: Any) -> Iterator[None]:
        with world.admin("source") as source:
            source.execute("VACUUM FULL orders")
        with held(conn, tables):
            yield

    monkeypatch.setattr("crossfade.engines.logical.engine.tables_held", rewritten_first)
    with pytest.raises(load.TableChanged, match=r"public\.orders"):
        for wave in (1, 2):
            phases.load_wave(world.m, wave)


def test_no_table_can_be_rewritten_while_it_is_copied(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    phases.prepare(world.m)
    real, seen = load.copy, []

    def watched(part: Any, *conns: Any) -> int:
        if not seen:
            with world.admin("source") as source:
                source.execute("SET lock_timeout = '200ms'")
                with pytest.raises(psycopg.errors.LockNotAvailable):
                    source.execute(f'VACUUM FULL {part.table.schema}."{part.table.name}"')
                seen.append(part)
        return real(part, *conns)

    monkeypatch.setattr(load, "copy", watched)
    phases.load_wave(world.m, 1)
    assert seen


def test_a_source_that_ends_in_mid_copy_commits_nothing(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    phases.prepare(world.m)
    real = load.copy

    def cut(part: Any, source: Any, target: Any) -> int:
        with world.admin("source") as admin:
            admin.execute("SELECT pg_terminate_backend(%s)", [source.info.backend_pid])
        return real(part, source, target)

    with monkeypatch.context() as patch:
        patch.setattr(load, "copy", cut)
        with pytest.raises(copy.CopyFailed, match="failed on the source"):
            phases.load_wave(world.m, 1)
    with world.admin("target") as target:
        assert target.execute("SELECT count(*) FROM documents").fetchone() == (0,)
    phases.load_wave(world.m, 1)
    phases.load_wave(world.m, 2)
    phases.harden(world.m)
    assert equal(world)


def test_being_asked_to_end_stops_every_job_at_once(make_world: Callable[..., Any]) -> None:
    world = make_world(rows=20_000)
    phases.prepare(world.m)

    def load_slowly(m: Migration) -> None:
        real = load.copy

        def slow(part: Any, source: Any, target: Any) -> int:
            with target.cursor() as cur:
                cur.execute("SELECT pg_sleep(60)")
            return real(part, source, target)

        load.copy = slow
        signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(SystemExit(7)))
        phases.load_wave(m, 1)

    task = multiprocessing.get_context("fork").Process(target=load_slowly, args=(world.m,))
    task.start()
    assert task.pid
    with world.admin("target") as target:
        copying = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'"
        assert wait_until(lambda: target.execute(copying).fetchone()[0] > 0, seconds=120)
    began = time.monotonic()
    os.kill(task.pid, signal.SIGTERM)
    task.join(60)
    assert task.exitcode == 7
    assert time.monotonic() - began < 30


def test_an_unreachable_source_and_a_wrong_password_are_named(world: Any) -> None:
    def with_source(**changes: Any) -> Migration:
        real = world.m.source
        wrong = Endpoint(**{"name": "shop_source", "host": real.host, "port": real.port, "dbname": real.dbname,
                            "user": real.user, "password": real.password, **changes})  # fmt: skip
        return Migration(world.m.plan, lambda name: wrong if name == "shop_source" else world.m.resolve(name))

    with pytest.raises(Unreachable, match=r"shop_source .* password authentication failed"):
        phases.prepare(with_source(password="wrong"))
    with pytest.raises(Unreachable, match=r"shop_source .*:1/shop.* Connection refused"):
        phases.prepare(with_source(port=1))
    with world.admin("target") as target:
        assert target.execute("SELECT to_regclass('public.orders')").fetchone() == (None,)


def test_a_read_only_target_is_refused_with_nothing_changed(world: Any) -> None:
    with world.admin("target") as target:
        target.execute("ALTER ROLE crossfade SET default_transaction_read_only = on")
    with pytest.raises((CrossfadeError, psycopg.errors.ReadOnlySqlTransaction), match="read-only"):
        phases.prepare(world.m)
    with world.admin("target") as target:
        target.execute("ALTER ROLE crossfade RESET default_transaction_read_only")
    world.load()
    assert equal(world)


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A tiny file system. Skips, saying why, where it cannot be mounted."""
    with testing.scratch_directory() as directory:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0777", "tmpfs", str(directory)],
            capture_output=True,
            text=True,
            check=False,
        )
        if mounted.returncode != 0:
            pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
        try:
            yield directory
        finally:
            subprocess.run(["umount", "-l", str(directory)], check=False)


@pytest.mark.skipif(shutil.which("mount") is None, reason="there is no mount on this machine")
def test_a_full_disk_on_the_target_is_named_and_the_wave_goes_on_when_there_is_room(
    make_world: Callable[..., Any],
) -> None:
    world = make_world(rows=20_000)
    with small_disk(3) as disk, world.admin("target") as target:
        place = disk / "space"
        place.mkdir(mode=0o777)
        shutil.chown(place, *_owner_of(world.pair.target.data))
        target.execute(f"CREATE TABLESPACE tight LOCATION '{place}'")
        target.execute("GRANT CREATE ON TABLESPACE tight TO PUBLIC")
        phases.prepare(world.m)
        target.execute("ALTER TABLE documents SET TABLESPACE tight")
        with pytest.raises(copy.CopyFailed, match=r"public.documents failed on the target: .*No space left"):
            phases.load_wave(world.m, 1)
        target.execute("ALTER TABLE documents SET TABLESPACE pg_default")
        target.execute("DROP TABLESPACE tight")
        phases.load_wave(world.m, 1)
        phases.load_wave(world.m, 2)
        phases.harden(world.m)
        assert equal(world)


def _owner_of(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid


def test_a_predecessor_that_still_runs_is_ended_first(world: Any) -> None:
    phases.prepare(world.m)
    with world.m.session(Side.TARGET, "1/copy") as zombie:

        def sleep() -> None:
            with pytest.raises(psycopg.Error):
                zombie.execute("SELECT pg_sleep(60)")

        wait = threading.Thread(target=sleep)
        wait.start()
        phases.load_wave(world.m, 1)
        wait.join(60)
        assert zombie.broken or zombie.closed
