"""What the gate of a rollback shows: what the target has taken since the cutover, and whether it can come back now."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from crossfade import catalog
from crossfade.cutover import blockers
from crossfade.cutover.gate_lines import edited, in_the_way
from crossfade.cutover.section import opened
from crossfade.errors import CrossfadeError
from crossfade.journal import MigrationRecord, State
from crossfade.quantities import format_size, spoken
from crossfade.routers.base import Direction, Foreseeing

if TYPE_CHECKING:
    from crossfade.cutover.section import Section
    from crossfade.engines.base import Carrier
    from crossfade.migration import Migration


def gate_body(m: Migration, *, run_id: str, declared: list[str]) -> str:
    """
    What a person needs to decide on a rollback, as Markdown. Changes nothing that clients could see.

    Since when the target serves, how much it has taken since, how far behind the source is, what blocks right now, and
    whether the way back is still promised.
    :param declared: how the YAML differs from the pinned plan, `Plan.difference`. Raises `NoMigration`, `Unreachable`.
    """
    with m.journal() as journal:
        record = journal.get(m.plan.name)
    with opened(m, record, Direction.BACK) as section:
        lines = [
            f"**Move `{m.plan.name}` back from `{m.target.address}` to `{m.source.address}`.** "
            f"Plan `{record.plan.hash}`, run `{run_id}`.",
            "",
            *in_the_way([*_of_state(record), *blockers.of_section(section)], "rollback"),
            *(f"**Clients will notice**: {effect}.\n" for effect in _effects(section)),
            "| | |",
            "|---|---|",
            *_since(record, datetime.now(UTC)),
            f"| row changes on the target since | {_taken(record, section)} |",
            f"| way back: a watermark's way to the source | {_lag(section.carrier)} |",
            f"| budget of the pause | {m.plan.cutover.max_pause.total_seconds():g} s |",
        ]
    lines += [
        *edited(declared),
        "",
        "*Approve*: clients are held for a moment and find themselves on the source, with all that was written to the "
        "target; the target is then kept current, so that a later cutover copies nothing. "
        "*Reject*: everything stays as it is; the target serves, and its writes go on flowing back to the source.",
    ]
    return "\n".join(lines)


def _effects(section: Section) -> list[str]:
    """What clients see of routers that cannot hold them."""
    return [router.effect() for router in section.routers if isinstance(router, Foreseeing)]


def _of_state(record: MigrationRecord) -> Iterator[str]:
    if record.state is not State.CUT_OVER:
        yield f"{record.plan.name} is {record.state}: a rollback begins where it is {State.CUT_OVER}"


def _since(record: MigrationRecord, now: datetime) -> Iterator[str]:
    if record.cut_over_at is None:
        yield "| the target serves since | unknown: the journal holds no moment of a cutover |"
        return
    window, served = record.plan.rollback.window, now - record.cut_over_at
    yield f"| the target serves since | {record.cut_over_at:%Y-%m-%d %H:%M:%S} UTC, {spoken(served)} ago |"
    if served < window:
        promise = f"for {spoken(window - served)} more"
    else:
        promise = "**no more**: possible only as long as nothing stands in the way and nobody has cleaned up"
    yield f"| the way back is promised | {promise} (`rollback.window` is {spoken(window)}) |"


def _taken(record: MigrationRecord, section: Section) -> str:
    if record.writes_at_opening is None:
        return "unknown"
    taken = max(catalog.row_changes(section.old) - record.writes_at_opening, 0)
    return f"about {taken:,}, by the server's own statistics"


def _lag(carrier: Carrier) -> str:
    try:
        lag = carrier.lag()
    except CrossfadeError:  # said by the blockers, in words
        return "unknown"
    seconds = "none has arrived" if lag.seconds is None else f"{lag.seconds * 1000:.0f} ms"
    return f"{seconds}, {format_size(lag.bytes)} not yet confirmed"
