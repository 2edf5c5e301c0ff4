"""What the gate of a cleanup shows: what would go, whether the way back is still promised, and what is in the way."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from crossfade import catalog, remains
from crossfade.cleanup import of_routers, of_state, promised_for
from crossfade.connect import Connection
from crossfade.cutover.gate_lines import edited, in_the_way
from crossfade.engines.dms.records import DmsRecords
from crossfade.journal import Journal, MigrationRecord
from crossfade.quantities import spoken
from crossfade.routers.base import Side

if TYPE_CHECKING:
    from crossfade.migration import Migration


def gate_body(m: Migration, *, run_id: str, declared: list[str]) -> str:
    """
    What a person needs to decide on a cleanup, as Markdown. Changes nothing.

    :param declared: how the YAML differs from the pinned plan, `Plan.difference`. Raises `NoMigration`, `Unreachable`.
    """
    with m.session(Side.SOURCE, "cleanup") as source, m.session(Side.TARGET, "cleanup") as target:
        record = Journal(target).get(m.plan.name)
        lines = [
            f"**Remove from `{m.source.address}` and `{m.target.address}` everything of the migration "
            f"`{m.plan.name}`.** Plan `{record.plan.hash}`, run `{run_id}`.",
            "",
            *in_the_way([*of_state(record, source), *of_routers(m)], "cleanup"),
            "| | |",
            "|---|---|",
            *_since(record, datetime.now(UTC)),
            f"| row changes on the target since | {_taken(record, target)} |",
            "",
            "**This goes:**",
            *(f"- {line}" for line in _what_goes(m, record, source, target)),
        ]
    lines += [
        *edited(declared),
        "",
        "*Approve*: **there is no way back afterwards**, not even one that loses writes: the source's rows stay as of "
        "now. It stays closed to applications, unless this run was triggered with *reopen_source*. "
        "*Reject*: everything stays as it is; the target's writes go on flowing back to the source.",
    ]
    return "\n".join(lines)


def _since(record: MigrationRecord, now: datetime) -> Iterator[str]:
    if record.cut_over_at is None:
        yield "| the target serves since | unknown: the journal holds no moment of a cutover |"
    else:
        served = spoken(now - record.cut_over_at)
        yield f"| the target serves since | {record.cut_over_at:%Y-%m-%d %H:%M:%S} UTC, {served} ago |"
    window, left = record.plan.rollback.window, promised_for(record, now)
    if record.plan.rollback.way_back == "none":
        yield "| the way back | there is none (`rollback.way_back` is none) |"
    elif left > timedelta(0):
        yield (
            f"| the way back is promised | **for {spoken(left)} more** (`rollback.window` is {spoken(window)}): to "
            "approve gives it up early |"
        )
    else:
        yield f"| the way back is promised | no more: `rollback.window`, {spoken(window)}, has passed |"


def _taken(record: MigrationRecord, target: Connection) -> str:
    if record.writes_at_opening is None:
        return "unknown"
    return f"about {max(catalog.row_changes(target) - record.writes_at_opening, 0):,}, by the server's own statistics"


def _what_goes(m: Migration, record: MigrationRecord, source: Connection, target: Connection) -> Iterator[str]:
    for side, conn in ((Side.SOURCE, source), (Side.TARGET, target)):
        for kind, name in remains.objects_of(conn, m.plan.name):
            yield f"{kind} `{name}` on the {side}"
        if others := remains.others_using(conn, m.plan.name):
            yield f"this plan's rows in the schema `crossfade` of the {side}; it stays, {', '.join(others)} need it"
        else:
            yield f"the schema `crossfade` of the {side}, with the journal; the task's log keeps its rows"
    if m.plan.engine == "dms":
        for kind, name in DmsRecords(target, record.id).made():
            yield f"in AWS: {kind} `{name}`"
        yield "what the roles of AWS DMS were granted"
