"""The checks of a validation beside its rows: one result each, whatever becomes of the others."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator

import psycopg

from crossfade.errors import CrossfadeError
from crossfade.validation import definition_checks, large_objects, state_checks
from crossfade.validation.result import CheckResult, Mode, Verdict
from crossfade.validation.sides import BothSides, Check, Line, unseen

CHECKS: tuple[Check, ...] = (
    Check(
        name="schema",
        title="every object is defined the same on both sides",
        function=definition_checks.schema,
    ),
    Check(
        name="keys",
        title="primary keys and replica identities are the same",
        function=definition_checks.keys,
    ),
    Check(
        name="constraints",
        title="constraints are there and validated, indexes valid",
        function=definition_checks.constraints,
    ),
    Check(
        name="roles",
        title="roles, their groups, owners and grants are there",
        function=definition_checks.roles,
    ),
    Check(
        name="sequences",
        title="sequences of the target hand out no number again",
        function=state_checks.sequences,
    ),
    Check(
        name="materialised views",
        title="materialised views are populated where the source's are",
        function=definition_checks.materialised_views,
    ),
    Check(
        name="large objects",
        title="large objects are the same",
        function=large_objects.large_objects,
    ),
    Check(
        name="replication",
        title="rows are carried, and how far behind they are",
        function=state_checks.replication,
    ),
)


def run_checks(sides: BothSides, mode: Mode) -> Iterator[CheckResult]:
    """
    Each check's result, as it is done.

    What a check could not look at makes that one incomplete; a session that was lost is opened again for the next.
    Changes nothing but for a watermark, by which the lag is measured.
    """
    for check in CHECKS:
        yield _run(check, sides, mode)


def _run(check: Check, sides: BothSides, mode: Mode) -> CheckResult:
    start = time.monotonic()
    lines: list[Line] = []
    note = ""
    try:
        sides.require_sessions()
        note = _gather(check.function(sides, mode), lines)
    except (CrossfadeError, psycopg.Error) as error:
        lines.append(unseen(_said(error)))
    return CheckResult(
        name=check.name,
        title=check.title,
        verdict=Verdict.worst(line.verdict for line in lines),
        lines=tuple(line.text for line in lines),
        note=note,
        seconds=time.monotonic() - start,
    )


def _gather(found: Generator[Line, None, str], lines: list[Line]) -> str:
    """Take what comes, into a list that outlives an error; the note."""
    while True:
        try:
            lines.append(next(found))
        except StopIteration as done:
            return str(done.value)


def _said(error: Exception) -> str:
    """In one line; of a server's error only what it says first."""
    if not isinstance(error, psycopg.Error):
        return " ".join(str(error).split())
    text = f"could not be looked at: {error.diag.message_primary or ' '.join(str(error).split())}"
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        text += ". docs/privileges lists what the role of a side needs"
    return text


__all__ = ["CHECKS", "BothSides", "run_checks"]
