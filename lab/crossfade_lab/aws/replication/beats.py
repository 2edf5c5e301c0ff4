"""What a streaming task writes now and again: its row in the status table, and the heartbeat on the source."""

from __future__ import annotations

import time
from contextlib import closing, suppress

import psycopg
from psycopg import sql

from crossfade_lab.aws.replication import sessions
from crossfade_lab.aws.replication.board import Board
from crossfade_lab.aws.replication.control_tables import ControlTables
from crossfade_lab.aws.replication.spec import Spec

STATUS_SECONDS = 5.0


class Beats:
    """The two, each in its own rhythm."""

    def __init__(self, spec: Spec, board: Board, control: ControlTables) -> None:
        self._spec, self._board, self._control = spec, board, control
        self._told = self._beaten = float("-inf")  #: time.monotonic()

    def beat(self, target: sessions.Connection, applied: int) -> None:
        """Write what is due.

        :param applied: changes applied so far
        :raises psycopg.Error: the target's session is lost
        """
        if time.monotonic() - self._told > STATUS_SECONDS:
            self._told = time.monotonic()
            position = str(self._board.status["recovery_checkpoint"] or "")
            pending = int(self._board.metrics["CDCIncomingChanges"])
            self._control.status(target, "CHANGE PROCESSING", pending=pending, position=position, applied=applied)
        source = self._spec.source
        if source.flag("HeartbeatEnable", False):
            every = 60 * source.seconds("HeartbeatFrequency", 5)
            if time.monotonic() - self._beaten > every:
                self._beaten = time.monotonic()
                self._write_on_the_source()

    def _write_on_the_source(self) -> None:
        """A row of its own, so that an idle task's slot moves on."""
        schema = str(self._spec.source.settings.get("HeartbeatSchema") or "public")
        table = sql.Identifier(schema, "awsdms_heartbeat")
        with suppress(psycopg.Error), closing(sessions.connect(self._spec.source, "heartbeat")) as source:
            definition = "CREATE TABLE IF NOT EXISTS {} (task text PRIMARY KEY, beat timestamptz NOT NULL)"
            source.execute(sql.SQL(definition).format(table))
            beat = "INSERT INTO {} VALUES (%s, now()) ON CONFLICT (task) DO UPDATE SET beat = now()"
            source.execute(sql.SQL(beat).format(table), [self._spec.task])
