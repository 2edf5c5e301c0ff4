"""A PostgreSQL of the imagination: sessions, transactions, who may connect, WAL, slots, subscriptions, crashes."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

import psycopg
from imagined_actors import Actor, Fault, Scheduler

from crossfade.errors import Unreachable
from crossfade.routers.base import Side
from crossfade.sequences import SequenceState

OURS = "crossfade"  #: the migration's role
MOVER = "mover"  #: the role with which subscriptions log in
PEOPLE = ("shop_app", "reporting")  #: roles of applications
_pids = itertools.count(1)


class Entry(NamedTuple):
    """A committed row in the WAL."""

    row: int  #: its key, from a sequence
    origin: int | None  #: the subscription that brought it; None: a client
    position: int  #: in the publisher's WAL, behind it


@dataclass
class Subscription:
    """It applies from the slot of its name while it is enabled."""

    id: int
    enabled: bool


@dataclass
class State:
    """What statements change: a transaction that fails leaves it as it was."""

    acl: dict[str, bool]
    ledger: dict[str, Any] | None = None
    attempts: list[dict[str, Any]] = field(default_factory=list)
    record: dict[str, Any] | None = None
    publications: set[str] = field(default_factory=set)
    slots: dict[str, int] = field(default_factory=dict)  #: confirmed position
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    partitions: set[str] = field(default_factory=set)  #: of the watermark table
    sequence: SequenceState = field(default_factory=lambda: SequenceState(last_value=1, is_called=False))


@dataclass(eq=False)
class Backend:
    """A session on the server."""

    role: str
    application: str
    owner: Actor | None
    pid: int = field(default_factory=lambda: next(_pids))
    alive: bool = True
    locks: set[str] = field(default_factory=set)
    pending: Callable[[], object] | None = None  #: of a dead client, still to land


class Database:
    """One server with one database."""

    def __init__(self, side: Side, acl: dict[str, bool], scheduler: Scheduler) -> None:
        self.side, self.scheduler, self.up = side, scheduler, True
        self.state = State(acl=acl)
        self.roles = {*PEOPLE, OURS, MOVER}
        self.backends: list[Backend] = []
        self.wal: list[Entry] = []
        self.flushed = 0  #: entries that a crash does not take

    def may_connect(self, role: str) -> bool:
        """By a grant of its own or PUBLIC's."""
        return role in self.roles and (role in self.state.acl or "" in self.state.acl)

    def drop_role(self, role: str) -> None:
        """Where it holds nothing in this database, as a fence leaves it, nothing hinders that."""
        if role not in self.state.acl:
            self.roles.discard(role)

    @property
    def open(self) -> bool:
        """Whether an application may log in, or is in."""
        inside = any(backend.alive and backend.role in PEOPLE for backend in self.backends)
        return inside or any(self.may_connect(role) for role in PEOPLE)

    @property
    def rows(self) -> set[int]:
        """Keys of all rows."""
        return {entry.row for entry in self.wal}

    def log_in(self, role: str, application: str) -> Backend:
        """Raises `Unreachable`."""
        self.scheduler.require_alive()
        if not self.up or not self.may_connect(role):
            raise Unreachable(name=str(self.side), address=str(self.side), reason="down" if self.up else "refused")
        backend = Backend(role=role, application=application, owner=self.scheduler.running)
        self.backends.append(backend)
        return backend

    def end(self, backend: Backend) -> None:
        """A session's end, with its locks and whatever it had not done."""
        backend.alive, backend.pending = False, None
        backend.locks.clear()
        if backend in self.backends:
            self.backends.remove(backend)

    def crash(self) -> None:
        """Sessions end; what was applied and not flushed is gone."""
        self.up = False
        for backend in list(self.backends):
            self.end(backend)
        del self.wal[self.flushed :]

    def client_writes(self) -> int:
        """A client's transaction, durable when it is acknowledged; its key is the sequence's next number."""
        last = self.state.sequence
        row = last.last_value + 1 if last.is_called else last.last_value
        self.state.sequence = SequenceState(last_value=row, is_called=True)
        assert row not in self.rows, f"the {self.side} hands out the number {row} again"
        self.wal.append(Entry(row=row, origin=None, position=0))
        self.flushed = len(self.wal)
        return row

    def ghosts(self) -> list[Backend]:
        """Sessions of dead clients whose last statement is still to land."""
        return [backend for backend in self.backends if backend.pending is not None]

    def land(self, backend: Backend) -> None:
        """What a dead client had sent takes effect."""
        pending = backend.pending
        assert pending is not None
        try:
            pending()
        except psycopg.Error:
            pass  # nobody is there to hear of it
        self.end(backend)


class Session:
    """Stands for a psycopg connection in autocommit, as far as the code under test uses one."""

    def __init__(self, database: Database, answer: Callable[[Session, str, Any], Any], purpose: str) -> None:
        self.database, self._answer = database, answer
        self.backend = database.log_in(OURS, f"crossfade/{purpose}")
        self.info = SimpleNamespace(dbname="shop", user=OURS, backend_pid=self.backend.pid)
        self.closed = self._within = False

    @property
    def broken(self) -> bool:
        """Whether its session ended without being closed."""
        return not self.backend.alive

    def close(self) -> None:
        """End it; a dead process' sessions are ended by whoever kills it."""
        if self.backend.owner is None or not self.backend.owner.dead:
            self.database.end(self.backend)
        self.closed = True

    def effect(self, what: str, do: Callable[[], Any]) -> Any:
        """One statement that changes something: the actor stops before it, and a fault may befall it."""
        if self._within:
            return do()
        self.backend.pending = do
        fault = self._stop(f"{self.database.side}: {what}")
        self.backend.pending = None
        self._require()
        found = do()
        self._befall(fault)
        return found

    def _stop(self, what: str) -> Fault | None:
        fault = self.database.scheduler.stop(what)
        if fault is Fault.LOST_BEFORE:
            self.database.end(self.backend)
        return fault

    def _befall(self, fault: Fault | None) -> None:
        if fault is Fault.LOST_AFTER:
            self.database.end(self.backend)
            self._require()
        if fault is Fault.DIES_AFTER:
            assert self.database.scheduler.running is not None
            self.database.scheduler.running.die()

    def _require(self) -> None:
        self.database.scheduler.require_alive()
        if not self.backend.alive or self.closed:
            self.closed = True
            raise psycopg.OperationalError("the connection is lost")

    def execute(self, query: Any, params: Any = None, **_: object) -> Any:
        """Answer a statement; those that change nothing are no place to stop at."""
        text = " ".join((query if isinstance(query, str) else query.as_string(None)).split())
        if reads_only(text):
            self._require()
            return self._answer(self, text, params)
        return self.effect(text[:60], lambda: self._answer(self, text, params))

    @contextmanager
    def transaction(self, force_rollback: bool = False) -> Iterator[None]:
        """All or nothing. Actors stop before it and not within, as if every transaction locked what it needs."""
        if self._within:
            yield
            return
        fault = self._stop(f"{self.database.side}: transaction")
        self._require()
        before, self._within = copy.deepcopy(self.database.state), True
        try:
            yield
        except BaseException:
            self.database.state = before
            raise
        finally:
            self._within = False
        self._befall(fault)


_LOCKS_AND_ENDS = ("pg_try_advisory_lock", "pg_terminate_backend")
_NO_PLACE_TO_STOP = ("SELECT", "SET ", "UPDATE crossfade.step")


def reads_only(text: str) -> bool:
    """Whether a statement changes nothing that the others care for."""
    return text.startswith(_NO_PLACE_TO_STOP) and not any(word in text for word in _LOCKS_AND_ENDS)
