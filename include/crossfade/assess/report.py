"""What an assessment found, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from crossfade.assess.registry import Finding, Severity

_ORDER = list(Severity)
_STYLE = {Severity.BLOCKER: "bold red", Severity.WARNING: "bold yellow", Severity.NOTE: "bold cyan"}


@dataclass(frozen=True, kw_only=True, slots=True)
class NotRun:
    """A check that could not be asked."""

    check: str
    missing: tuple[str, ...]  #: the facts that it needs and that are not there


class Report:
    """
    Findings, blockers first, and checks that were not run.

    :param ran: how many checks were run
    """

    def __init__(self, *, plan: str, findings: Iterable[Finding], not_run: Sequence[NotRun] = (), ran: int = 0) -> None:
        self.plan = plan
        self.findings = tuple(sorted(findings, key=lambda finding: _ORDER.index(finding.severity)))
        self.not_run = tuple(not_run)
        self.ran = ran

    @property
    def blockers(self) -> tuple[Finding, ...]:
        """What must be put right before anything is changed."""
        return self.of(Severity.BLOCKER)

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """The findings of one severity."""
        return tuple(finding for finding in self.findings if finding.severity is severity)

    @property
    def summary(self) -> str:
        """One line: ``2 blockers, 1 warning, no notes; 41 checks run, 3 not run``."""
        counts = [_count(len(self.of(severity)), severity.value) for severity in Severity]
        return f"{', '.join(counts)}; {self.ran} checks run, {len(self.not_run)} not run"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "plan": self.plan,
            "ran": self.ran,
            "findings": [asdict(finding) for finding in self.findings],
            "not_run": [{"check": each.check, "missing": list(each.missing)} for each in self.not_run],
        }

    def to_markdown(self) -> str:
        """For a task's log or a gate's body."""
        lines = [f"### Assessment of {self.plan}: {self.summary}", ""]
        for finding in self.findings:
            lines += [f"- **{finding.severity}** `{finding.check}` {_code(finding.object)}: {finding.seen}"]
            lines += ["", *(f"  {part}" for part in ["```", *finding.remedy.splitlines(), "```"]), ""]
        if self.not_run:
            lines += ["Not run, because what they ask could not be reached:", ""]
            lines += [f"- `{each.check}` (needs {', '.join(each.missing)})" for each in self.not_run]
        return "\n".join(lines).rstrip() + "\n"

    def render(self, console: Console) -> None:
        """Print it to a terminal. Remedies stand alone on their lines, so that they can be pasted."""
        for finding in self.findings:
            style = _STYLE[finding.severity]
            console.print(
                Text.assemble((f"{finding.severity:<8}", style), (finding.object, "bold"), f"  {finding.check}")
            )
            console.print(Padding(Text(finding.seen), (0, 0, 0, 8)))
            console.print(Padding(Text(finding.remedy, style="green"), (0, 0, 1, 8)))
        for each in self.not_run:
            console.print(Text.assemble(("not run ", "dim"), each.check, f"  (needs {', '.join(each.missing)})"))
        style = "bold red" if self.blockers else "bold green"
        console.print(Text.assemble((f"{self.plan}: {self.summary}", style)))


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def _code(text: str) -> str:
    return f"`{text}`"
