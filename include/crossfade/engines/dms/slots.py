"""The replication slot that a task of AWS DMS makes on the source: which it is, and how much it holds back."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg

from crossfade.connect import Connection
from crossfade.engines.dms.records import DmsRecords
from crossfade.errors import FatalError, TransientError
from crossfade.queries import named_queries

_QUERIES = named_queries(__file__)


class SlotLost(FatalError):
    """Changes that were not applied yet are gone."""

    def __init__(self, *, slot: str, seen: str) -> None:
        super().__init__(
            f"the replication slot {slot} of AWS DMS on the source is {seen}: changes are lost to the task. Clear the "
            "task load.start_task, with all that follows: everything is loaded again. Find out what removed it: "
            "max_slot_wal_keep_size, a failover, a person"
        )


class SlotUnknown(TransientError):
    """No slot can be told to be this task's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """DMS's slot."""

    name: str
    active: bool
    bytes_behind: int  #: WAL that it keeps from being removed


def find_slot(source: Connection, records: DmsRecords, role: str) -> Slot:
    """
    The task's slot: the one that was found before, else the one from which DMS's role reads, which is then kept.

    DMS chooses the name, and tells it nowhere. Raises `SlotLost`, `SlotUnknown` (not yet, or several).
    """
    known = records.identifier("slot")
    rows = source.execute(_QUERIES["slots"], {"known": known, "role": role}).fetchall()
    if known is None and len(rows) != 1:
        names = ", ".join(row["name"] for row in rows) or "none"
        raise SlotUnknown(
            f"one replication slot read by DMS's role {role} is expected on the source, seen: {names}. Wait until the "
            "task runs; where several tasks read this database, give each a role of its own"
        )
    if not rows:
        raise SlotLost(slot=str(known), seen="missing")
    row = rows[0]
    if row["wal_status"] == "lost":
        raise SlotLost(slot=row["name"], seen="invalidated (wal_status = lost)")
    if known is None:
        records.keep("slot", row["name"], made=True)
    return Slot(name=row["name"], active=row["active"], bytes_behind=row["bytes_behind"])


def unread_slots(source: Connection) -> list[str]:
    """Logical slots of this database from which nobody reads."""
    return [row["name"] for row in source.execute(_QUERIES["unread"]).fetchall()]


def drop_slot(source: Connection, records: DmsRecords) -> None:
    """Drop the slot where deleting the task has left it; nothing where it is gone. Raises `TransientError`."""
    known = records.identifier("slot")
    if known is None:
        return
    try:
        source.execute(_QUERIES["drop"], {"known": known})
    except psycopg.errors.ObjectInUse as error:
        raise TransientError(
            f"the replication slot {known} on the source is still in use: {error.diag.message_primary}. Run this again"
        ) from error
    records.forget("slot")
