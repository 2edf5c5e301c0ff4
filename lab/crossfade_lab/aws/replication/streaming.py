"""From the stream to the target: how captured transactions are gathered, and what becomes of them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing

from psycopg import sql

from crossfade_lab.aws.replication import netting, sessions
from crossfade_lab.aws.replication.apply import Apply
from crossfade_lab.aws.replication.board import Board, Checkpoint
from crossfade_lab.aws.replication.capture import Capture
from crossfade_lab.aws.replication.catalog import Table, read_tables
from crossfade_lab.aws.replication.conversion import Conversion
from crossfade_lab.aws.replication.mapping import Mappings
from crossfade_lab.aws.replication.orders import Orders
from crossfade_lab.aws.replication.pgoutput import Change, Relation, Transaction
from crossfade_lab.aws.replication.preparation import mapped_type
from crossfade_lab.aws.replication.spec import Spec
from crossfade_lab.aws.replication.statements import Work, Writer
from crossfade_lab.aws.replication.validation import Validator

CACHED_CHANGES = 2_000  #: of a commit while cached changes are applied


class Streaming:
    """The stream of one task, applied to the target."""

    def __init__(
        self,
        *,
        spec: Spec,
        tables: Sequence[Table],
        conversions: Mapping[Table, Conversion],
        board: Board,
        checkpoint: Checkpoint,
        orders: Orders,
        capture: Capture,
        apply: Apply,
        validator: Validator,
    ) -> None:
        self._spec, self._board, self._checkpoint, self._orders = spec, board, checkpoint, orders
        self._capture, self._apply, self._validator = capture, apply, validator
        self._conversions = conversions
        self._by_name = {(table.schema, table.name): table for table in tables}
        self._writers: dict[int, tuple[Relation, Writer | None]] = {}
        self._shapes: dict[int, Relation] = {}
        self.last_commit = 0.0  #: time of the last applied commit on the source, seconds since 1970
        self._hand: list[Transaction] = []  #: taken from the capture, not yet committed
        self._load_ends = {table: int(checkpoint.of(table).get("load_end") or 0) for table in tables}
        tuning = spec.section("ChangeProcessingTuning")
        self._batch = bool(spec.section("TargetMetadata").get("BatchApplyEnabled"))
        self._least = int(tuning.get("MinTransactionSize") or 1000)
        self._patience = float(tuning.get("BatchApplyTimeoutMin" if self._batch else "CommitTimeout") or 1)
        self._recovery = bool(spec.section("TargetMetadata").get("TaskRecoveryTableEnabled"))

    def loaded(self, table: Table, lsn: int) -> None:
        """A table's full load is complete: conflicts with changes up to this LSN say nothing."""
        self._load_ends[table] = lsn
        self._checkpoint.note(table, load_end=lsn)
        self._checkpoint.save(self._board)

    def measure(self) -> None:
        """Set the latencies (seconds) and the counts of pending changes."""
        metrics, now = self._board.metrics, time.time()
        waiting = [*self._hand[:1], *list(self._capture.transactions)[:1]]
        pending = self._capture.pending + sum(len(t.changes) for t in self._hand)
        target = max(0.0, now - waiting[0].committed) if waiting else 0.0
        metrics["CDCLatencyTarget"] = round(target, 3)
        metrics["CDCLatencySource"] = round(target if self._capture.behind else 0.0, 3)
        metrics["CDCIncomingChanges"] = pending
        metrics["CDCChangesMemoryTarget"] = pending

    def apply_cached(self) -> None:
        """Apply what was captured during the full load, table by table, and confirm it at the end.

        The target is consistent only after this. Raises `StopRequested` or `TaskFailed`.
        """
        end = max(self._load_ends.values(), default=0)
        self._await(end)
        cached: list[Transaction] = []
        while self._capture.transactions and self._capture.transactions[0].end <= end:
            transaction = self._capture.take()
            assert transaction is not None
            cached.append(transaction)
        self._hand = cached
        works = [work for transaction in cached for work in self._works(transaction)]
        for _, mine in netting.by_table(works):
            for start in range(0, len(mine), CACHED_CHANGES):
                self._pause(1)
                self._apply.commit([[work] for work in mine[start : start + CACHED_CHANGES]], None, cached=True)
        self._done(end, works)

    def _await(self, lsn: int) -> None:
        """Wait until everything up to an LSN was received; a message of our own moves the source's WAL on."""
        with closing(sessions.connect(self._spec.source, "capture")) as source:
            source.execute("SELECT pg_logical_emit_message(true, 'awsdms', 'load complete')")
        while max(self._capture.received, self._capture.current) < lsn:
            self._pause(0)
            self._capture.check()
            time.sleep(0.02)

    def step(self) -> bool:
        """Apply the next transactions, or report that there are none (False). Raises as `apply_cached` does."""
        self._capture.check()
        self._pause(0)
        batch = self._gather()
        if not batch:
            self._capture.confirm_idle()
            return False
        self._pause(len(batch))
        units = [self._works(transaction) for transaction in batch]
        works = [work for unit in units for work in unit]
        end = batch[-1].end
        if self._batch:
            self._apply_netted(works, batch[0].end)
        else:
            cached = any(batch[0].end <= self._load_ends[work.table] for work in works)
            self._apply.commit(units, end if self._recovery else None, cached=cached)
        self.last_commit = batch[-1].committed
        self._done(end, works)
        return True

    def _apply_netted(self, works: Sequence[Work], first: int) -> None:
        for table, mine in netting.by_table(works):
            writer = self.writer_of(mine[0])
            cached = first <= self._load_ends[table]
            net = [work for change in netting.net(mine) if (work := writer.work(change, cached=cached)) is not None]
            self._pause(1)
            self._apply.commit([[work] for work in net], None, cached=cached)

    def _done(self, end: int, works: Sequence[Work]) -> None:
        self._hand = []
        self._capture.confirm(end)
        self._board.set(recovery_checkpoint=f"checkpoint:V1#1#{end >> 32:X}/{end & 0xFFFFFFFF:08X}#0#0#*#0#0")
        self._checkpoint.save(self._board, applied=end)
        for work in works:
            self._validator.changed(work.table, work.key)

    def _gather(self) -> list[Transaction]:
        """Transactions for one commit: MinTransactionSize changes, or what came within CommitTimeout seconds."""
        if not self._hand:
            first = self._capture.take()
            if first is None:
                self._capture.arrived.wait(0.05)
                return []
            self._hand.append(first)
        deadline = time.monotonic() + self._patience
        size = sum(len(transaction.changes) for transaction in self._hand)
        while size < self._least and not self._orders.stopping:
            transaction = self._capture.take()
            if transaction is None:
                if time.monotonic() >= deadline:
                    break
                self._capture.arrived.wait(min(0.05, max(0.0, deadline - time.monotonic())))
                continue
            self._hand.append(transaction)
            size += len(transaction.changes)
        return list(self._hand)

    def _pause(self, transactions: int) -> None:
        """Injected stalls and delays. Raises what `Orders.check` raises."""
        self._orders.check()
        if self._orders.stalled:
            self._board.log("TASK_MANAGER", "W", "the task stalls: nothing is applied, nothing confirmed")
        while self._orders.stalled:
            self._orders.check()
            time.sleep(0.05)
        if delay := self._orders.faults.get("apply_delay_ms"):
            time.sleep(float(delay) / 1000 * transactions)

    def _works(self, transaction: Transaction) -> list[Work]:
        found = []
        for change in transaction.changes:
            writer = self._writer(change.relation)
            if writer is None:
                continue
            work = writer.work(change, cached=transaction.end <= self._load_ends[writer.table])
            if work is not None:
                found.append(work)
            else:
                self._ignored(writer.table, change)
        return found

    def _ignored(self, table: Table, change: Change) -> None:
        reason = "an update of the key" if table.key else "the table has no usable primary key"
        self._board.log("SOURCE_CAPTURE", "W", f"{table.full_name}: {change.kind} ignored: {reason}")

    def writer_of(self, work: Work) -> Writer:
        """The writer that made this work."""
        writer = self._writer(work.change.relation)
        assert writer is not None
        return writer

    def _writer(self, relation: Relation) -> Writer | None:
        known = self._writers.get(relation.oid)
        if known is not None and known[0] is relation:
            return known[1]
        table = self._by_name.get((relation.schema, relation.name))
        if table is not None:
            self._alter(table, relation)
            table = self._by_name[relation.schema, relation.name]
        writer = Writer(table, relation, self._conversions[table]) if table is not None else None
        self._writers[relation.oid] = (relation, writer)
        return writer

    def _alter(self, table: Table, relation: Relation) -> None:
        """Carry added and dropped columns over, where HandleSourceTableAltered and CaptureDdls want it.

        Types, defaults and NOT NULL are not compared: the stream names columns only.
        """
        before = self._shapes.get(relation.oid)
        self._shapes[relation.oid] = relation
        old = set(before.columns) if before else {column.name for column in table.columns}
        added, dropped = set(relation.columns) - old, old - set(relation.columns)
        if not added and not dropped:
            return
        self._board.log("SOURCE_CAPTURE", "W", f"{table.full_name}: columns {sorted(added | dropped)} came or went")
        policy = self._spec.section("ChangeProcessingDdlHandlingPolicy")
        if not (policy.get("HandleSourceTableAltered", True) and self._spec.source.flag("CaptureDdls", True)):
            return
        rule = {
            "rule-type": "selection",
            "rule-action": "explicit",
            "object-locator": {"schema-name": table.schema, "table-name": table.name},
        }
        with closing(sessions.connect(self._spec.source, "capture")) as source:
            found = read_tables(source, Mappings([rule]))
        if not found:
            return
        fresh = found[0]
        for column in fresh.migrated:
            if column.name in added:
                type_ = sql.SQL(mapped_type(column, self._conversions[table].booleans_kept))
                statement = sql.SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {}")
                self._apply.target.execute(statement.format(table.sql, sql.Identifier(column.name), type_))
        for name in dropped:
            statement = sql.SQL("ALTER TABLE {} DROP COLUMN IF EXISTS {}")
            self._apply.target.execute(statement.format(table.sql, sql.Identifier(name)))
        self._board.count(table, ddls=1, applied_ddls=1)
        self._by_name[table.schema, table.name] = fresh
        self._conversions = {**self._conversions, fresh: self._conversions[table]}
        self._load_ends[fresh] = self._load_ends[table]
