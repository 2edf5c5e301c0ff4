"""A migration of the imagination: two databases, their streams, two poolers, clients, tasks and their watchdogs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import imagined_answers  # noqa: F401 - what a server knows
import imagined_answers_of_journal  # noqa: F401
from imagined_actors import Actor, Scheduler
from imagined_database import MOVER, OURS, Backend, Database, Session
from imagined_routing import Fleet, Pooler
from imagined_sql import Server
from imagined_streams import (
    ImaginedStream,
    Wires,
    add_stream,
    stream_name,
)
from imagined_watchdog import Watching

from crossfade import catalog
from crossfade.cutover import guard
from crossfade.journal import State
from crossfade.migration import Migration
from crossfade.plan import parse_plan
from crossfade.routers.base import Direction, Router, Side

PLAN = parse_plan(
    {
        "source": "shop_source",
        "target": "shop_target",
        "source_from_target": "shop_source_private",
        "target_from_source": "shop_target_private",
        "routers": [{"kind": "pgbouncer", "admin": ["a", "b"], "database": "shop", "switch": {"file": "/shop.ini"}}],
        "cutover": {"approvers": ["alice"], "application_roles": ["shop_app"], "sequence_margin": 3},
    },
    name="shop",
)
SEQUENCE = catalog.Sequence(schema="public", name="orders_id", increment=1, minimum=1, maximum=2**31)
OUR_ROLES = {OURS, MOVER}
SERVES = {State.ACTIVE: Side.SOURCE, State.CUT_OVER: Side.TARGET}
ENDLESS = 4000  #: effects: no actor needs that many


class ImaginedEndpoint:
    """Stands for `crossfade.connect.Endpoint`."""

    def __init__(self, server: Server, user: str = OURS) -> None:
        self.server, self.user = server, user
        self.name = self.address = str(server.database.side)

    def with_options(self, **options: str) -> ImaginedEndpoint:
        """Patience makes no difference here."""
        return self

    impatient = with_options

    def connect(self, purpose: str, *, settings: object = None) -> Session:
        """Raises `Unreachable`."""
        self.server.database.scheduler.stop(f"{self.server.database.side}: connect")
        return self.server.session(purpose)

    @contextlib.contextmanager
    def session(self, purpose: str, *, settings: object = None) -> Iterator[Session]:
        """Closed at the end."""
        conn = self.connect(purpose)
        try:
            yield conn
        finally:
            conn.close()


class ImaginedMigration(Migration):
    """Of the real one it replaces what leads to servers, poolers and streams."""

    def __init__(self, world: World) -> None:
        self._world = world
        ends = {"source": Side.SOURCE, "target": Side.TARGET}
        by_name = {f"shop_{name}{private}": side for name, side in ends.items() for private in ("", "_private")}
        super().__init__(PLAN, lambda conn_id: ImaginedEndpoint(world.servers[by_name[conn_id]]))  # type: ignore[arg-type,return-value]

    def routers(self) -> list[Router]:
        """One fleet."""
        return [Fleet(self._world.poolers, self._world.scheduler)]

    def streams(self, waves: object, direction: Direction = Direction.FORWARD) -> list[Any]:
        """One wave."""
        return [ImaginedStream(direction, self._world.wires, MOVER)]


class World:
    """Everything there is. `patched` puts it in the place of the real one."""

    said = b""

    def __init__(self, *, origins: bool, public: bool) -> None:
        self.scheduler = Scheduler()
        applications = {"": False} if public else {"shop_app": False, "reporting": True}
        self.original = {**applications, MOVER: False}
        self.databases = {
            Side.SOURCE: Database(Side.SOURCE, {**self.original, OURS: False}, self.scheduler),
            Side.TARGET: Database(Side.TARGET, {MOVER: False, OURS: False}, self.scheduler),
        }
        self.servers = {side: Server(database, PLAN, self.beats) for side, database in self.databases.items()}
        self.source, self.target = self.databases[Side.SOURCE], self.databases[Side.TARGET]
        self.wires = Wires(self.source, self.target, origins=origins)
        self.poolers = [Pooler(Side.SOURCE, Side.SOURCE), Pooler(Side.SOURCE, Side.SOURCE)]
        self.m = ImaginedMigration(self)
        self.watchdogs: list[Watching] = []
        self.acknowledged: set[int] = set()
        self.clients: list[tuple[Side, Backend]] = []  #: who came past the poolers
        self.decided: dict[UUID, str] = {}
        self._prepare()

    def _prepare(self) -> None:
        """As `prepare` and `load` leave it: the target fenced, the forward stream running."""
        opens_to = [{"role": role, "grantable": grantable} for role, grantable in self.original.items()]
        self.target.state.ledger = {"plan": "shop", "may_connect": opens_to}
        self.target.state.record = {
            "id": uuid4(),
            "state": "active",
            "archive": None,
            "stamp": "stamp",
            "carrier": "plan",
            "cut_over_at": None,
            "writes_at_opening": None,
        }
        source, target = self.servers[Side.SOURCE].session("prepare"), self.servers[Side.TARGET].session("prepare")
        stream = self.m.streams({})[0]
        stream.publish(source)
        stream.make_slot(source)
        add_stream(target, stream.watermark)
        stream.subscribe(target)
        source.close()
        target.close()

    # --- what happens to it

    def kill(self, actor: Actor, *, lands: bool) -> None:
        """SIGKILL. :param lands: the statement it has sent takes effect later, unless somebody ends its session"""
        actor.die()
        for database in self.databases.values():
            for backend in [each for each in database.backends if each.owner is actor]:
                if not (lands and backend.pending is not None):
                    database.end(backend)

    def beats(self, attempt: UUID) -> bool:
        """Whether a watchdog keeps the heartbeat of that attempt fresh."""
        return any(each.alive and not each.watch._done and each.watch.attempt == attempt for each in self.watchdogs)

    def write(self, pooler: Pooler) -> None:
        """A client's transaction through a pooler; one that is held or refused is not acknowledged."""
        database = self.databases[pooler.leads_to]
        if pooler.up and not pooler.paused and database.up and database.may_connect("shop_app"):
            self.acknowledged.add(database.client_writes())

    def log_in(self, side: Side) -> None:
        """A client that knows the database's own address."""
        database = self.databases[side]
        if database.up and database.may_connect("shop_app"):
            self.clients.append((side, database.log_in("shop_app", "psql")))

    def write_directly(self, number: int) -> None:
        """In a session of its own: it writes for as long as nobody ends it."""
        side, backend = self.clients[number % len(self.clients)]
        if backend.alive:
            self.acknowledged.add(self.databases[side].client_writes())

    # --- what it looks like

    def over(self) -> bool:
        """Whether the guard's task would end."""
        looked = guard.Guard(self.m)
        try:
            return looked.over()
        finally:
            looked.close()

    @property
    def state(self) -> State:
        """Of the migration."""
        assert self.target.state.record is not None
        return State(self.target.state.record["state"])

    @property
    def whole(self) -> bool:
        """Whether everything can be reached."""
        return all(each.up for each in (*self.databases.values(), *self.poolers))

    @property
    def idle(self) -> bool:
        """Whether nobody acts, nor is about to, nor has left something that is to land."""
        ghosts = any(database.ghosts() for database in self.databases.values())
        return not (self.scheduler.alive or any(each.needed for each in self.watchdogs) or ghosts)

    @property
    def newest(self) -> dict[str, Any] | None:
        """The attempt of the highest generation."""
        attempts = [row for database in self.databases.values() for row in database.state.attempts]
        return max(attempts, key=lambda row: int(row["generation"]), default=None)

    def picture(self) -> dict[str, Any]:
        """Everything that must be as it was after an undo, and after settling twice."""
        return {
            "state": self.state,
            "poolers": [(each.leads_to, each.file, each.paused) for each in self.poolers],
            **{
                side.value: {
                    "acl": {role: way for role, way in database.state.acl.items() if role not in OUR_ROLES},
                    "ledger": bool(database.state.ledger),
                    "slots": sorted(database.state.slots),
                    "subscriptions": {name: s.enabled for name, s in database.state.subscriptions.items()},
                }
                for side, database in self.databases.items()
            },
        }

    def expected(self) -> dict[str, Any]:
        """How it looks where nothing is under way: one side open, the other fenced, one stream between them."""
        side = SERVES[self.state]
        stream = stream_name(Direction.FORWARD if side is Side.SOURCE else Direction.BACK)
        there = self.databases[side].roles | {""}
        applications = {role: way for role, way in self.original.items() if role not in OUR_ROLES and role in there}
        return {
            "state": self.state,
            "poolers": [(side, side, False)] * len(self.poolers),
            side.value: {"acl": applications, "ledger": False, "slots": [stream], "subscriptions": {}},
            side.other.value: {"acl": {}, "ledger": True, "slots": [], "subscriptions": {stream: True}},
        }

    def check_always(self) -> None:
        """What may never be, at no instant."""
        assert not (self.source.open and self.target.open), "both sides let applications in"
        for database in self.databases.values():
            for attempt in database.state.attempts:
                if attempt["decision"] is not None:
                    held = self.decided.setdefault(attempt["id"], attempt["decision"])
                    assert held == attempt["decision"], "a decision was changed"

    def check_at_rest(self) -> None:
        """What must hold where nothing is under way and everything can be reached."""
        assert self.picture() == self.expected()
        side = SERVES[self.state]
        assert self.acknowledged <= self.databases[side].rows, "acknowledged writes are not where clients are led to"
        serving = self.databases[side]
        self.wires.flow(Direction.FORWARD if side is Side.SOURCE else Direction.BACK)
        assert serving.rows == self.databases[side.other].rows, "the other side does not hold what this one does"
