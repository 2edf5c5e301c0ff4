"""One run of a task, from its specification to its final state."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg

from crossfade_lab.aws.replication import capture as capturing
from crossfade_lab.aws.replication import sessions
from crossfade_lab.aws.replication.apply import Apply
from crossfade_lab.aws.replication.beats import Beats
from crossfade_lab.aws.replication.board import Board, Checkpoint, now
from crossfade_lab.aws.replication.catalog import Table, read_tables
from crossfade_lab.aws.replication.control_tables import ControlTables
from crossfade_lab.aws.replication.conversion import Conversion, lob_plan
from crossfade_lab.aws.replication.failures import Interrupted, StopRequested, TaskFailed
from crossfade_lab.aws.replication.load import FullLoad
from crossfade_lab.aws.replication.mapping import Mappings
from crossfade_lab.aws.replication.orders import Orders
from crossfade_lab.aws.replication.policies import Policies
from crossfade_lab.aws.replication.positions import past_the_end, start_position
from crossfade_lab.aws.replication.slots import TaskSlot
from crossfade_lab.aws.replication.spec import Endpoint, Spec, read_spec
from crossfade_lab.aws.replication.streaming import Streaming
from crossfade_lab.aws.replication.validation import Validator

NO_TABLES = (
    "No tables were found at task initialization. Either the selected table(s) or schema(s) no longer exist or no "
    "match was found for the table selection pattern(s)."
)


def run(directory: Path) -> None:
    """Carry out the task of a directory until it stops; its final state is in status.json afterwards."""
    board = Board(directory)
    orders = Orders(directory)
    orders.listen()
    board.start()
    try:
        reason = Task(read_spec(directory), directory, board, orders).run()
        _slow_stop(board, orders)
        board.finish("stopped", reason, None)
    except StopRequested:
        _slow_stop(board, orders)
        board.finish("stopped", "NORMAL", None)
    except TaskFailed as error:
        board.log("TASK_MANAGER", "E", str(error))
        board.finish("failed", error.reason, f"Last Error {error}")
    except Exception as error:
        board.log("TASK_MANAGER", "E", f"unexpected: {type(error).__name__}: {error}")
        board.finish("failed", "FATAL_ERROR", f"Last Error {type(error).__name__}: {error}")
        raise


def publish_ahead(directory: Path) -> None:
    """Publish a task's tables for a slot that its source endpoint names and somebody makes. Raises `TaskFailed`."""
    spec, board = read_spec(directory), Board(directory)
    with closing(sessions.connect(spec.source, "task")) as source:
        TaskSlot(spec, board, Checkpoint(directory)).publish_ahead(source, read_tables(source, Mappings(spec.rules)))


def _slow_stop(board: Board, orders: Orders) -> None:
    """A stop as slow as a test asks for."""
    if seconds := orders.faults.get("slow_stop_seconds"):
        board.set(state="stopping")
        time.sleep(float(seconds))


class Task:
    """The phases of a task: slot, full load, cached changes, stream."""

    def __init__(self, spec: Spec, directory: Path, board: Board, orders: Orders) -> None:
        self._spec, self._board, self._orders = spec, board, orders
        self._checkpoint = Checkpoint(directory)
        self._mappings = Mappings(spec.rules)
        self._control = ControlTables(spec)
        self._policies = Policies(spec.task, spec.section("ErrorBehavior"), board, self._control)
        self._slot = TaskSlot(spec, board, self._checkpoint)
        self._beats = Beats(spec, board, self._control)

    def run(self) -> str:
        """Run to a regular end; returns the stop reason. Raises `StopRequested` or `TaskFailed`."""
        self._slot.show_known()
        self._mappings.check()
        fresh = self._spec.start_type != "resume-processing" or "phase" not in self._checkpoint.known
        with closing(self._connect(self._spec.source)) as source, closing(self._connect(self._spec.target)) as target:
            tables = self._tables(source)
            self._control.create(target)
            if fresh:
                self._slot.begin_anew()
            self._board.enter(tables, {(t.schema, t.name): self._checkpoint.of(t) for t in tables})
            self._warn(tables)
            self._board.metrics["FreeStorageSpace"] = self._spec.storage_mb * 1024 * 1024
            self._board.set(state="running")
            if self._spec.streams and fresh:
                self._slot.make(source, tables, self._orders)
            if fresh:
                self._checkpoint.save(self._board, phase="load" if self._spec.loads else "cdc", applied=0)
        return self._with_retries(tables)

    def _connect(self, endpoint: Endpoint) -> sessions.Connection:
        side = "source" if endpoint is self._spec.source else "target"
        try:
            return sessions.connect(endpoint, "task")
        except psycopg.Error as error:
            raise TaskFailed(f"Connecting to the {side} failed: {error}", "RECOVERABLE_ERROR") from error

    def _tables(self, source: sessions.Connection) -> list[Table]:
        tables = read_tables(source, self._mappings)
        if not tables and self._spec.section("ErrorBehavior").get("FailOnNoTablesCaptured", True):
            raise TaskFailed(NO_TABLES)
        endpoint = self._spec.source
        self._conversions = {
            table: Conversion(
                lobs=lob_plan(
                    table,
                    self._spec.section("TargetMetadata"),
                    self._mappings.lob_settings(table.schema, table.name),
                ),
                booleans_kept=endpoint.flag("MapBooleanAsBoolean", False),
                numerics_kept=endpoint.flag("MapUnboundedNumericAsString", False),
            )
            for table in tables
        }
        return tables

    def _warn(self, tables: Sequence[Table]) -> None:
        """What the log of a task says about tables and columns that do not come along whole."""
        for table in tables:
            if not table.key:
                message = f"{table.full_name} has no usable primary key: UPDATE and DELETE are ignored"
                self._board.log("SOURCE_CAPTURE", "W", message)
            left_out = [column.name for column in table.columns if not column.migrated]
            if self._conversions[table].lobs.mode == "none":
                left_out += [column.name for column in table.migrated if column.lob]
            if left_out:
                self._board.log("METADATA_MANAGE", "W", f"{table.full_name}: columns {left_out} are not migrated")

    def _with_retries(self, tables: Sequence[Table]) -> str:
        """Run the phases; a lost session is tried again RecoverableErrorCount times (-1: always)."""
        behaviour = self._spec.section("ErrorBehavior")
        most, interval = (
            int(behaviour.get("RecoverableErrorCount", -1)),
            int(behaviour.get("RecoverableErrorInterval", 5)),
        )
        tries = 0
        while True:
            try:
                return self._phases(tables)
            except psycopg.OperationalError as error:  # between two transactions: a control table was written
                lost = Interrupted(f"A session was lost: {error}")
            except Interrupted as error:
                lost = error
            tries += 1
            if 0 <= most < tries:
                raise lost
            self._board.log("TASK_MANAGER", "W", f"recoverable error, again in {interval} s: {lost}")
            deadline = time.monotonic() + interval
            while time.monotonic() < deadline:
                self._orders.check()
                time.sleep(0.1)

    def _phases(self, tables: Sequence[Table]) -> str:
        with ExitStack() as stack:
            validator = Validator(self._spec, tables, self._conversions, self._board, self._control)
            stack.callback(validator.stop)
            self._load = FullLoad(
                spec=self._spec, mappings=self._mappings, conversions=self._conversions, board=self._board,
                orders=self._orders, policies=self._policies, control=self._control,
            )  # fmt: skip
            if not self._spec.streams:
                return self._load_only(tables, validator)
            try:
                target = stack.enter_context(closing(sessions.connect(self._spec.target, "apply")))
            except psycopg.Error as error:
                raise Interrupted(f"Connecting to the target failed: {error}") from error
            target.execute(f"SET statement_timeout = '{self._spec.target.seconds('ExecuteTimeout', 60)}s'".encode())
            streaming = self._streaming(stack, target, tables, validator)
            stop = self._up_to_the_stream(tables, streaming)
            if stop is not None:
                return stop
            if not self._spec.loads:
                for table in tables:
                    self._board.table(table, state="Table completed")
            validator.start()
            return self._stream(streaming, target, validator, tables)

    def _streaming(
        self, stack: ExitStack, target: sessions.Connection, tables: Sequence[Table], validator: Validator
    ) -> Streaming:
        known = self._checkpoint.known
        position = start_position(self._spec.cdc_start_position)
        applied = max(int(known.get("applied") or 0), self._control.position_applied(target), position)
        capture = capturing.Capture(self._spec.source, known["slot"], applied)
        stack.callback(capture.stop)
        capture.start()
        self._capture = capture
        fatal = self._spec.source.flag("FailTasksOnLobTruncation", False)
        self._apply = Apply(
            target=target, board=self._board, policies=self._policies, control=self._control,
            writer_of=lambda work: streaming.writer_of(work), lob_truncation_fatal=fatal,
        )  # fmt: skip
        streaming = Streaming(
            spec=self._spec, tables=tables, conversions=self._conversions, board=self._board,
            checkpoint=self._checkpoint, orders=self._orders, capture=capture, apply=self._apply, validator=validator,
        )  # fmt: skip
        self._board.measure = streaming.measure
        return streaming

    def _load_only(self, tables: Sequence[Table], validator: Validator) -> str:
        self._full_load(tables, lambda table, lsn: self._checkpoint.save(self._board))
        validator.start()
        while not validator.finished():
            self._orders.check()
            time.sleep(0.05)
        self._checkpoint.save(self._board, phase="done")
        return "FULL_LOAD_ONLY_FINISHED"

    def _up_to_the_stream(self, tables: Sequence[Table], streaming: Streaming) -> str | None:
        """Full load and cached changes; the stop reason where the task is to stop at one of them."""
        phase = self._checkpoint.known["phase"]
        settings = self._spec.section("FullLoadSettings")
        if phase == "load":
            self._full_load(tables, streaming.loaded)
            self._checkpoint.save(self._board, phase="cached")
            if settings.get("StopTaskCachedChangesNotApplied"):
                return "STOPPED_AFTER_FULL_LOAD"
        elif again := [table for table in tables if self._board.state_of(table) == "Table is being reloaded"]:
            self._load.run(again, streaming.loaded)
        if self._checkpoint.known["phase"] == "cached":
            streaming.apply_cached()
            self._checkpoint.save(self._board, phase="cdc")
            if settings.get("StopTaskCachedChangesApplied"):
                return "STOPPED_AFTER_CACHED_EVENTS"
        return None

    def _full_load(self, tables: Sequence[Table], loaded: object) -> None:
        waiting = [table for table in tables if self._board.state_of(table) not in ("Table completed", "Table error")]
        self._board.set(full_load_started=self._board.status["full_load_started"] or now())
        self._load.run(waiting, loaded)  # type: ignore[arg-type]
        self._board.set(full_load_percent=100, full_load_finished=now())

    def _stream(
        self, streaming: Streaming, target: sessions.Connection, validator: Validator, tables: Sequence[Table]
    ) -> str:
        by_name = {(table.schema, table.name): table for table in tables}
        while True:
            self._orders.check()
            for request in self._orders.reloads():
                self._reload(by_name.get((request["schema"], request["table"])), request, streaming, validator)
            for name in self._orders.faults.get("suspend") or []:
                self._suspend(by_name.get(tuple(name.split(".", 1))), target)
            streaming.step()
            self._beats.beat(target, self._apply.applied)
            if past_the_end(self._spec.cdc_stop_position, streaming.last_commit):
                return "NORMAL"

    def _reload(
        self, table: Table | None, request: dict[str, object], streaming: Streaming, validator: Validator
    ) -> None:
        """ReloadTables. The stream waits meanwhile; the task's other tables fall behind for that long."""
        if table is not None and request.get("option") != "validate-only":
            self._board.table(table, state="Table is being reloaded")
            self._checkpoint.save(self._board)
            self._load.run([table], streaming.loaded)
        if table is not None:
            validator.again(table)
        self._checkpoint.save(self._board)

    def _suspend(self, table: Table | None, target: sessions.Connection) -> None:
        if table is not None and not self._board.tables[table.schema, table.name]["suspended"]:
            self._policies.suspend(target, table, "suspended by an injected fault", loading=False)
