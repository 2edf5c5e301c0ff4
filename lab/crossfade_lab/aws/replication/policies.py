"""What happens to errors, by the section ErrorBehavior: its defaults keep a task going and lose data quietly.

By the chapter "Error handling task settings" of the AWS DMS user guide.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from crossfade_lab.aws.replication.board import Board
from crossfade_lab.aws.replication.catalog import Table
from crossfade_lab.aws.replication.control_tables import ControlTables
from crossfade_lab.aws.replication.failures import TableSuspended, TaskFailed
from crossfade_lab.aws.replication.sessions import Connection

_APPLY = {"I": "ApplyErrorInsertPolicy", "U": "ApplyErrorUpdatePolicy", "D": "ApplyErrorDeletePolicy"}


class Policies:
    """The error policies of one task, with the counts that escalate them."""

    def __init__(self, task: str, behaviour: Mapping[str, Any], board: Board, control: ControlTables) -> None:
        self._task = task
        self._behaviour = behaviour
        self._board = board
        self._control = control
        self._errors: Counter[tuple[str, str]] = Counter()
        self._reasons: dict[tuple[str, str], str] = {}

    @property
    def conflicts_ignored(self) -> bool:
        """Whether cached changes may hit rows that the load has brought already, or took away."""
        return bool(self._behaviour.get("FullLoadIgnoreConflicts", True))

    def of_change(self, kind: str) -> str:
        """The policy for a change (I, U, D) that meets the wrong row, or none."""
        return str(self._behaviour.get(_APPLY[kind], "IGNORE_RECORD" if kind == "D" else "LOG_ERROR"))

    @property
    def of_data(self) -> str:
        return str(self._behaviour.get("DataErrorPolicy", "LOG_ERROR"))

    @property
    def of_truncation(self) -> str:
        return str(self._behaviour.get("DataTruncationErrorPolicy", "LOG_ERROR"))

    def change_failed(self, target: Connection, table: Table, policy: str, statement: str, error: str) -> None:
        """Deal with one change that was not applied.

        :raises TableSuspended: the policy, or its escalation, takes the table out
        :raises TaskFailed: the policy ends the task
        """
        if policy == "IGNORE_RECORD":
            self._count(table, "Data", error)
            return
        self._board.log("TARGET_APPLY", "E", f"{table.full_name}: {error} [{statement[:300]}]")
        self._control.exception(target, table.schema, table.name, statement, error)
        self._act(table, policy, error)
        self._count(table, "Apply", error)

    def truncated(self, table: Table, column: str, values: int, fatal: bool) -> None:
        """Values were cut at the limit of the limited LOB mode. Raises like `change_failed`."""
        message = f"{table.full_name}.{column}: {values} value(s) truncated at LobMaxSize"
        self._board.log("TARGET_LOAD", "W", message)
        if fatal:
            raise TaskFailed(f"{message}, and FailTasksOnLobTruncation is set on the source endpoint")
        self._act(table, self.of_truncation, message)

    def _act(self, table: Table, policy: str, error: str) -> None:
        if policy == "SUSPEND_TABLE":
            raise TableSuspended(error)
        if policy == "STOP_TASK":
            raise TaskFailed(f"Task '{self._task}' stopped by an error policy at table {table.full_name}: {error}")

    def _count(self, table: Table, kind: str, error: str) -> None:
        """`DataErrorEscalationCount` and `ApplyErrorEscalationCount`: 0 means without a bound."""
        self._errors[table.full_name, kind] += 1
        most = int(self._behaviour.get(f"{kind}ErrorEscalationCount") or 0)
        if most and self._errors[table.full_name, kind] >= most:
            default = "SUSPEND_TABLE" if kind == "Data" else "LOG_ERROR"
            self._act(table, str(self._behaviour.get(f"{kind}ErrorEscalationPolicy", default)), error)

    def suspend(self, target: Connection, table: Table, reason: str, *, loading: bool) -> None:
        """Take a table out of the task.

        :raises TaskFailed: TableErrorPolicy, or its escalation, ends the task instead
        """
        component = "TARGET_LOAD" if loading else "TARGET_APPLY"
        self._board.log(component, "E", f"Table '{table.schema}'.'{table.name}' was errored/suspended: {reason}")
        self._board.table(table, state="Table error", suspended=True)
        self._reasons[table.schema, table.name] = "Full load error" if loading else "Apply error"
        self._control.suspended(target, self._reasons)
        most = int(self._behaviour.get("TableErrorEscalationCount") or 0)
        if self._behaviour.get("TableErrorPolicy") == "STOP_TASK" or (most and len(self._reasons) >= most):
            raise TaskFailed(
                f"Task '{self._task}' was suspended: table {table.full_name}: {reason} "
                f"(TableErrorPolicy {json.dumps(self._behaviour.get('TableErrorPolicy'))})"
            )

    def restore(self, table: Table) -> None:
        """A table is back in the task."""
        self._reasons.pop((table.schema, table.name), None)
        self._board.table(table, suspended=False)
