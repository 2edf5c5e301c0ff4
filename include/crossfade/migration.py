"""One plan bound to the databases and consoles it names: what every phase works on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property

from crossfade.aws import Clients, no_clients
from crossfade.connect import Connection, Endpoint
from crossfade.engines.logical.stream import Stream
from crossfade.engines.logical.waves import object_name, stream_name
from crossfade.http_endpoint import Http, no_http
from crossfade.journal import Journal, open_journal
from crossfade.plan import Plan
from crossfade.plan_routers import PgBouncerRouter
from crossfade.plan_routers import Router as Entry
from crossfade.routers.base import Direction, Router, Side
from crossfade.routers.declared import router_of
from crossfade.ssh import Ssh, no_ssh

Resolve = Callable[[str], Endpoint]  #: connection id -> how it is reached


class Migration:
    """
    A plan and its endpoints. Opens nothing by itself.

    :param clients: AWS connection id, service -> boto3 client; by default `NoAwsHere` for whoever asks for one
    :param ssh: SSH connection id -> how the host is reached; by default `NoSshHere` for whoever asks for one
    :param http: HTTP connection id -> where it leads; by default `NoHttpHere` for whoever asks for one
    """

    def __init__(
        self,
        plan: Plan,
        resolve: Resolve,
        clients: Clients = no_clients,
        ssh: Ssh = no_ssh,
        http: Http = no_http,
    ) -> None:
        self.plan = plan
        self.resolve = resolve
        self.clients = clients
        self.ssh = ssh
        self.http = http

    @classmethod
    def pinned(
        cls,
        name: str,
        target: Endpoint,
        resolve: Resolve,
        clients: Clients = no_clients,
        ssh: Ssh = no_ssh,
        http: Http = no_http,
    ) -> Migration:
        """The plan as the target's journal holds it, whatever its YAML says by now. Raises `NoMigration`."""
        with target.session(f"{name}/journal") as conn:
            return cls(Journal(conn).get(name).plan, resolve, clients, ssh, http)

    @cached_property
    def source(self) -> Endpoint:
        """The database being left."""
        return self.resolve(self.plan.source)

    @cached_property
    def target(self) -> Endpoint:
        """The database being moved to."""
        return self.resolve(self.plan.target)

    @cached_property
    def source_from_target(self) -> Endpoint:
        """The source as the target's server reaches it."""
        return self.resolve(self.plan.source_from_target or self.plan.source)

    @cached_property
    def target_from_source(self) -> Endpoint:
        """The target as the source's server reaches it."""
        return self.resolve(self.plan.target_from_source or self.plan.target)

    def endpoint(self, side: Side) -> Endpoint:
        """The database of that side."""
        return self.source if side is Side.SOURCE else self.target

    @contextmanager
    def session(self, side: Side, purpose: str) -> Iterator[Connection]:
        """An autocommit session on one side, named ``crossfade/<plan>/<purpose>``."""
        with self.endpoint(side).session(f"{self.plan.name}/{purpose}") as conn:
            yield conn

    @contextmanager
    def journal(self) -> Iterator[Journal]:
        """The target's journal, on a session of its own."""
        with self.session(Side.TARGET, "journal") as conn:
            yield open_journal(conn)

    def streams(
        self, waves: Mapping[int, tuple[tuple[str, str], ...]], direction: Direction = Direction.FORWARD
    ) -> list[Stream]:
        """The streams of the given waves in that direction: number -> schema and name of its tables."""
        forward = direction is Direction.FORWARD
        return [
            Stream(
                name=object_name(self.plan.name, wave, direction),
                watermark=stream_name(self.plan.name, wave, direction),
                tables=tables,
                publisher=self.source_from_target if forward else self.target_from_source,
            )
            for wave, tables in waves.items()
        ]

    def routers(self) -> list[Router]:
        """The plan's routers of clients that write, not yet opened."""
        return [self._router(entry) for entry in self.plan.routers if entry.side == "rw"]

    def readers(self) -> list[Router]:
        """The plan's routers of clients that only read, not yet opened; their sides are what readers are led to."""
        return [self._router(entry) for entry in self.plan.routers if entry.side == "ro"]

    def reader_endpoints(self, side: Side) -> list[Endpoint]:
        """What each of `readers` leads to, in their order: commonly a replica of that side."""
        return [self._led_to(entry, side) for entry in self.plan.routers if entry.side == "ro"]

    def _router(self, entry: Entry) -> Router:
        sides = {side: self._led_to(entry, side) for side in Side}
        return router_of(entry, sides=sides, resolve=self.resolve, clients=self.clients, ssh=self.ssh)

    def _led_to(self, entry: Entry, side: Side) -> Endpoint:
        """The database of that side to which a router leads its clients."""
        if isinstance(entry, PgBouncerRouter) and (own := getattr(entry, side.value)):
            return self.resolve(own)
        return self.endpoint(side)
