"""One stream of changes: a publication and a slot on the publisher, a subscription on the subscriber."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from crossfade import catalog, control
from crossfade.capabilities import capabilities
from crossfade.connect import CONNECT_TIMEOUT, Connection, Endpoint
from crossfade.engines.slots import DROP_SECONDS, drop_slot
from crossfade.errors import FatalError, TransientError
from crossfade.queries import named_queries

log = logging.getLogger(__name__)

_QUERIES = named_queries(__file__)


class SlotHeldByTransaction(TransientError):
    """A replication slot cannot be created while a transaction is open on the source."""

    def __init__(self, *, slot: str, seconds: float, blockers: Sequence[str]) -> None:
        first = (
            blockers[0] if blockers else "no open transaction is visible: look for prepared ones in pg_prepared_xacts"
        )
        super().__init__(
            f"the slot {slot} waited {seconds:.0f} s for transactions that are open on the source: {first}. "
            "End it with pg_terminate_backend(pid), or wait for it, and run this task again; nothing is left behind"
        )


class StreamIncomplete(FatalError):
    """A subscription does not carry the tables it must."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """What a new slot starts from."""

    name: str  #: for SET TRANSACTION SNAPSHOT, while the slot's connection lives
    lsn: str  #: changes committed after it are in the slot


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """A named stream of some tables. Publication, slot and subscription carry the same name."""

    name: str  #: of publication, slot and subscription
    watermark: str  #: its key in crossfade.watermark
    tables: tuple[tuple[str, str], ...]  #: schema and name
    publisher: Endpoint  #: as the subscriber's server reaches it

    @property
    def _published(self) -> list[sql.Identifier]:
        leaf = sql.Identifier("crossfade", control.watermark_table(self.watermark))
        return [*(sql.Identifier(*table) for table in self.tables), leaf]

    def publish(self, publisher: Connection) -> None:
        """Name the tables and the stream's watermark. Before the slot, and only ALTERed while one lives."""
        control.add_stream(publisher, self.watermark)
        publisher.execute(
            sql.SQL("CREATE PUBLICATION {} FOR TABLE {}").format(
                sql.Identifier(self.name), sql.SQL(", ").join(self._published)
            )
        )

    @contextmanager
    def new_slot(
        self, endpoint: Endpoint, publisher: Connection, *, purpose: str, timeout: timedelta
    ) -> Iterator[Snapshot]:
        """
        Make the slot, and hold its snapshot for as long as the block lasts.

        Creating one waits for every transaction that is open; who is waited for is logged.
        Raises `SlotHeldByTransaction` after the timeout, with no slot left.
        """
        info = endpoint.conninfo(replication="database", application_name=f"crossfade/{purpose}")
        with psycopg.connect(info, autocommit=True, row_factory=dict_row) as conn:
            command = sql.SQL("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput EXPORT_SNAPSHOT").format(
                sql.Identifier(self.name)
            )
            with ThreadPoolExecutor(1) as pool:
                row = self._await_slot(pool.submit(_first_row, conn, command), conn, publisher, timeout)
            yield Snapshot(name=row["snapshot_name"], lsn=row["consistent_point"])

    def _await_slot(
        self, future: Future[dict[str, Any]], conn: Connection, publisher: Connection, timeout: timedelta
    ) -> dict[str, Any]:
        start = time.monotonic()
        while True:
            try:
                return future.result(timeout=1 if time.monotonic() - start < 5 else 5)
            except NotYet:
                blockers = [str(found) for found in catalog.blocking_transactions(publisher)]
                waited = time.monotonic() - start
                if waited > timeout.total_seconds():
                    publisher.execute("SELECT pg_terminate_backend(%s)", [conn.info.backend_pid])
                    raise SlotHeldByTransaction(slot=self.name, seconds=waited, blockers=blockers) from None
                log.info("slot %s waits for open transactions: %s", self.name, blockers[0] if blockers else "none seen")

    def subscribe(self, subscriber: Connection, *, enabled: bool = True) -> None:
        """
        Make the subscription, without a copy, and start applying from the slot unless it is to wait for `enable`.

        The subscriber's server logs in to the publisher for it. Raises `StreamIncomplete` where tables are missing.
        """
        options = ["create_slot = false", "copy_data = false", f"enabled = {str(enabled).lower()}"]
        if capabilities(subscriber).origin_filter:
            options.append("origin = none")
        subscriber.execute(
            sql.SQL("CREATE SUBSCRIPTION {} CONNECTION {} PUBLICATION {} WITH ({}, slot_name = {})").format(
                sql.Identifier(self.name),
                sql.Literal(self.publisher.conninfo(application_name=self.name, connect_timeout=str(CONNECT_TIMEOUT))),
                sql.Identifier(self.name),
                sql.SQL(", ").join(sql.SQL(option) for option in options),
                sql.Literal(self.name),
            )
        )
        self.check(subscriber)

    def make_slot(self, publisher: Connection) -> None:
        """
        Make the slot, from now on: what is committed before it is not in it.

        It waits for every transaction that is open on the publisher's server: set a statement_timeout.
        """
        publisher.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [self.name])

    def check(self, subscriber: Connection) -> None:
        """Raise `StreamIncomplete` unless the subscription carries exactly the expected tables."""
        found = self.subscription(subscriber)
        expected = {f"{schema}.{name}" for schema, name in self.tables}
        expected.add(f"crossfade.{control.watermark_table(self.watermark)}")
        seen = set(found["tables"]) if found else set()
        if seen != expected:
            raise StreamIncomplete(
                f"the subscription {self.name} does not carry what it must. Missing: "
                f"{sorted(expected - seen) or 'none'}; too many: {sorted(seen - expected) or 'none'}. "
                "Clear the task that made it: load, of this wave; cutover or rollback, of a way back"
            )

    def subscription(self, subscriber: Connection) -> dict[str, Any] | None:
        """The subscription's state; None where there is none."""
        return subscriber.execute(_QUERIES["subscription"], {"name": self.name}).fetchone()

    def slot(self, publisher: Connection) -> dict[str, Any] | None:
        """The slot's state; None where there is none."""
        return publisher.execute(_QUERIES["slot"], {"name": self.name}).fetchone()

    def disable(self, subscriber: Connection) -> None:
        """Begin to stop applying: the worker lives on for up to seconds and still applies, until `stopped`."""
        subscriber.execute(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(sql.Identifier(self.name)))

    def stopped(self, subscriber: Connection, publisher: Connection) -> bool:
        """Whether nothing can be applied any more: the worker's end is seen on both sides."""
        found, slot = self.subscription(subscriber), self.slot(publisher)
        return not (found and found["pid"]) and not (slot and slot["active_pid"])

    def enable(self, subscriber: Connection) -> None:
        """Go on applying, where it was disabled."""
        subscriber.execute(sql.SQL("ALTER SUBSCRIPTION {} ENABLE").format(sql.Identifier(self.name)))

    def drop_subscription(self, subscriber: Connection) -> None:
        """Remove the subscription, without reaching for the publisher; nothing to do where there is none."""
        if self.subscription(subscriber) is None:
            return
        name = sql.Identifier(self.name)
        subscriber.execute(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(name))
        subscriber.execute(sql.SQL("ALTER SUBSCRIPTION {} SET (slot_name = NONE)").format(name))
        subscriber.execute(sql.SQL("DROP SUBSCRIPTION {}").format(name))

    def drop_slot(self, publisher: Connection, *, seconds: float = DROP_SECONDS) -> None:
        """Remove the slot, ending its reader; nothing to do where there is none. Raises `DeadlineExceeded`."""

        drop_slot(publisher, self.name, seconds=seconds)

    def unpublish(self, publisher: Connection) -> None:
        """Remove the publication. Only after the slot: a stream whose publication vanished is stuck for good."""
        publisher.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(self.name)))


def _first_row(conn: Connection, command: sql.Composed) -> dict[str, Any]:
    row: dict[str, Any] | None = conn.execute(command).fetchone()
    if row is None:
        raise TransientError("the server answered CREATE_REPLICATION_SLOT without a row; run this task again")
    return row
