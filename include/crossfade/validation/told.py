"""What people are told of a validation that failed, by chat, topic or e-mail: tables and counts, no value of a row."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC

from crossfade.validation.compare import LISTED
from crossfade.validation.report import Summary
from crossfade.validation.result import CheckResult, Report, TableResult, Verdict

PROBLEMS = 10  #: that are listed
_OF_ONE = 3  #: of these, about one table or check, so that one does not hide the others
LINE = 200  #: characters of a line
_ADDRESS = 1000  #: of a link, which is left out where it is longer: a part of it leads nowhere
SUBJECT = 99  #: SNS takes less than a hundred
SLACK_TEXT = 3000  #: characters, as they are sent
SNS_MESSAGE = 256 * 1024  #: bytes, as they are sent

#: What a server adds to what went wrong: it names rows. And what it quotes may be a value.
_ADDED = re.compile(r"\s(DETAIL|HINT|CONTEXT|STATEMENT|WHERE|LINE \d+):.*", re.DOTALL)
_QUOTED = re.compile(r'".*"', re.DOTALL)

Masked = Callable[[str], str]  #: a text without the secrets that are known: asked before anything is shortened


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """What is told, whichever way. No line holds a line break or another control character."""

    headline: str
    facts: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()  #: what an address leads to, and the address
    problems: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """One line of ASCII, at most `SUBJECT` characters."""
        return f"Crossfade: {self.headline}".encode("ascii", "replace").decode()[:SUBJECT]

    @property
    def lines(self) -> list[str]:
        """All of it but the headline."""
        return [
            *self.facts,
            *(f"{name}: {address}" for name, address in self.links),
            *map("- {}".format, self.problems),
        ]


def of_report(report: Report, masked: Masked = str) -> Notice:
    """Of a validation that found something: which tables, and how many rows of each."""
    shown, left = _first_problems(report, masked)
    number = len(shown) + left
    summary = Summary.of(report)
    facts = (
        f"{summary.tables}; {_rows(summary.differing)} differing; mode {report.mode}",
        f"Source: {masked(report.source)}",
        f"Target: {masked(report.target)}",
        f"Ended: {report.finished_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
    )
    return Notice(
        headline=f"validation of {report.plan}: {report.verdict}, {number:,} problem{'' if number == 1 else 's'}",
        facts=tuple(map(one_line, facts)),
        problems=tuple(map(one_line, [*shown, *([f"and {left:,} more"] if left else [])])),
    )


def of_failure(plan: str, error: BaseException | str | None, masked: Masked = str) -> Notice:
    """Of a validation that came to no verdict; None where its task left no word, as when it was killed."""
    if error is None:
        said = "its task left no word: it was killed, or its worker was lost"
    else:
        kind = f"{type(error).__name__}: " if isinstance(error, BaseException) else ""
        said = kind + _without_values(next(iter(masked(str(error)).strip().splitlines()), "no message"))
    return Notice(headline=f"validation of {plan}: failed", facts=(one_line(said),))


def with_links(notice: Notice, links: Iterable[tuple[str, str]]) -> Notice:
    """The notice with addresses of pages; those that are empty are left out."""
    kept = [(name, address) for name, address in links if address and len(address) <= _ADDRESS]
    return replace(notice, links=tuple((name, "".join(address.split())) for name, address in kept))


def as_slack(notice: Notice) -> str:
    """For a message in Slack: no name in it becomes markup, a mention or a command."""
    lines = [line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for line in notice.lines]
    return _fitting([f"*{notice.headline}*", *lines], SLACK_TEXT, len)


def as_text(notice: Notice) -> str:
    """For a message of SNS."""
    return _fitting(
        [notice.headline, *notice.lines],
        SNS_MESSAGE - len(json.dumps({"default": ""})),
        lambda line: len(json.dumps(line)),
    )


def as_html(notice: Notice) -> str:
    """For the body of an e-mail."""
    facts = "<br>".join(map(html.escape, notice.facts))
    links = "<br>".join(f'<a href="{html.escape(address)}">{html.escape(name)}</a>' for name, address in notice.links)
    problems = "".join(f"<li>{html.escape(problem)}</li>" for problem in notice.problems)
    paragraphs = [f"<strong>{html.escape(notice.headline)}</strong>", facts, links]
    body = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs if paragraph)
    return body + (f"<ul>{problems}</ul>" if problems else "")


def one_line(text: str) -> str:
    """Without line breaks and other characters that are not seen, at most `LINE` characters."""
    seen = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return seen if len(seen) <= LINE else seen[: LINE - 1] + "…"


def _first_problems(report: Report, masked: Masked) -> tuple[list[str], int]:
    """The worst first, and the number of those that are left out."""
    worst_first = list(reversed(Verdict))
    found: list[CheckResult | TableResult] = [*report.checks, *report.tables]
    shown: list[str] = []
    number = 0
    for each in sorted(found, key=lambda found: worst_first.index(found.verdict)):
        problems = _problems(each, masked)
        shown += problems[: min(_OF_ONE, PROBLEMS - len(shown))]
        number += len(problems)
    return shown, number - len(shown)


def _problems(found: CheckResult | TableResult, masked: Masked) -> list[str]:
    """Lines of a check, or counts of a table; never none where the verdict is not ok."""
    if found.verdict is Verdict.OK:
        return []
    if isinstance(found, CheckResult):
        return [f"{found.name}: {masked(line)}" for line in found.lines or [found.verdict]]
    lines = []
    if differing := len(found.differences) + found.more:
        lines.append(f"{_rows(differing)} {'differs' if differing == 1 else 'differ'}")
    if moving := len(found.unsettled):
        at_least = "at least " if moving >= LISTED else ""
        lines.append(f"{at_least}{_rows(moving)} kept changing, not once seen equal")
    if found.error:
        lines.append(_without_values(masked(found.error)))
    return [f"{found.table}: {line}" for line in lines or [found.verdict]]


def _rows(number: int) -> str:
    return f"{number:,} row{'' if number == 1 else 's'}"


def _without_values(message: str) -> str:
    return _QUOTED.sub('"…"', _ADDED.sub("", message))


def _fitting(lines: Sequence[str], limit: int, size: Callable[[str], int]) -> str:
    """As many lines as fit; the last one says where some are missing."""
    rest = "and more, in the report"
    left = limit - size(rest) - 1
    kept: list[str] = []
    for line in lines:
        left -= size(line) + 1
        if left < 0:
            return "\n".join([*kept, rest])
        kept.append(line)
    return "\n".join(kept)


__all__ = ["Notice", "as_html", "as_slack", "as_text", "of_failure", "of_report", "one_line", "with_links"]
