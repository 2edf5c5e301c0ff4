"""The workload writes what its ledger says, and the verdict notices every tampering."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from crossfade_lab import ledger, samples, testing
from crossfade_lab.ledger import DELETED
from crossfade_lab.pgbouncer import PgBouncer
from crossfade_lab.postgres import PostgresServer
from crossfade_lab.processes import wait_until
from crossfade_lab.shop.data import TABLES, Logins
from crossfade_lab.verdict import verify
from crossfade_lab.workload import Spec, WorkloadProcess


@dataclass
class Shop:
    server: PostgresServer
    logins: Logins
    bouncers: list[PgBouncer]

    def spec(self, directory: Path, **changes: object) -> Spec:
        endpoints = [bouncer.dsn("shop_app", "shop") for bouncer in self.bouncers]
        return Spec(endpoints=endpoints, directory=str(directory), clients=8, rate=200.0, **changes)  # type: ignore[arg-type]

    def acknowledged(self, workload: WorkloadProcess, least: float) -> float:
        """Successes of a workload once there are as many, however slow the machine is just now."""
        assert wait_until(lambda: workload.status()["acked"] >= least, seconds=120), workload.status()
        return workload.status()["acked"]

    @property
    def dsn(self) -> str:
        return self.server.dsn(dbname="shop")


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with (
        testing.server(16) as server,
        testing.shop(server) as logins,
        testing.bouncers(server, logins, count=2) as bouncers,
    ):
        yield Shop(server, logins, bouncers)


def test_every_table_of_the_shop_has_rows_and_readers_can_only_read(shop: Shop) -> None:
    with psycopg.connect(shop.server.dsn(user="shop_bi", password=shop.logins.shop_bi, dbname="shop")) as reader:
        for schema, name in TABLES:
            query = psycopg.sql.SQL("SELECT count(*) FROM {}").format(psycopg.sql.Identifier(schema, name))
            row = reader.execute(query).fetchone()
            assert row is not None and row[0] > 0, name
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("DELETE FROM prices")


def test_a_quiet_workload_loses_nothing_and_keeps_its_rate(shop: Shop, tmp_path: Path) -> None:
    with WorkloadProcess(shop.spec(tmp_path)) as workload:
        begin = time.time()
        shop.acknowledged(workload, 700)
        end = time.time()
    verdict = verify(tmp_path, shop.dsn)
    assert verdict.ok, verdict.examples
    assert verdict.acked_writes == verdict.attempted > 500
    stats = samples.stretch(samples.read(tmp_path), begin, end)
    assert stats.failed == 0
    assert 100 < stats.per_second < 230


def test_a_deleted_row_and_a_doubled_row_are_noticed(shop: Shop, tmp_path: Path) -> None:
    with WorkloadProcess(shop.spec(tmp_path)) as workload:
        shop.acknowledged(workload, 200)
    writes = ledger.read(tmp_path)
    gone, doubled = writes[0].uid, writes[1].uid
    last = {write.key: write for write in writes}
    document = next(
        key
        for key, write in last.items()
        if key.startswith("document:") and write.value != DELETED and write.uid != gone  # two losses, not one twice
    )
    with shop.server.connect("shop") as connection:
        connection.execute("DELETE FROM events WHERE uid = %s", [gone])
        connection.execute("DELETE FROM documents WHERE title = %s", [document.partition(":")[2]])
        connection.execute(
            "INSERT INTO events (uid, kind, value) SELECT uid, kind, value FROM events WHERE uid = %s", [doubled]
        )
    verdict = verify(tmp_path, shop.dsn)
    assert (verdict.lost_writes, verdict.duplicated_writes, verdict.phantom_writes) == (2, 1, 0), verdict.examples


def test_a_crash_of_the_server_fails_transactions_but_loses_none(shop: Shop, tmp_path: Path) -> None:
    with WorkloadProcess(shop.spec(tmp_path)) as workload:
        shop.server.kill()
        shop.server.start()
        before = workload.status()["acked"]
        shop.acknowledged(workload, before + 200)  # clients connect again by themselves
    verdict = verify(tmp_path, shop.dsn)
    assert verdict.ok, verdict.examples
    assert verdict.failed + verdict.unknown > 0


def test_a_pause_shows_as_latency_and_the_backlog_is_caught_up(shop: Shop, tmp_path: Path) -> None:
    with WorkloadProcess(shop.spec(tmp_path)) as workload:
        begin, before = time.time(), workload.status()["acked"]
        consoles = [psycopg.connect(bouncer.admin_dsn(), autocommit=True) for bouncer in shop.bouncers]
        for console in consoles:
            console.execute("PAUSE")
        time.sleep(0.5)
        for console in consoles:
            console.execute("RESUME")
            console.close()
        shop.acknowledged(workload, before + 200)
        caught_up = lambda: workload.status()["acked"] > before + 200 * (time.time() - begin) - 60  # noqa: E731
        assert wait_until(caught_up, seconds=120), "without the pause's backlog it would be 100 behind for ever"
        end = time.time()
    stats = samples.stretch(samples.read(tmp_path), begin, end)
    assert stats.failed == 0
    assert stats.max > 450
    assert stats.longest_gap > 450


def test_a_killed_pgbouncer_sends_clients_to_the_other(shop: Shop, tmp_path: Path) -> None:
    with WorkloadProcess(shop.spec(tmp_path)) as workload:
        shop.bouncers[0].kill()
        shop.acknowledged(workload, workload.status()["acked"] + 500)
    shop.bouncers[0].start()
    assert verify(tmp_path, shop.dsn).ok
