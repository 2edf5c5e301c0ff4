"""Data validation: rows compared between source and target, by key, chunk by chunk, beside the running task.

Values are compared in the form that DMS gives them: what the types of DMS cannot hold does not show as a difference.
A row that differs is looked at again, since changes are still on their way.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from crossfade_lab.aws.replication import sessions
from crossfade_lab.aws.replication.apply import key_text
from crossfade_lab.aws.replication.board import Board
from crossfade_lab.aws.replication.catalog import Column, Table
from crossfade_lab.aws.replication.control_tables import ControlTables
from crossfade_lab.aws.replication.conversion import KB, Conversion, LobPlan, plain
from crossfade_lab.aws.replication.spec import Spec

Key = tuple[str, ...]
_LOOKS = 5  #: a row that differs in so many of them, without being written in between, is a failure
_BETWEEN_SECONDS = 0.4  #: from one look to the next, unless ValidationQueryCdcDelaySeconds is longer
_PAUSE_SECONDS = 0.05
_MOST_CHANGED = 20_000  #: keys remembered for another look
_KEYS = {"uuid": 16}  #: characters that the failures table keeps of a key of this type


@dataclass(slots=True)
class _Progress:
    """What validation knows of one table."""

    passed: bool = False  #: every row was looked at once
    due: float = 0.0  #: time.monotonic() of the next look
    pending: dict[Key, int] = field(default_factory=dict)  #: rows that differ, and in how many looks
    failures: dict[Key, str] = field(default_factory=dict)
    changed: set[Key] = field(default_factory=set)


class Validator:
    """The validation of one task, in a thread of its own."""

    def __init__(
        self,
        spec: Spec,
        tables: Sequence[Table],
        conversions: Mapping[Table, Conversion],
        board: Board,
        control: ControlTables,
    ) -> None:
        self._spec, self._board, self._control = spec, board, control
        self._conversions = conversions
        self._settings = spec.section("ValidationSettings")
        self.enabled = bool(self._settings.get("EnableValidation"))
        self._progress = {table: _Progress() for table in tables if table.key and table.primary_key}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="validation", daemon=True)
        if self.enabled:
            for table in tables:
                state = "Pending validation" if table in self._progress else "No primary key"
                board.table(table, validation_state=state)

    def start(self) -> None:
        """Begin, where the task has validation enabled."""
        if self.enabled:
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(20)

    def changed(self, table: Table, key: Sequence[object]) -> None:
        """A row was written: it is to be looked at (again)."""
        progress = self._progress.get(table)
        if self.enabled and progress is not None:
            with self._lock:
                if len(progress.changed) < _MOST_CHANGED:
                    progress.changed.add(tuple(v.decode() if isinstance(v, bytes) else str(v) for v in key))

    def again(self, table: Table) -> None:
        """Validate a table from the start."""
        if self.enabled and table in self._progress:
            self._board.table(table, validation_state="Pending revalidation")
            with self._lock:
                self._progress[table] = _Progress()

    def finished(self) -> bool:
        """Whether every table has been looked at once."""
        return not self.enabled or all(self._done(table, p) for table, p in self._progress.items())

    def _done(self, table: Table, progress: _Progress) -> bool:
        return (progress.passed and not progress.pending) or self._board.state_of(table) != "Table completed"

    def _work(self) -> None:
        while not self._stopping.wait(_PAUSE_SECONDS * 4):
            try:
                with (
                    closing(sessions.connect(self._spec.source, "validation")) as source,
                    closing(sessions.connect(self._spec.target, "validation")) as target,
                ):
                    while not self._stopping.wait(_PAUSE_SECONDS * 4):
                        for table in list(self._progress):
                            self._attend(table, source, target)
            except psycopg.OperationalError as error:
                self._board.log("VALIDATOR_EXT", "W", f"validation lost a session and begins anew: {error}")
                self._stopping.wait(1)

    def _attend(self, table: Table, source: sessions.Connection, target: sessions.Connection) -> None:
        if self._stopping.is_set() or self._board.state_of(table) != "Table completed":
            return
        progress = self._progress[table]
        if time.monotonic() < progress.due:
            return
        with self._lock:
            changed, progress.changed = progress.changed, set()
        if progress.passed and not changed and not progress.pending:
            return
        look = _Look(self, table, source, target)
        try:
            if not progress.passed:
                self._control.matches_again(target, table.schema, table.name)
                self._board.table(table, validation_state="Pending records", validation_details="first pass")
                differing = look.everything()
            else:
                differing = look.these({*progress.pending, *changed, *progress.failures})
            if not self._stopping.is_set():
                self._judge(progress, look, differing, changed)
        except psycopg.OperationalError:
            raise
        except psycopg.Error as error:
            progress.passed, progress.pending = True, {}
            self._board.log("VALIDATOR_EXT", "E", f"{table.full_name}: {error}")
            self._board.table(table, validation_state="Table error", validation_details=str(error)[:200])

    def _judge(self, progress: _Progress, look: _Look, differing: Mapping[Key, str], changed: Collection[Key]) -> None:
        """Enter what has differed for long enough; a row that was written meanwhile begins anew."""
        progress.passed = True
        most = int(self._settings.get("TableFailureMaxCount") or 1000)
        looks = {key: 1 if key in changed else progress.pending.get(key, 0) + 1 for key in differing}
        progress.failures = {key: kind for key, kind in progress.failures.items() if key in differing}
        progress.pending = {k: n for k, n in looks.items() if n < _LOOKS and k not in progress.failures}
        for key, count in looks.items():
            if count >= _LOOKS and key not in progress.failures and len(progress.failures) < most:
                progress.failures[key] = differing[key]
                look.enter(self._control, key, differing[key])
        delay = float(self._settings.get("ValidationQueryCdcDelaySeconds") or 0)
        progress.due = time.monotonic() + max(delay, _BETWEEN_SECONDS)
        self._show(look.table, progress, most)

    def _show(self, table: Table, progress: _Progress, most: int) -> None:
        kinds = Counter(progress.failures.values())
        state = "Mismatched records" if progress.failures else "Validated"
        details = ", ".join(f"{kind}: {count}" for kind, count in sorted(kinds.items())) or None
        if len(progress.failures) >= most:
            state, details = "Error", f"{most} failures or more, as many as TableFailureMaxCount allows"
        elif progress.pending:
            state = "Pending records"
        self._board.table(
            table,
            validation_state=state,
            validation_details=details,
            validation_pending=len(progress.pending),
            validation_failed=len(progress.failures),
        )

    def expressions(self, table: Table) -> list[sql.Composable]:
        """What is compared of a row."""
        conversion = self._conversions[table]
        part = int(self._settings.get("ValidationPartialLobSize") or 0) * KB
        found: list[sql.Composable] = []
        for column in table.migrated:
            if column.unbounded_numeric:  # the stream rounds, whatever the load does
                found.append(sql.SQL("round({}, 6)").format(sql.Identifier(column.name)))
            elif not column.lob:
                found.append(conversion.loaded(column))
            elif not self._settings.get("SkipLobColumns") and conversion.lobs.mode != "none":
                limit = part or (conversion.lobs.limit if conversion.lobs.mode == "limited" else 0)
                whole = Conversion(lobs=LobPlan(mode="limited", limit=limit), booleans_kept=True, numerics_kept=True)
                found.append(whole.loaded(column) if limit else plain(column))
        return found

    @property
    def chunk(self) -> int:
        """Rows of a chunk."""
        return int(self._settings.get("PartitionSize") or 10_000)

    @property
    def bytewise(self) -> bool:
        """Whether keys are ordered by bytes: HandleCollationDiff."""
        return bool(self._settings.get("HandleCollationDiff"))

    def wait(self) -> bool:
        """A pause between chunks; True when it is time to end."""
        return self._stopping.wait(_PAUSE_SECONDS)


class _Look:
    """The comparison of one table's rows through two sessions."""

    def __init__(
        self, validator: Validator, table: Table, source: sessions.Connection, target: sessions.Connection
    ) -> None:
        self.table, self._source, self._target = table, source, target
        self._validator = validator
        columns = {column.name: column for column in table.columns}
        self._columns: list[Column] = [columns[name] for name in table.key]
        key = [self._ordered(column) for column in self._columns]
        texts = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in table.key)
        compared = sql.SQL(", ").join(validator.expressions(table))
        self._key = sql.SQL("ROW({})").format(sql.SQL(", ").join(key))
        self._order = sql.SQL(", ").join(key)
        self._select = sql.SQL("SELECT {}, md5(ROW({})::text) FROM ONLY {} WHERE ").format(texts, compared, table.sql)

    def _ordered(self, column: Column) -> sql.Composable:
        name = sql.Identifier(column.name)
        collated = self._validator.bytewise and column.type in ("varchar", "bpchar", "name")
        return sql.SQL('{} COLLATE "C"').format(name) if collated else name

    def enter(self, control: ControlTables, key: Key, kind: str) -> None:
        """Enter a row in the table of failures; some types of keys are cut there."""
        values = zip(self._columns, key, strict=True)
        shown = key_text([value[: _KEYS.get(column.type, len(value))] for column, value in values])
        control.mismatch(self._target, self.table.schema, self.table.name, shown, kind, "")

    def everything(self) -> dict[Key, str]:
        """All rows, chunk by chunk; the keys that differ, with how."""
        found: dict[Key, str] = {}
        after: Key | None = None
        while not self._validator.wait():
            lower = sql.SQL("{} > {}").format(self._key, self._row(after)) if after else sql.SQL("true")
            limit = sql.SQL(" ORDER BY {} LIMIT {}").format(self._order, self._validator.chunk)
            ours = self._rows(self._source, lower + limit)
            last = len(ours) < self._validator.chunk
            if not last:
                after = list(ours)[-1]
                lower += sql.SQL(" AND {} <= {}").format(self._key, self._row(after))
            found |= _differences(ours, self._rows(self._target, lower))
            if last:
                break
        return found

    def these(self, keys: Iterable[Key]) -> dict[Key, str]:
        """Some rows, by their keys."""
        wanted = sorted(keys)
        found: dict[Key, str] = {}
        for start in range(0, len(wanted), 500):
            rows = sql.SQL(", ").join(self._row(key) for key in wanted[start : start + 500])
            condition = sql.SQL("{} IN ({})").format(self._key, rows)
            found |= _differences(self._rows(self._source, condition), self._rows(self._target, condition))
        return found

    @staticmethod
    def _row(key: Key) -> sql.Composable:
        return sql.SQL("ROW({})").format(sql.SQL(", ").join(map(sql.Literal, key)))

    def _rows(self, connection: sessions.Connection, condition: sql.Composable) -> dict[Key, Any]:
        rows = connection.execute(self._select + condition)
        return {tuple(row[:-1]): row[-1] for row in rows}


def _differences(source: Mapping[Key, Any], target: Mapping[Key, Any]) -> dict[Key, str]:
    found: dict[Key, str] = {}
    for key, value in source.items():
        if key not in target:
            found[key] = "MISSING_TARGET"
        elif target[key] != value:
            found[key] = "RECORD_DIFF"
    for key in target:
        if key not in source:
            found[key] = "MISSING_SOURCE"
    return found
