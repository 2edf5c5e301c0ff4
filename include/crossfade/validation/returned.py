"""After a rollback: is the application back on the source, whole, and is the target kept current again?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from crossfade import catalog
from crossfade.connect import Connection
from crossfade.cutover import decision
from crossfade.cutover.decision import Decision
from crossfade.engines.declared import carrier_of, engine_of
from crossfade.errors import CrossfadeError, FatalError, PreconditionError
from crossfade.journal import Journal, MigrationRecord, State
from crossfade.routers.base import Direction, Side
from crossfade.schema.compare import compare_sequences
from crossfade.validation.clients import led_to
from crossfade.validation.run import definitions

if TYPE_CHECKING:
    from crossfade.migration import Migration

PROOF_SECONDS = 30.0  #: for a watermark's way to the target, right after a rollback


class NotReturned(PreconditionError):
    """There was no rollback, or it is not done."""


class ReturnDoubted(FatalError):
    """The source serves, but something is not as it should be after a rollback."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        shown = "\n  ".join(problems[:50])
        super().__init__(
            f"the application is back, but {len(problems)} thing(s) are not as they should be:\n  {shown}\n"
            "Put that right, then clear this task; keep the target until it is explained"
        )


def confirm_return(m: Migration) -> list[str]:
    """
    After a rollback: definitions equal, sequences at or past the target's, routers on the source, rows flow forward.

    Returns what was confirmed. Raises `NotReturned`, `ReturnDoubted`.
    """
    with m.session(Side.SOURCE, "confirm") as source, m.session(Side.TARGET, "confirm") as target:
        record = Journal(target).get(m.plan.name)
        _require_rollback(m, record, target)
        engine = engine_of(m, source=source, target=target, record=record)
        if record.carrier == "slot":
            carrier_of(m, Direction.BACK, source=source, target=target, record=record).finish()
        stamp = catalog.definition_stamp(source)
        problems = [f"definition: {difference}" for difference in definitions(m, record, source, target)]
        if record.carrier == "slot" and not problems:  # NOT NULL was made anew on the source, with another stamp
            Journal(target).keep_stamp(record.id, stamp)
        problems += [
            f"sequence {behind.identity}: the target was at {behind.on_source}, the source at {behind.on_target}"
            for behind in compare_sequences(target, source, m.plan.tables)
        ]
        problems += [f"router: {elsewhere}" for elsewhere in led_to(m, Side.SOURCE)]
        way = 0.0
        try:
            engine.check()
            way = engine.round_trip(time.monotonic() + PROOF_SECONDS) * 1000
        except CrossfadeError as error:
            problems.append(f"replication to the target: {error}")
    if problems:
        raise ReturnDoubted(problems)
    return [
        "definitions are equal",
        "the source's sequences are at or past the target's",
        "clients are led to the source",
        f"the target is kept current: a watermark took {way:.0f} ms",
    ]


def _require_rollback(m: Migration, record: MigrationRecord, target: Connection) -> None:
    last = decision.newest(target, m.plan.name)
    committed = last is not None and last.direction is Direction.BACK and last.decision is Decision.COMMIT
    if record.state is not State.ACTIVE or not committed:
        raise NotReturned(
            f"there is no rollback of {m.plan.name} to confirm: the migration is {record.state}. Nothing was changed. "
            "Run the task rollback first"
        )
