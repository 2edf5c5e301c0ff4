"""Since a rollback the rows of a migration by AWS DMS go the way that it has armed: the task that loaded is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.engines.logical.waves import object_name
from crossfade.errors import PreconditionError
from crossfade.journal import MigrationRecord, State

if TYPE_CHECKING:
    from crossfade.migration import Migration

NOTHING_TO_DO = "since the rollback rows go the way that it has armed: nothing to do for the task that loaded them"


class CarriedNatively(PreconditionError):
    """The task that loaded has nothing to do in a migration that was rolled back."""

    def __init__(self, *, plan: str, task: str) -> None:
        super().__init__(
            f"{task} was refused: since the rollback the rows of {plan} go the way that it has armed, and the target "
            "is current without the task that loaded it. Nothing was changed. To cut over again, go on with the task "
            "validate"
        )


def is_native(record: MigrationRecord) -> bool:
    """Whether the source serves again after a rollback, and rows go to the target without the task that loaded it."""
    return record.state is State.ACTIVE and record.carrier != "plan"


def native_slots(m: Migration) -> list[str]:
    """
    The slots of the source through which rows go since a rollback; none where the task that loads is to carry them.

    Asks the journal alone. Raises `NoMigration`.
    """
    with m.journal() as journal:
        record = journal.get(m.plan.name)
        return [object_name(m.plan.name, wave) for wave in journal.waves(record.id)] if is_native(record) else []
