"""Capturing changes: the slot and the publications on the source, and the thread that reads the stream.

DMS reads the plugins test_decoding or pglogical. The lab's servers have neither, hence pgoutput, which needs
publications: one with the tables whose rows the stream can identify, and one with the others for INSERTs only. DMS
ignores UPDATE and DELETE there, and a publication that carried them would make them fail on the source.
"""

from __future__ import annotations

import secrets
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing, suppress

import psycopg
import psycopg2
from psycopg import sql

from crossfade_lab.aws.replication import sessions
from crossfade_lab.aws.replication.catalog import Table
from crossfade_lab.aws.replication.failures import Interrupted, TaskFailed
from crossfade_lab.aws.replication.pgoutput import Decoder, Transaction
from crossfade_lab.aws.replication.spec import Endpoint

PLUGIN = "pgoutput"
MOST_PENDING = 500_000  #: changes kept in memory; beyond it the stream is left unread
FEEDBACK_SECONDS = 1.0


def new_slot_name(resource_id: str) -> str:
    """A name as DMS makes them: letters and digits of the task, underscore, a random part."""
    return f"{resource_id.lower()[:16]}_{secrets.token_hex(8)}"


def publications(slot: str) -> tuple[str, str]:
    """The publications that belong to a slot: for all operations, and for INSERT only."""
    return f"awsdms_{slot[:50]}_all", f"awsdms_{slot[:50]}_ins"


def publish(source: sessions.Connection, slot: str, tables: Sequence[Table]) -> None:
    """Make the slot's publications anew, before the slot: a stream cannot see one that is younger.

    :raises TaskFailed: the source's role may not
    """
    whole, inserts = publications(slot)
    groups = ((whole, [t for t in tables if t.key], ""), (inserts, [t for t in tables if not t.key], "insert"))
    try:
        for name, members, operations in groups:
            source.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(name)))
            statement = sql.SQL("CREATE PUBLICATION {}").format(sql.Identifier(name))
            if members:
                names = sql.SQL(", ").join(table.sql for table in members)
                statement += sql.SQL(" FOR TABLE ONLY {}").format(names)
            statement += sql.SQL(" WITH (publish = {})").format(operations or "insert, update, delete")
            source.execute(statement)
    except psycopg.Error as error:
        raise TaskFailed(f"Preparing the source for change capture failed: {error}") from error


def published(source: sessions.Connection, slot: str) -> bool:
    """Whether the slot's publications are there."""
    query = "SELECT count(*) FROM pg_publication WHERE pubname = ANY(%s)"
    row = source.execute(query, [list(publications(slot))]).fetchone()
    return row is not None and row[0] == len(publications(slot))


def create_slot(source: Endpoint, slot: str, waiting: Callable[[], None]) -> None:
    """Create the slot. The server waits for every transaction that is open now; `waiting` is called meanwhile.

    Whatever `waiting` raises ends the wait. Raises `TaskFailed` where the server refuses.
    """
    connection = sessions.connect_replication(source, "capture")
    pid = connection.info.backend_pid
    failure: list[psycopg2.Error] = []

    def create() -> None:
        try:
            connection.cursor().create_replication_slot(slot, output_plugin=PLUGIN)
        except psycopg2.Error as error:
            failure.append(error)

    thread = threading.Thread(target=create, name="slot", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.1)
            waiting()
    except BaseException:
        with suppress(psycopg.Error), closing(sessions.connect(source, "capture")) as other:
            other.execute("SELECT pg_terminate_backend(%s)", [pid])
        raise
    finally:
        thread.join(5)
        connection.close()
    if failure:
        raise TaskFailed(f"Creating the replication slot {slot} failed: {failure[0]}")


def drop(source: Endpoint, slot: str) -> None:
    """Drop a slot and its publications where they exist; a walsender that still holds the slot is ended first."""
    with closing(sessions.connect(source, "cleanup")) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = %s AND active", [slot]
        )
        deadline = time.monotonic() + 60
        while _active(connection, slot) and time.monotonic() < deadline:
            time.sleep(0.05)
        query = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s"
        connection.execute(query, [slot])
        for name in publications(slot):
            connection.execute(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(name)))


def _active(connection: sessions.Connection, slot: str) -> bool:
    query = "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s AND active"
    return connection.execute(query, [slot]).fetchone() is not None


class Capture:
    """The stream of a slot, read by a thread of its own into memory.

    It confirms to the source what `confirm` was told, and nothing beyond: a task that applies nothing retains WAL.
    """

    def __init__(self, source: Endpoint, slot: str, skip_until: int) -> None:
        self._source, self._slot, self._skip = source, slot, skip_until
        self.transactions: deque[Transaction] = deque()
        self.pending = 0  #: changes received and not taken
        self.received = 0  #: LSN of the last complete transaction
        self.current = 0  #: LSN up to which the source has sent everything
        self.behind = False  #: the source has sent more than was read
        self.failure: Exception | None = None
        self.arrived = threading.Event()
        self._confirmed = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._read, name="capture", daemon=True)

    def start(self) -> None:
        """Begin to read. Raises `TaskFailed` where the source refuses, for example since the slot is in use."""
        deadline = time.monotonic() + 60
        while True:
            self._connection = sessions.connect_replication(self._source, "capture")
            self._cursor = self._connection.cursor()
            names = ",".join(f'"{name}"' for name in publications(self._slot))
            try:
                self._cursor.start_replication(
                    slot_name=self._slot, decode=False, options={"proto_version": "1", "publication_names": names}
                )
                break
            except psycopg2.errors.ObjectInUse as error:  # the walsender of a killed worker has not noticed yet
                self._connection.close()
                if time.monotonic() > deadline:
                    raise TaskFailed(
                        f"Replication slot {self._slot} is in use: {error}", "RECOVERABLE_ERROR"
                    ) from error
                time.sleep(0.2)
            except psycopg2.Error as error:
                self._connection.close()
                raise TaskFailed(f"Reading from slot {self._slot} failed: {error}") from error
        self._thread.start()

    def stop(self) -> None:
        """End the thread and its session; the slot stays."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(10)
        with suppress(psycopg2.Error):
            self._connection.close()

    def take(self) -> Transaction | None:
        """The next transaction, in the order of the source's commits."""
        with self._lock:
            if not self.transactions:
                self.arrived.clear()
                return None
            transaction = self.transactions.popleft()
            self.pending -= len(transaction.changes)
            return transaction

    def confirm(self, lsn: int) -> None:
        """Everything up to here is committed on the target."""
        self._confirmed = max(self._confirmed, lsn)

    def confirm_idle(self) -> None:
        """Nothing received is left to apply: what the source has sent besides was not for this task."""
        with self._lock:
            if not self.transactions and self.current > self._confirmed:
                self._confirmed = self.current

    def check(self) -> None:
        """Raise `Interrupted` where the stream has ended."""
        if self.failure is not None:
            raise Interrupted(f"Capturing changes failed: {self.failure}") from self.failure

    def _read(self) -> None:
        decoder = Decoder()
        told, told_at = 0, 0.0
        try:
            while not self._stopping.is_set():
                message = self._cursor.read_message() if self.pending < MOST_PENDING else None
                self.behind = message is not None
                if message is not None:
                    self._take_in(decoder, message.payload)
                elif decoder.open is None and self.pending < MOST_PENDING:
                    self.current = max(self.received, self._cursor.wal_end)
                if (told != self._confirmed and message is None) or time.monotonic() - told_at > FEEDBACK_SECONDS:
                    told, told_at = self._confirmed, time.monotonic()
                    self._cursor.send_feedback(flush_lsn=told, apply_lsn=told, write_lsn=told, force=True)  # type: ignore[no-untyped-call]
                if message is None:
                    select.select([self._cursor], [], [], 0.02)
        except (psycopg2.Error, OSError, AssertionError, KeyError) as error:
            self.failure = error
            self.arrived.set()

    def _take_in(self, decoder: Decoder, payload: bytes) -> None:
        transaction = decoder.feed(payload)
        if transaction is None:
            return
        self.received = transaction.end
        if transaction.end <= self._skip or not transaction.changes:
            return
        with self._lock:
            self.transactions.append(transaction)
            self.pending += len(transaction.changes)
            self.arrived.set()
