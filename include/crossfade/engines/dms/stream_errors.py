"""What can be wrong with a task of AWS DMS that carries changes from a slot of ours: passing, broken, or lost."""

from __future__ import annotations

from collections.abc import Sequence

from crossfade.engines.dms.statistics import TableStatistics
from crossfade.errors import FatalError, PreconditionError
from crossfade.routers.base import Direction


class NotProvedYet(PreconditionError):
    """Clients went on, and no watermark has come through the stream so far."""

    def __init__(self, *, plan: str, direction: Direction, seen: str) -> None:
        back = direction is Direction.BACK
        starter = f"start_way_back of {plan}.migrate" if back else f"start_way_forward of {plan}.rollback"
        super().__init__(
            f"replication from the {direction.old} to the {direction.new} by AWS DMS is not proved yet: {seen}. "
            f"Wait for the task {starter} and the one after it, or clear them; nothing is lost meanwhile, the slot on "
            f"the {direction.old} keeps every change"
        )


class StreamBroken(PreconditionError):
    """The task does not carry on. All that it has not applied is still in its slot."""

    def __init__(self, *, direction: Direction, reason: str) -> None:
        super().__init__(
            f"replication from the {direction.old} to the {direction.new} by AWS DMS is broken: {reason.rstrip('.')}. "
            f"The slot on the {direction.old} keeps every change until it goes on"
        )


class StreamLost(FatalError):
    """Changes are gone that had not arrived."""

    def __init__(self, *, seen: str, direction: Direction) -> None:
        remedy = (
            "The way back is lost: compare both sides, and keep the target"
            if direction is Direction.BACK
            else "The target can not become current again: give the migration up (the DAG abort with action abandon)"
        )
        super().__init__(f"{seen}. {remedy}")


class SlotGone(StreamLost):
    """The slot does not keep them any more."""

    def __init__(self, *, slot: str, seen: str, direction: Direction) -> None:
        said = f"the slot {slot} on the {direction.old} is {seen}: changes since then are lost"
        super().__init__(seen=said, direction=direction)


class TaskGone(StreamLost):
    """The task was started, and is not there any more: with it went what it knew of the changes it had applied."""

    def __init__(self, *, task: str, direction: Direction) -> None:
        said = (
            f"replication task {task} was started, and AWS DMS has it no more: a new one would apply changes twice "
            "that were applied and not confirmed yet, and would not know of tables that had been suspended"
        )
        super().__init__(seen=said, direction=direction)


class TablesLost(StreamLost):
    """Tables were suspended: the slot has moved on past their changes, and such a task loads nothing again."""

    def __init__(self, *, task: str, tables: Sequence[TableStatistics], direction: Direction) -> None:
        self.tables = tuple(table.full_name for table in tables)
        troubles = "; ".join(f"{table.full_name}: {table.trouble}" for table in tables)
        said = (
            f"replication task {task} goes on without {len(tables)} of its tables, whose changes are lost since then "
            f"({troubles}). The reason of each is in crossfade.awsdms_apply_exceptions on the {direction.new}, and in "
            "the task's log in CloudWatch"
        )
        super().__init__(seen=said, direction=direction)
