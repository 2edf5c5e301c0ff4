"""The rehearsal: what a cutover would meet and take right now; clients are held for an instant at most."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from crossfade import catalog, sequences
from crossfade.cutover import blockers
from crossfade.cutover.gate_lines import edited, in_the_way
from crossfade.cutover.hooks import Event, run_hooks
from crossfade.cutover.logins import prove_login
from crossfade.cutover.section import opened
from crossfade.cutover.steps import AFTER_DECISION, BEFORE_DECISION
from crossfade.cutover.tryout import Tried, try_out
from crossfade.errors import CrossfadeError
from crossfade.journal import Journal, MigrationRecord
from crossfade.routers.base import Foreseeing
from crossfade.validation.records import Records
from crossfade.validation.report import as_markdown

if TYPE_CHECKING:
    from crossfade.cutover.section import Section
    from crossfade.engines.base import Carrier
    from crossfade.migration import Migration

_TRIPS = 5
EVENTS: tuple[Event, ...] = ("before", "after", "undone")


@dataclass(frozen=True, kw_only=True, slots=True)
class Rehearsal:
    """What was found. All times in milliseconds."""

    blockers: tuple[str, ...]
    drain_ms: float | None  #: median of a watermark's way through every stream; None where it did not arrive
    sequences_ms: float
    router_ms: float
    definitions_ms: float
    effects: tuple[str, ...] = ()  #: what clients see of routers that cannot hold them, in words
    hooks: tuple[str, ...] = ()  #: how each hook went
    back_ms: float | None = None  #: a watermark's way back; None where that can not run before the cutover
    pause_ms: float | None = None  #: until the transactions under way had finished; None where nobody was held
    held_ms: float | None = None  #: for which clients were held

    @property
    def predicted_ms(self) -> float | None:
        """What was measured, added up; where nobody was held, without the transactions under way then."""
        if self.drain_ms is None:
            return None
        measured = (self.drain_ms, self.sequences_ms, self.router_ms, self.definitions_ms)
        return sum(measured) + (self.back_ms or 0.0) + (self.pause_ms or 0.0)


def rehearse(m: Migration, *, hold: bool = True) -> Rehearsal:
    """
    List what blocks right now, rehearse the hooks, prove the way back, and measure what the pause would contain.

    :param hold: clients are held and let go again at once, where nothing blocks: at most `cutover.rehearsal_pause`
    The outcome is entered in the journal. Nothing else is changed.
    """
    with m.journal() as journal:
        record = journal.writable(m.plan.name, "rehearse")
    with opened(m, record) as section:
        found = [*blockers.of_section(section), *_of_login(m)]
        names = catalog.sequences(section.old)
        outcomes = [outcome for event in EVENTS for outcome in run_hooks(m, event, rehearsal=True)]
        found += [str(outcome) for outcome in outcomes if outcome.problem]
        tried = Tried()
        if not found:
            tried = try_out(section, hold=hold)
            found += tried.problems
        rehearsal = Rehearsal(
            blockers=tuple(found),
            drain_ms=_drain(section.carrier),
            sequences_ms=_ms(lambda: sequences.read(section.old, names)),
            router_ms=_router(section),
            definitions_ms=_ms(lambda: catalog.definition_stamp(section.old)),
            effects=tuple(router.effect() for router in section.routers if isinstance(router, Foreseeing)),
            hooks=tuple(str(outcome) for outcome in outcomes),
            back_ms=tried.back_ms,
            pause_ms=tried.pause_ms,
            held_ms=tried.held_ms,
        )
        if hold:
            section.journal.enter_rehearsal(
                record,
                clean=not rehearsal.blockers,
                predicted_ms=rehearsal.predicted_ms,
                held_ms=rehearsal.held_ms,
                detail="; ".join(rehearsal.blockers),
            )
        return rehearsal


def _of_login(m: Migration) -> list[str]:
    if m.plan.cutover.application is None:
        return []
    try:
        prove_login(m.resolve(m.plan.cutover.application), m.target)
    except CrossfadeError as error:
        return [str(error)]
    return []


def _ms(call: Callable[[], object]) -> float:
    start = time.monotonic()
    call()
    return (time.monotonic() - start) * 1000


def _drain(carrier: Carrier) -> float | None:
    try:
        return statistics.median(carrier.round_trip(time.monotonic() + 5) * 1000 for _ in range(_TRIPS))
    except CrossfadeError:  # said by the blockers, in words
        return None


def _router(section: Section) -> float:
    """One question to every router: about what PAUSE, RELOAD and RESUME each cost where nobody is waited for."""
    try:
        return 3 * max(_ms(router.serving) for router in section.routers)
    except CrossfadeError:  # said by the blockers, in words
        return 0.0


def what_would_happen(m: Migration) -> list[str]:
    """The steps in order, in words."""
    with m.journal() as journal:
        record = journal.get(m.plan.name)
    with opened(m, record) as section:
        return [f"{kind(section).name}: {kind(section).describe()}" for kind in (*BEFORE_DECISION, *AFTER_DECISION)]


def gate_body(m: Migration, *, run_id: str, declared: list[str]) -> str:
    """
    What a person needs to decide, as Markdown: blockers, lag, validation, rows, predicted pause, edits of the YAML.

    :param declared: how the YAML differs from the pinned plan, `Plan.difference`
    """
    rehearsal = rehearse(m, hold=False)
    with m.journal() as journal:
        record = journal.get(m.plan.name)
        lines = [
            f"**Move `{m.plan.name}` from `{m.source.address}` to `{m.target.address}`.** "
            f"Plan `{record.plan.hash}`, run `{run_id}`.",
            "",
            *in_the_way(rehearsal.blockers, "cutover"),
            *(f"**Clients will notice**: {effect}.\n" for effect in rehearsal.effects),
            *_numbers(m, rehearsal),
            *_rehearsed(journal, record),
            *_validation(m, journal, record.id),
        ]
    lines += [
        *edited(declared, "To take it up, clear `prepare`."),
        "",
        "*Approve*: clients "
        + ("lose their sessions, and " if rehearsal.effects else "are held for a moment, and ")
        + "find themselves on the target. "
        "*Reject*: everything stays as it is and the target is kept current; clear this task to be asked again, or run "
        "the DAG `abort` with *abandon* to give the migration up.",
    ]
    return "\n".join(lines)


def _numbers(m: Migration, rehearsal: Rehearsal) -> list[str]:
    predicted, drain = rehearsal.predicted_ms, rehearsal.drain_ms
    return [
        "| | |",
        "|---|---|",
        f"| predicted pause | {'unknown' if predicted is None else f'{predicted:.0f} ms'}, plus the transactions under "
        f"way then (budget {m.plan.cutover.max_pause.total_seconds():g} s) |",
        f"| the way back | {_way_back(m, rehearsal)} |",
        f"| lag: a watermark's way to the target | {'did not arrive in 5 s' if drain is None else f'{drain:.0f} ms'} |",
    ]


def _way_back(m: Migration, rehearsal: Rehearsal) -> str:
    if m.plan.rollback.way_back == "none":
        return "**none: the plan gives it up. After the cutover nothing flows back to the source**"
    if rehearsal.back_ms is not None:
        return f"proved: a watermark took {rehearsal.back_ms:.0f} ms from the target to the source"
    if m.plan.rollback.way_back == "dms":
        made = "not tried, since something stands in the way" if rehearsal.blockers else "its task is made"
        return (
            f"by AWS DMS: {made}. **It is proved only after clients went on**: in the pause its slot is made, which "
            "misses no write; start_way_back then starts it. Until it is proved nobody can go back"
        )
    if rehearsal.blockers:
        return "not tried, since something stands in the way"
    return "its subscription can be made; it is proved in the pause, before traffic opens, or there is no cutover"


def _rehearsed(journal: Journal, record: MigrationRecord) -> list[str]:
    last = journal.last_rehearsal(record)
    wanted = record.plan.cutover.rehearsals
    required = f", of {wanted} that the plan requires" if wanted else ""
    lines = [f"| clean rehearsals of this plan | {journal.clean_rehearsals(record)}{required} |"]
    if last is not None and last["held_ms"] is not None:
        lines.append(
            f"| last rehearsal, {last['at']:%Y-%m-%d %H:%M} UTC | clients were held for {last['held_ms']:.0f} ms; "
            f"it predicted a pause of {last['predicted_ms'] or 0:.0f} ms |"
        )
    return lines


def _validation(m: Migration, journal: Journal, migration: UUID) -> list[str]:
    newest = journal.last_validation(migration)
    if newest is None:
        return ["", "**There is no validation.**"]
    records = Records(journal.conn)
    age = "unknown" if newest.age is None else f"{newest.age.total_seconds() / 60:.0f} min"
    return [
        f"| validation | {'all equal' if newest.equal else '**NOT equal**'}; age {age} |",
        "",
        as_markdown(records.report(records.get(newest.id), m.plan.name)),
    ]
