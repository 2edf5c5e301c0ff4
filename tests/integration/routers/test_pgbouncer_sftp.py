"""A fleet whose switch file is on other hosts: each is told, none keeps another waiting, a failure names its host."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from crossfade.errors import TransientError
from crossfade.plan_routers import PgBouncerRouter
from crossfade.routers import pgbouncer_switch
from crossfade.routers.base import Foreseeing, Forewarning, Side
from crossfade.routers.files import SwitchFileUnreachable, SwitchFileUnusable
from crossfade.routers.pgbouncer import InstancesFailed, PgBouncerFleet
from crossfade.routers.pgbouncer_switch import SwitchFilesLeft
from crossfade.ssh import SshEndpoint, SshUnreachable
from crossfade_lab import processes
from crossfade_lab.pgbouncer import PgBouncer, write_databases
from crossfade_lab.postgres import PostgresServer
from crossfade_lab.sshd import Sshd
from crossfade_lab.testing import scratch_directory

from .conftest import APP, PASSWORD, Pooled
from .test_pgbouncer import Load, paused, soon

FILE = "databases.ini"  #: the same on every host, below the directory in which its sshd begins


@dataclass
class Hosts(Pooled):
    """Instances, each on a host of its own that is reached by SSH only."""

    sshds: list[Sshd] = field(default_factory=list)

    def ssh(self, conn_id: str) -> SshEndpoint:
        return SshEndpoint.from_uri(conn_id, self.sshds[int(conn_id.removeprefix("pool_")) - 1].uri())

    def entry(self, switch: object = None) -> PgBouncerRouter:
        via = [f"sftp:pool_{n}" for n in range(1, len(self.sshds) + 1)]
        return super().entry(switch or {"file": FILE, "via": via})

    def fleet(self, switch: object = None) -> PgBouncerFleet:
        return PgBouncerFleet(entry=self.entry(switch), consoles=self.consoles(), sides=self.sides(), ssh=self.ssh)

    def path(self, number: int) -> Path:
        begin = self.sshds[number].begin
        assert begin is not None
        return begin / FILE


@pytest.fixture(scope="module")
def machines() -> Iterator[list[Sshd]]:
    """Two hosts without a PgBouncer."""
    with scratch_directory() as directory, ExitStack() as stack:
        found = []
        for n in (1, 2):
            begin = processes.private_directory(directory / f"etc{n}")
            found.append(stack.enter_context(Sshd(directory / f"host{n}", start=begin)))
        yield found


@pytest.fixture
def hosts(postgres: PostgresServer, machines: list[Sshd]) -> Iterator[Hosts]:
    """Two hosts, each with an instance that leads to the source."""
    with scratch_directory() as directory, ExitStack() as stack:
        setup = Hosts(postgres=postgres, bouncers=[], file=Path(FILE), names=("shop",), sshds=machines)
        for number, sshd in enumerate(machines):
            sshd.start()
            file = setup.path(number)
            write_databases(file, {name: setup.destination(Side.SOURCE) for name in ("shop", "neighbour")})
            processes.give_to_service_user(file)
            bouncer = PgBouncer(directory / f"b{number}", file, {APP: PASSWORD})
            setup.bouncers.append(stack.enter_context(bouncer))
        yield setup


def test_clients_of_two_hosts_move_under_load_without_an_error(hosts: Hosts) -> None:
    with hosts.fleet() as fleet, Load(hosts) as load:
        for side in (Side.TARGET, Side.SOURCE, Side.TARGET):
            fleet.pause(soon())
            fleet.repoint(side)
            fleet.resume()
            assert fleet.serving() is side
            assert load.progresses()
    assert load.errors == []
    assert [hosts.side_seen(0), hosts.side_seen(1)] == ["target", "target"]


def test_what_leads_there_already_is_not_touched(hosts: Hosts) -> None:
    with hosts.fleet() as fleet:
        fleet.repoint(Side.TARGET)
        before = [hosts.path(number).stat() for number in (0, 1)]
        fleet.repoint(Side.TARGET)
        assert [hosts.path(number).stat() for number in (0, 1)] == before


def test_a_host_that_is_down_keeps_no_other_from_being_told(hosts: Hosts) -> None:
    with hosts.fleet() as fleet:
        fleet.pause(soon())
        hosts.sshds[1].stop()
        with pytest.raises(
            SwitchFilesLeft, match=r"sftp:pool_2: .*cannot connect.*pgbouncer_2 shows shop -> "
        ) as caught:
            fleet.repoint(Side.TARGET)
        assert isinstance(caught.value, TransientError)
        assert (set(caught.value.left), set(caught.value.behind)) == ({"sftp:pool_2"}, {"pgbouncer_2"})
        fleet.resume()
        assert [hosts.side_seen(0), hosts.side_seen(1)] == ["target", "source"]
        hosts.sshds[1].start()
        fleet.repoint(Side.TARGET)
        assert fleet.serving() is Side.TARGET


def test_a_host_that_hangs_keeps_no_other_waiting(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pgbouncer_switch, "PATIENCE", 0.3)
    with hosts.fleet() as fleet:
        hanging = hosts.sshds[1].sessions()
        assert hanging
        for pid in hanging:
            os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(3):  # the next tries wait for the first one's end, and write nothing twice
                start = time.monotonic()
                with pytest.raises(SwitchFilesLeft, match=r"sftp:pool_2: rewriting the file was not done within 0.3 s"):
                    fleet.repoint(Side.TARGET)
                assert time.monotonic() - start < 5
            assert hosts.side_seen(0) == "target"
        finally:
            for pid in hanging:
                os.kill(pid, signal.SIGCONT)
        deadline = soon()
        while True:
            try:
                fleet.repoint(Side.TARGET)
                break
            except SwitchFilesLeft:
                assert time.monotonic() < deadline
        assert fleet.serving() is Side.TARGET


def test_an_unreachable_host_forbids_a_pause(hosts: Hosts) -> None:
    hosts.sshds[1].stop()
    fleet = hosts.fleet()
    with pytest.raises(SshUnreachable):
        fleet.pause(soon())
    assert not any(map(paused, hosts.consoles()))
    fleet.close()


def test_clients_are_let_go_where_the_files_host_is_down(hosts: Hosts) -> None:
    with hosts.fleet() as fleet:
        fleet.pause(soon())
    hosts.sshds[1].stop()
    other = hosts.fleet()  # as who recovers does: never opened
    other.resume()
    other.close()
    assert hosts.side_seen(1) == "source"


def test_with_one_host_its_own_error_is_raised_and_no_instance_was_told(hosts: Hosts) -> None:
    hosts.sshds[0].stop()
    alone = {"file": FILE, "via": "sftp:pool_1"}
    fleet = hosts.fleet(alone)
    with pytest.raises(SwitchFileUnreachable, match=r"databases.ini on sftp:pool_1: .* It was not changed"):
        fleet.repoint(Side.TARGET)
    assert fleet.serving() is Side.SOURCE
    fleet.close()


def test_a_dead_instance_is_still_named_as_one(hosts: Hosts) -> None:
    with hosts.fleet() as fleet:
        hosts.bouncers[0].kill()
        with pytest.raises(InstancesFailed, match="pgbouncer_1"):
            fleet.repoint(Side.TARGET)
        hosts.bouncers[0].start()
        assert fleet.serving() is Side.TARGET


def test_obstacles_are_told_beforehand_for_each_host(hosts: Hosts) -> None:
    with hosts.fleet() as fleet:
        assert isinstance(fleet, Forewarning)
        assert not isinstance(fleet, Foreseeing)
        assert fleet.obstacles() == []
        before = hosts.path(0).read_text()
        hosts.path(1).write_text("[databases]\nother = host=x\n")
        assert fleet.obstacles() == [
            "switch file databases.ini on sftp:pool_2: it has no line for shop. It was not changed"
        ]
        hosts.path(1).unlink()
        (problem,) = fleet.switch_problems()
        assert isinstance(problem, SwitchFileUnusable)
        assert (problem.host, problem.file) == ("sftp:pool_2", FILE)
        assert "No such file" in problem.problem
        assert hosts.path(0).read_text() == before
        hosts.sshds[1].stop()
        (obstacle,) = fleet.obstacles()
        assert obstacle.startswith("switch file databases.ini on sftp:pool_2: cannot connect to 127.0.0.1:")


def test_two_routers_that_share_a_file_lose_nothing_of_each_other(hosts: Hosts) -> None:
    neighbours = replace(hosts, names=("neighbour",))
    with hosts.fleet() as one, neighbours.fleet() as other:
        for side in (Side.TARGET, Side.SOURCE) * 5:
            threads = [threading.Thread(target=fleet.repoint, args=(side,)) for fleet in (one, other)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            assert (one.serving(), other.serving()) == (side, side)
