"""A real PgBouncer is paused, repointed and resumed; whatever fails leaves traffic flowing."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from crossfade.connect import Endpoint
from crossfade.errors import TransientError
from crossfade.routers.base import PauseTimeout, Pausing, Side
from crossfade.routers.files import SwitchFileUnusable
from crossfade.routers.pgbouncer import InstancesFailed, PgBouncerFleet, PointsElsewhere
from crossfade.routers.pgbouncer_console import Console
from crossfade_lab.postgres import PostgresServer

from .conftest import SIDES, Pooled, pooled


def soon(seconds: float = 60.0) -> float:
    return time.monotonic() + seconds


class Load:
    """Clients that write without end through every instance, and what they saw."""

    def __init__(self, setup: Pooled) -> None:
        self.errors: list[Exception] = []
        self.longest = 0.0  #: seconds
        self.done = 0
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(setup.client(n % len(setup.bouncers)),)) for n in range(4)
        ]

    def _run(self, conn: psycopg.Connection) -> None:
        with conn:
            while not self._stop.is_set():
                start = time.monotonic()
                try:
                    with conn.transaction():
                        conn.execute("INSERT INTO written VALUES (1)")
                except psycopg.Error as error:
                    self.errors.append(error)
                    return
                self.longest = max(self.longest, time.monotonic() - start)
                self.done += 1
                time.sleep(0.002)

    def progresses(self, seconds: float = 60.0) -> bool:
        before, deadline = self.done, soon(seconds)
        while time.monotonic() < deadline:
            if self.done > before + 8:
                return True
            time.sleep(0.01)
        return False

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        assert self.progresses()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads), "a client is still held"


def written(setup: Pooled) -> int:
    """Rows of the clients on the source, counted there: a client itself counts some time after its commit."""
    with setup.postgres.connect(SIDES[Side.SOURCE]) as conn:
        row = conn.execute("SELECT count(*) FROM written").fetchone()
        assert row is not None
        return int(row[0])


@contextmanager
def open_transaction(setup: Pooled, number: int = 0, name: str | None = None) -> Iterator[psycopg.Connection]:
    conn = setup.client(number, name)
    try:
        conn.execute("BEGIN")
        conn.execute("INSERT INTO written VALUES (2)")
        yield conn
    finally:
        conn.close()


def paused(console: Endpoint) -> bool:
    own = Console(console)
    try:
        return any(database.paused for database in own.databases().values())
    finally:
        own.close()


def test_it_fulfils_the_contract_of_a_pausing_router(one: Pooled) -> None:
    assert isinstance(one.fleet(), Pausing)


def test_clients_of_two_instances_move_under_load_without_an_error(two: Pooled) -> None:
    with two.fleet() as fleet, Load(two) as load:
        assert fleet.serving() is Side.SOURCE
        start = time.monotonic()
        fleet.pause(soon())
        held = written(two)
        time.sleep(0.1)
        assert written(two) == held
        fleet.repoint(Side.TARGET)
        fleet.resume()
        took = time.monotonic() - start - 0.1
        assert load.progresses()
        assert fleet.serving() is Side.TARGET
    assert load.errors == []
    assert took < 10
    assert [two.side_seen(0), two.side_seen(1)] == ["target", "target"]


def test_a_pause_that_a_transaction_outlasts_names_it_and_leaves_traffic_flowing(two: Pooled) -> None:
    with two.fleet() as fleet, Load(two) as load, open_transaction(two, 1) as transaction:
        start = time.monotonic()
        with pytest.raises(PauseTimeout, match=r"PAUSE shop on pgbouncer_2 .*app@shop from 127.0.0.1.*server pid \d+"):
            fleet.pause(soon(0.5))
        assert time.monotonic() - start < 10
        assert load.progresses()
        assert not any(map(paused, two.consoles()))
        transaction.execute("COMMIT")
        assert load.errors == []
        fleet.pause(soon())
        assert all(map(paused, two.consoles()))
        fleet.resume()


def test_a_pause_cuts_no_login_which_would_be_taken_for_a_failing_server(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crossfade.routers.pgbouncer.QUIET", 0.3)  # a busy machine takes its time to log in
    monkeypatch.setattr("crossfade.routers.pgbouncer.QUIET_PATIENCE", 30)
    with (
        pooled(postgres, count=1, server_login_retry="15") as setup,
        setup.fleet() as fleet,
        Load(setup) as load,
    ):
        for side in (Side.TARGET, Side.SOURCE) * 2:
            fleet.pause(soon())
            fleet.repoint(side)
            fleet.resume()  # … and at once, while PgBouncer logs in to the new side:
            fleet.pause(soon())
            fleet.resume()
            assert load.progresses(seconds=12), "clients waited for server_login_retry"
    assert load.errors == []


def test_a_deadline_already_over_is_a_timeout_too(one: Pooled) -> None:
    with one.fleet() as fleet, open_transaction(one), pytest.raises(PauseTimeout):
        fleet.pause(time.monotonic() - 1)
    assert not paused(one.consoles()[0])


def test_resuming_twice_or_without_a_pause_is_nothing(two: Pooled) -> None:
    with two.fleet() as fleet:
        fleet.resume()
        fleet.pause(soon())
        fleet.pause(soon())
        fleet.resume()
        fleet.resume()
    assert two.side_seen() == "source"


def test_another_process_ends_a_pause_that_still_waits(one: Pooled) -> None:
    with one.fleet() as fleet, open_transaction(one):
        outcome: list[Exception | None] = []
        waiting = threading.Thread(target=lambda: outcome.append(failure(lambda: fleet.pause(soon(6)))))
        waiting.start()
        while not paused(one.consoles()[0]):
            assert waiting.is_alive(), outcome
            time.sleep(0.01)
        other = one.fleet()  # as the watchdog does: never opened
        other.resume()
        other.close()
        assert one.side_seen() == "source"
        waiting.join(60)
    assert isinstance(outcome[0], TransientError)


def test_a_dead_instance_forbids_a_pause_and_holds_nobody(two: Pooled) -> None:
    two.bouncers[1].kill()
    fleet = two.fleet()
    with pytest.raises(InstancesFailed, match="pgbouncer_2"):
        fleet.pause(soon())
    assert not paused(two.consoles()[0])
    fleet.close()


def test_an_instance_that_dies_during_the_pause_resumes_the_others_at_once(two: Pooled) -> None:
    with two.fleet() as fleet, open_transaction(two, 0), open_transaction(two, 1):
        threading.Timer(0.2, two.bouncers[1].kill).start()
        start = time.monotonic()
        with pytest.raises(InstancesFailed, match="pgbouncer_2"):
            fleet.pause(soon(60))
        assert time.monotonic() - start < 50
        assert two.side_seen(0) == "source"


def test_survivors_are_resumed_before_the_dead_are_named(two: Pooled) -> None:
    with two.fleet() as fleet:
        fleet.pause(soon())
        two.bouncers[0].kill()
        with pytest.raises(InstancesFailed, match=r"1 of 2.*pgbouncer_1.*Done on pgbouncer_2") as error:
            fleet.resume()
        assert set(error.value.failed) == {"pgbouncer_1"}
        assert two.side_seen(1) == "source"


def test_an_instance_that_hangs_delays_no_other(two: Pooled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossfade.routers.pgbouncer_console.ANSWER_SECONDS", 3.0)
    pid = two.bouncers[0].pid
    assert pid is not None
    with two.fleet() as fleet:
        fleet.pause(soon())
        os.kill(pid, signal.SIGSTOP)
        try:
            resuming = threading.Thread(target=lambda: outcome.append(failure(fleet.resume)))
            outcome: list[Exception | None] = []
            start = time.monotonic()
            resuming.start()
            assert two.side_seen(1) == "source"
            assert time.monotonic() - start < 2.5
            resuming.join(60)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert isinstance(outcome[0], InstancesFailed)
        assert "pgbouncer_1 gave no answer to SHOW DATABASES in time" in str(outcome[0])
        fleet.resume()
        assert two.side_seen(0) == "source"


def failure(call: Callable[[], None]) -> Exception | None:
    try:
        call()
    except Exception as error:
        return error
    return None


def test_a_restarted_instance_is_spoken_to_again(two: Pooled) -> None:
    with two.fleet() as fleet:
        two.bouncers[0].restart()
        assert fleet.serving() is Side.SOURCE
        fleet.pause(soon())
        fleet.repoint(Side.TARGET)
        fleet.resume()
    assert two.side_seen(0) == "target"


def test_survivors_are_repointed_and_the_file_waits_for_the_dead(two: Pooled) -> None:
    with two.fleet() as fleet:
        two.bouncers[0].kill()
        with pytest.raises(InstancesFailed, match="pgbouncer_1"):
            fleet.repoint(Side.TARGET)
        assert two.side_seen(1) == "target"
        two.bouncers[0].start()
        assert fleet.serving() is Side.TARGET


def test_the_neighbour_is_neither_held_nor_moved(one: Pooled) -> None:
    with one.fleet() as fleet, open_transaction(one, name="neighbour"):
        fleet.pause(soon())
        assert one.side_seen(name="neighbour") == "source"
        fleet.repoint(Side.TARGET)
        fleet.resume()
    assert one.side_seen(name="neighbour") == "source"
    assert one.side_seen() == "target"


def test_repointing_to_where_it_leads_touches_no_file(one: Pooled) -> None:
    with one.fleet() as fleet:
        fleet.repoint(Side.TARGET)
        before = one.file.stat()
        fleet.repoint(Side.TARGET)
        assert one.file.stat() == before


def test_owner_mode_comments_and_other_parameters_of_the_file_stay(one: Pooled) -> None:
    line = f"shop = pool_size=7 host=127.0.0.1 dbname=old port={one.postgres.port} connect_query='select ''1'''\n"
    one.file.write_text(f"# ours\n[databases]\n{line}; end\n")
    one.file.chmod(0o604)
    if os.geteuid() == 0:
        os.chown(one.file, 65534, 65534)
    link = one.file.with_name("link.ini")
    link.symlink_to(one.file)
    before = one.file.stat()
    with one.fleet({"file": str(link)}) as fleet:
        fleet.repoint(Side.TARGET)
        after = one.file.stat()
        assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
        assert link.is_symlink()
        moved = line.replace("dbname=old", "dbname='it''s new'")
        assert one.file.read_text() == f"# ours\n[databases]\n{moved}; end\n"
        assert [path for path in one.file.parent.iterdir() if path.name.startswith(".databases")] == []
        fleet.repoint(Side.SOURCE)
        assert fleet.serving() is Side.SOURCE


def test_a_broken_include_is_seen_although_reload_reports_success(two: Pooled) -> None:
    main = two.bouncers[1].conffile
    main.write_text(f"%include {two.file.parent}/missing.ini\n" + main.read_text())
    with two.fleet() as fleet:
        with pytest.raises(PointsElsewhere, match=r"did not follow.*pgbouncer_2 shows shop -> .*/old") as error:
            fleet.repoint(Side.TARGET)
        assert set(error.value.seen) == {"pgbouncer_2"}
        with pytest.raises(PointsElsewhere, match=r"pgbouncer_1 shows .*it's new; pgbouncer_2 shows .*old"):
            fleet.serving()
        main.write_text(main.read_text().split("\n", 1)[1])
        fleet.repoint(Side.TARGET)  # the file says so already: only the RELOAD is done again
        assert fleet.serving() is Side.TARGET


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "does not exist|No such file"),
        ("[databases]\nother = host=x\n", "no line for 'shop'"),
        ("[databases]\nshop = host=x # comment\n", "line 2"),
    ],
)
def test_an_unusable_switch_file_changes_nothing(one: Pooled, text: str | None, problem: str) -> None:
    if text is None:
        one.file.unlink()
    else:
        one.file.write_text(text)
    with one.fleet() as fleet:
        with pytest.raises(SwitchFileUnusable, match=problem):
            fleet.repoint(Side.TARGET)
        assert fleet.serving() is Side.SOURCE
    assert (one.file.read_text() if one.file.exists() else None) == text


def test_a_database_neither_side_is_named(one: Pooled) -> None:
    one.file.write_text("[databases]\nshop = host=elsewhere.invalid\n")
    with one.fleet() as fleet:
        fleet.consoles[0].command("RELOAD")
        with pytest.raises(PointsElsewhere, match=r"shop -> elsewhere.invalid:5432/shop"):
            fleet.serving()


def test_a_host_is_recognised_by_its_address(one: Pooled) -> None:
    one.file.write_text(one.file.read_text().replace("127.0.0.1", "localhost"))
    with one.fleet() as fleet:
        fleet.consoles[0].command("RELOAD")
        assert fleet.serving() is Side.SOURCE


def test_several_names_are_held_and_moved_together(postgres: PostgresServer) -> None:
    with pooled(postgres, count=1, names=("shop", "shop-eu", "shop.v2")) as setup, setup.fleet() as fleet:
        with open_transaction(setup, name="shop.v2"), pytest.raises(PauseTimeout):
            fleet.pause(soon(0.3))
        fleet.pause(soon())
        fleet.repoint(Side.TARGET)
        fleet.resume()
        assert [setup.side_seen(name=name) for name in setup.names] == ["target"] * 3


def conffiles(setup: Pooled) -> dict[str, dict[str, str]]:
    for bouncer in setup.bouncers:
        written = bouncer.write_conffiles(
            {side.value: {"shop": setup.destination(side)} for side in (Side.SOURCE, Side.TARGET)}
        )
    return {"conffile": {side: str(path) for side, path in written.items()}}


def test_the_console_alone_switches_between_two_main_files(one: Pooled) -> None:
    with one.fleet(conffiles(one)) as fleet, Load(one) as load:
        fleet.repoint(Side.SOURCE)  # it started with a third file that leads there: nothing to do
        assert fleet.consoles[0].settings()["conffile"] == str(one.bouncers[0].conffile)
        for side in (Side.TARGET, Side.SOURCE, Side.TARGET):
            fleet.pause(soon())
            fleet.repoint(side)
            fleet.resume()
            assert load.progresses()
            assert fleet.serving() is side
    assert load.errors == []


def test_a_main_file_that_does_not_load_is_not_left_chosen(one: Pooled) -> None:
    switch = conffiles(one)
    target = Path(switch["conffile"]["target"])
    text = target.read_text()
    target.write_text("[databases]\nshop = host=a # b\n")
    with one.fleet(switch) as fleet:
        with pytest.raises(PointsElsewhere, match="did not follow"):
            fleet.repoint(Side.TARGET)
        assert fleet.consoles[0].settings()["conffile"] == str(one.bouncers[0].conffile)
        target.write_text(text)
        fleet.repoint(Side.TARGET)
        assert fleet.serving() is Side.TARGET


def test_a_fleet_shows_the_assessment_what_it_needs(one: Pooled) -> None:
    with one.fleet() as fleet, open_transaction(one):
        seen, failed = fleet.observe()
    assert failed == {}
    observation = seen["pgbouncer_1"]
    assert observation.version.startswith("PgBouncer 1.")
    assert observation.settings["so_reuseport"] == "0"
    assert [(pool.pool_mode, pool.clients_active) for pool in observation.pools if pool.database == "shop"] == [
        ("transaction", 1)
    ]


def test_closing_leaves_no_connection_behind(one: Pooled) -> None:
    fleet: PgBouncerFleet = one.fleet()
    fleet.open()
    fleet.close()
    own = Console(one.consoles()[0])
    clients = [row for row in own.command("SHOW CLIENTS") if row["database"] == "pgbouncer"]
    own.close()
    assert len(clients) == 1
