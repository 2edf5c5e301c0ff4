"""The matrix as a page of the documentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cases import STEPS, Case
from faults import FAULTS

from crossfade.routers.base import Direction

INTRODUCTION = """\
# The crash matrix

Written by `make crash`: every fault at every step of the [critical section](architecture.md#the-critical-section),
before and after the step's effect, with clients writing through two PgBouncers. A number is the longest time in
milliseconds that no client's write was acknowledged, from the fault on; for a server or pooler, from when it accepts
connections again.

A case is ok where

- that time keeps the promise of its fault;
- exactly one side lets applications in, both PgBouncers lead there, and a write by way of each arrives there;
- no acknowledged write is lost or doubled by the clients' ledger, over all cases of the same two servers so far;
- by the times of their commits the sides took writes in turn, never both; and both hold the same in the end;
- the journal says what is so, no attempt is left open, and no slot, subscription or fence is left behind;
- the next cutover or rollback succeeds, with clients still writing.
"""


def write_table(path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Replace the page by these results."""
    known = {line["case"]: line for line in lines}
    ok = sum(line["ok"] for line in lines)
    total = len(FAULTS) * len(STEPS) * 4
    parts = [INTRODUCTION, f"Of {total} cases {len(lines)} were run, {ok} of these are ok.\n"]
    parts += ["| fault | what happens | promise |", "|---|---|---:|"]
    parts += [f"| {fault.name} | {fault.what} | {fault.promise:g} s |" for fault in FAULTS]
    for direction in Direction:
        parts += ["", f"## {direction.noun.capitalize()}", "", *_table(direction, known)]
    if wrong := [line for line in lines if not line["ok"]]:
        parts += ["", "## Not ok", "", *(f"- `{line['case']}`: {'; '.join(line['reasons'])}" for line in wrong)]
    path.write_text("\n".join(parts) + "\n")


def _table(direction: Direction, known: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A row for each step, before and after; a column for each fault."""
    rows = ["| step | " + " | ".join(fault.name for fault in FAULTS) + " |", "|---|" + "---:|" * len(FAULTS)]
    for step in STEPS:
        for after in (False, True):
            cases = [Case(direction=direction, step=step, after=after, fault=fault.name) for fault in FAULTS]
            cells = [_cell(known.get(case.name)) for case in cases]
            rows.append(f"| {'after' if after else 'before'} {step} | " + " | ".join(cells) + " |")
    return rows


def _cell(line: Mapping[str, Any] | None) -> str:
    if line is None:
        return ""
    served = "?" if line["served_again"] is None else f"{line['served_again']:.0f}"
    return served if line["ok"] else f"**✗** {served}"
