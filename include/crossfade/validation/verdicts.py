"""How a validation that is not ok ends: an error that says what differs, or could not be looked at."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from crossfade.errors import FatalError, PreconditionError, TransientError
from crossfade.journal import MigrationRecord, State
from crossfade.validation.result import CheckResult, Report, TableResult, Verdict

log = logging.getLogger(__name__)


class MismatchFound(FatalError):
    """Source and target differ."""

    def __init__(self, report: Report) -> None:
        self.report, self.mismatches = report, report.problems
        shown = "\n  ".join(self.mismatches[:50])
        super().__init__(
            f"source and target differ in {len(self.mismatches)} places:\n  {shown}\n"
            "For rows: let <plan>.validate repair them or, before the cutover, clear the load task of their wave, "
            "which is copied again, and validate again. For definitions: clear prepare or harden"
        )


class NothingToValidate(PreconditionError):
    """No rows are carried that could be compared."""

    def __init__(self, record: MigrationRecord) -> None:
        super().__init__(
            f"{record.plan.name} is {record.state}: there is something to validate while it is {State.ACTIVE} or "
            f"{State.CUT_OVER}"
        )


class ValidationIncomplete(PreconditionError):
    """Nothing differs of what was compared, but not all could be."""

    def __init__(self, report: Report) -> None:
        self.report = report
        shown = "\n  ".join(report.problems[:50])
        super().__init__(
            f"{len(report.problems)} thing(s) could not be compared; of the others nothing differs:\n  {shown}\n"
            "Put the cause right, then validate again"
        )


class SomeDiffer(FatalError):
    """Checks or tables of a validation that is not concluded: source and target differ."""


class SomeNotCompared(TransientError):
    """Checks or tables of a validation that is not concluded: something could not be looked at."""


class JournalLost(TransientError):
    """The target was lost, whose journal holds what was found so far."""

    def __init__(self, seen: str) -> None:
        super().__init__(
            f"the target, whose journal holds what was found so far, was lost: {seen}. Nothing is known of the rest; "
            "validate again with the same run: it goes on where it was"
        )


def require_ok(report: Report) -> None:
    """Raise `MismatchFound` or `ValidationIncomplete` for any verdict but ok; both carry the report."""
    if report.verdict is Verdict.MISMATCH:
        raise MismatchFound(report)
    if report.verdict is Verdict.INCOMPLETE:
        raise ValidationIncomplete(report)
    rows = sum(table.rows[0] for table in report.tables)
    log.info("%s tables with %s rows are equal, in %.1f s", len(report.tables), rows, report.seconds)


def require_equal(found: Sequence[CheckResult | TableResult]) -> None:
    """Raise `SomeDiffer` or `SomeNotCompared` for what a part of a validation found."""
    worst = Verdict.worst(each.verdict for each in found)
    if worst is not Verdict.OK:
        lines = [line[:1000] for each in found for line in each.problems]
        shown = "\n  ".join(["", *lines[:50], *([f"and {len(lines) - 50} more"] if len(lines) > 50 else [])])
        raise (SomeDiffer if worst is Verdict.MISMATCH else SomeNotCompared)(
            f"source and target differ:{shown}" if worst is Verdict.MISMATCH else f"not everything was compared:{shown}"
        )
