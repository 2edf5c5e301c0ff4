"""The slot of one task: made, shown, remembered across starts, and dropped.

It is shown to the API plane, and entered in the checkpoint, before it exists: a worker that is killed at whatever
instant leaves nothing on the source that nobody knows of.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from crossfade_lab.aws.replication import capture, sessions
from crossfade_lab.aws.replication.board import Board, Checkpoint
from crossfade_lab.aws.replication.catalog import Table
from crossfade_lab.aws.replication.failures import TaskFailed
from crossfade_lab.aws.replication.orders import Orders
from crossfade_lab.aws.replication.spec import Spec, read_spec


def release(directory: Path) -> None:
    """Drop what the task has made on the source: its publications, and its slot where it made that itself."""
    known = Checkpoint(directory).known
    if known.get("own_slot"):
        capture.drop(read_spec(directory).source, known["slot"])


class TaskSlot:
    """What a task makes on its source in order to capture changes."""

    def __init__(self, spec: Spec, board: Board, checkpoint: Checkpoint) -> None:
        self._spec, self._board, self._checkpoint = spec, board, checkpoint

    def show(self, slot: str | None) -> None:
        """Tell the API plane at once which slot and publications are the task's; None: there are none yet."""
        self._board.set(slot=slot, publications=list(capture.publications(slot)) if slot else [])
        self._board.publish()

    def show_known(self) -> None:
        """Show what an earlier start has made."""
        self.show(self._checkpoint.known.get("slot"))

    def begin_anew(self) -> None:
        """Drop a slot of an earlier start, and forget how far that came."""
        known = self._checkpoint.known
        if known.get("own_slot"):
            capture.drop(self._spec.source, known["slot"])
        self._checkpoint.forget()

    def publish_ahead(self, source: sessions.Connection, tables: Sequence[Table]) -> None:
        """Publications for a slot that the endpoint names and its owner will make; nothing where it is there already.

        AWS's DMS needs none. With pgoutput they must be older than the slot.

        :raises TaskFailed: the source refuses
        """
        slot = str(self._spec.source.settings.get("SlotName") or "")
        query = "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s"
        if slot and source.execute(query, [slot]).fetchone() is None:
            self._board.set(slot=slot, publications=list(capture.publications(slot)))
            self._board.publish()
            capture.publish(source, slot, tables)

    def _take(self, slot: str, *, own: bool = False) -> None:
        self.show(slot)
        self._checkpoint.save(slot=slot, own_slot=own)

    def make(self, source: sessions.Connection, tables: Sequence[Table], orders: Orders) -> None:
        """Publications, then the slot, then nothing else: what is read from here on comes after it.

        :raises TaskFailed: the source refuses, or the slot that is named has another plugin
        :raises StopRequested: while it waits for transactions that are open on the source
        """
        asked = self._spec.source.settings.get("SlotName") or self._spec.slot_name
        slot = str(asked or capture.new_slot_name(self._spec.resource_id))
        query = "SELECT plugin FROM pg_replication_slots WHERE slot_name = %s"
        existing = source.execute(query, [slot]).fetchone()
        if existing is not None and capture.published(source, slot):  # made anew they would stop the stream for good
            self._take(slot)
            return
        if existing is not None and existing[0] != capture.PLUGIN:
            raise TaskFailed(f"Replication slot {slot} has plugin {existing[0]}; the local DMS reads {capture.PLUGIN}")
        self._take(slot, own=existing is None)
        capture.publish(source, slot, tables)
        if existing is None:
            self._board.log("SOURCE_CAPTURE", "I", f"creating slot {slot}; waiting for open transactions")
            capture.create_slot(self._spec.source, slot, orders.check)
