"""One plan bound to the databases and consoles it names: what every phase works on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property

from crossfade.aws import Clients, no_clients
from crossfade.connect import Connection, Endpoint
from crossfade.engines.logical.stream import Stream
from crossfade.engines.logical.waves import object_name, stream_name
from crossfade.journal import Journal, open_journal
from crossfade.plan import Plan
from crossfade.routers.base import Router, Side
from crossfade.routers.declared import router_of

Resolve = Callable[[str], Endpoint]  #: connection id -> how it is reached


class Migration:
    """
    A plan and its endpoints. Opens nothing by itself.

    :param clients: AWS connection id, service -> boto3 client; by default `NoAwsHere` for whoever asks for one
    """

    def __init__(self, plan: Plan, resolve: Resolve, clients: Clients = no_clients) -> None:
        self.plan = plan
        self.resolve = resolve
        self.clients = clients

    @classmethod
    def pinned(cls, name: str, target: Endpoint, resolve: Resolve, clients: Clients = no_clients) -> Migration:
        """The plan as the target's journal holds it, whatever its YAML says by now. Raises `NoMigration`."""
        with target.session(f"{name}/journal") as conn:
            return cls(Journal(conn).get(name).plan, resolve, clients)

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

    def streams(self, waves: dict[int, tuple[tuple[str, str], ...]]) -> list[Stream]:
        """The streams of the given waves: number -> schema and name of its tables."""
        return [
            Stream(
                name=object_name(self.plan.name, wave),
                watermark=stream_name(self.plan.name, wave),
                tables=tables,
                publisher=self.source_from_target,
            )
            for wave, tables in waves.items()
        ]

    def routers(self) -> list[Router]:
        """The plan's routers, not yet opened."""
        sides = {Side.SOURCE: self.source, Side.TARGET: self.target}
        return [
            router_of(entry, sides=sides, resolve=self.resolve, clients=self.clients) for entry in self.plan.routers
        ]
