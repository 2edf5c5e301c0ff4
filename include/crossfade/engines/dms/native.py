"""Since a rollback the rows of a migration by AWS DMS are carried natively, and DMS has nothing to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.engines.logical.waves import object_name
from crossfade.errors import PreconditionError
from crossfade.journal import MigrationRecord, State

if TYPE_CHECKING:
    from crossfade.migration import Migration

NOTHING_TO_DO = "rows are carried natively since the rollback: nothing to do for AWS DMS"


class CarriedNatively(PreconditionError):
    """AWS DMS has nothing to do in a migration that was rolled back."""

    def __init__(self, *, plan: str, task: str) -> None:
        super().__init__(
            f"{task} was refused: the rows of {plan} are carried natively since the rollback, and the target is "
            "current without AWS DMS. Nothing was changed. To cut over again, go on with the task validate"
        )


def is_native(record: MigrationRecord) -> bool:
    """Whether the source serves again after a rollback, and rows go to the target without AWS DMS."""
    return record.state is State.ACTIVE and record.carrier == "native"


def native_slots(m: Migration) -> list[str]:
    """
    The slots of the source through which rows go natively since a rollback; none where AWS DMS is to carry them.

    Asks the journal alone. Raises `NoMigration`.
    """
    with m.journal() as journal:
        record = journal.get(m.plan.name)
        return [object_name(m.plan.name, wave) for wave in journal.waves(record.id)] if is_native(record) else []
