"""The control tables that DMS keeps on the target, in the schema that ControlTablesSettings names.

Names and columns by the chapter "Control table task settings" and, for validation, "AWS DMS data validation" of the
user guide. A task that only loads has none of them but the exceptions.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from psycopg import sql

from crossfade_lab.aws.replication.sessions import Connection
from crossfade_lab.aws.replication.spec import Spec

_NAMES = "task_name varchar(128) NOT NULL, table_owner varchar(128) NOT NULL, table_name varchar(128) NOT NULL"
_PLACE = "server_name varchar(128) NOT NULL, task_name varchar(128) NOT NULL"
_DEFINITIONS: Mapping[str, str] = {
    "awsdms_apply_exceptions": f"{_NAMES}, error_time timestamp NOT NULL, statement text NOT NULL, error text NOT NULL",
    "awsdms_validation_failures_v1": f"{_NAMES}, failure_time timestamp NOT NULL, key_type varchar(128) NOT NULL, "
    "key varchar(7800) NOT NULL, failure_type varchar(128) NOT NULL, details varchar(7800)",
    "awsdms_status": f"{_PLACE} PRIMARY KEY, task_status varchar(32), status_time timestamp, pending_changes bigint, "
    "disk_swap_size bigint, task_memory bigint, source_current_position varchar(128), "
    "source_current_timestamp timestamp, source_tail_position varchar(128), source_tail_timestamp timestamp, "
    "source_timestamp_applied timestamp",
    "awsdms_suspended_tables": f"{_PLACE}, table_owner varchar(128), table_name varchar(128), "
    "suspend_reason varchar(32), suspend_timestamp timestamp",
    "awsdms_history": f"{_PLACE}, timeslot_type varchar(32), timeslot timestamp, timeslot_duration bigint, "
    "timeslot_latency bigint, timeslot_records bigint, timeslot_volume bigint",
    "awsdms_txn_state": f"{_PLACE} PRIMARY KEY, position_applied bigint NOT NULL",
}


class ControlTables:
    """The control tables of one task, made where they are missing."""

    def __init__(self, spec: Spec) -> None:
        self._task = spec.resource_id
        wanted = spec.section("ControlTablesSettings")
        self._schema = str(wanted.get("ControlSchema") or "public")
        self.kept = {"awsdms_apply_exceptions"}
        if spec.section("ValidationSettings").get("EnableValidation"):
            self.kept.add("awsdms_validation_failures_v1")
        if spec.streams:
            for setting, name in (
                ("StatusTableEnabled", "awsdms_status"),
                ("SuspendedTablesTableEnabled", "awsdms_suspended_tables"),
                ("HistoryTableEnabled", "awsdms_history"),
            ):
                if wanted.get(setting):
                    self.kept.add(name)
            if spec.section("TargetMetadata").get("TaskRecoveryTableEnabled"):
                self.kept.add("awsdms_txn_state")
        self._slot_seconds = 60 * int(wanted.get("HistoryTimeslotInMinutes") or 5)
        self._slot = (time.time(), 0)

    def create(self, target: Connection) -> None:
        """Make what is missing."""
        known = {row[0] for row in target.execute("SELECT nspname FROM pg_namespace")}
        if self._schema not in known:
            target.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(self._schema)))
        for name in sorted(self.kept):
            columns = sql.SQL(_DEFINITIONS[name])
            target.execute(sql.SQL("CREATE TABLE IF NOT EXISTS {} ({})").format(self._named(name), columns))

    def exception(self, target: Connection, schema: str, table: str, statement: str, error: str) -> None:
        """A change that could not be applied."""
        self._insert(
            target, "awsdms_apply_exceptions", schema, table, _utc(), statement[:10_000].replace("\0", ""), error
        )

    def mismatch(self, target: Connection, schema: str, table: str, key: str, kind: str, details: str) -> None:
        """A row that validation found to differ."""
        self._insert(
            target, "awsdms_validation_failures_v1", schema, table, _utc(), "Row", key[:7800], kind, details[:7800]
        )

    def matches_again(self, target: Connection, schema: str, table: str) -> None:
        """A table is validated from the start: what was found before goes."""
        condition = sql.SQL("task_name = %s AND table_owner = %s AND table_name = %s")
        name = self._named("awsdms_validation_failures_v1")
        target.execute(sql.SQL("DELETE FROM {} WHERE {}").format(name, condition), [self._task, schema, table])

    def suspended(self, target: Connection, tables: Mapping[tuple[str, str], str]) -> None:
        """The tables that are out of the task now, with the reason of each."""
        if "awsdms_suspended_tables" not in self.kept:
            return
        name = self._named("awsdms_suspended_tables")
        target.execute(sql.SQL("DELETE FROM {} WHERE task_name = %s").format(name), [self._task])
        for (schema, table), reason in tables.items():
            self._row(target, name, ["localhost", self._task, schema, table, reason[:32], _utc()])

    def status(self, target: Connection, phase: str, *, pending: int, position: str, applied: int) -> None:
        """What the task is doing; called now and again."""
        if "awsdms_status" in self.kept:
            name = self._named("awsdms_status")
            target.execute(sql.SQL("DELETE FROM {} WHERE task_name = %s").format(name), [self._task])
            values = ["localhost", self._task, phase, _utc(), pending, 0, 0, position, _utc(), position, _utc(), _utc()]
            self._row(target, name, values)
        began, counted = self._slot
        if "awsdms_history" in self.kept and time.time() - began >= self._slot_seconds:
            name = self._named("awsdms_history")
            duration = int(time.time() - began)
            self._row(target, name, ["localhost", self._task, phase, _utc(), duration, 0, applied - counted, 0])
            self._slot = (time.time(), applied)

    def position(self, target: Connection, lsn: int) -> None:
        """Enter how far was applied, in the same transaction as what was applied."""
        if "awsdms_txn_state" not in self.kept:
            return
        name = self._named("awsdms_txn_state")
        update = sql.SQL(
            "INSERT INTO {} VALUES ('localhost', %s, %s) ON CONFLICT (task_name) DO UPDATE SET position_applied = %s"
        )
        target.execute(update.format(name), [self._task, lsn, lsn])

    def position_applied(self, target: Connection) -> int:
        """How far was applied, as the target knows it; 0 without that table."""
        if "awsdms_txn_state" not in self.kept:
            return 0
        name = self._named("awsdms_txn_state")
        query = sql.SQL("SELECT position_applied FROM {} WHERE task_name = %s").format(name)
        row = target.execute(query, [self._task]).fetchone()
        return int(row[0]) if row else 0

    def _named(self, name: str) -> sql.Identifier:
        return sql.Identifier(self._schema, name)

    def _insert(self, target: Connection, table: str, *values: object) -> None:
        self._row(target, self._named(table), [self._task, *values])

    @staticmethod
    def _row(target: Connection, name: sql.Identifier, values: list[Any]) -> None:
        places = sql.SQL(", ").join([sql.Placeholder()] * len(values))
        target.execute(sql.SQL("INSERT INTO {} VALUES ({})").format(name, places), values)


def _utc() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
