"""The crash matrix: every fault at every step of a cutover and of a rollback, before and after its effect.

`make crash`, or `python tests/crash/matrix.py`. Each case leaves a line in `out/results.jsonl`; those that have one for
the code as it is now are not run again. When none is left, `docs/crash-matrix.md` is written from these lines.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cases import STEPS, Case, Result, Runner
from faults import FAULTS, fault
from table import write_table
from victim import why_not_contained

from crossfade.routers.base import Direction

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = HERE / "out" / "results.jsonl"
TABLE = ROOT / "docs" / "crash-matrix.md"


def all_cases() -> list[Case]:
    """The whole matrix."""
    return [
        Case(direction=direction, step=step, after=after, fault=each.name)
        for each in FAULTS
        for step in STEPS
        for after in (False, True)
        for direction in Direction
    ]


def code_hash() -> str:
    """Twelve hex digits that change with the code that is struck and with the code that strikes."""
    digest = hashlib.sha256()
    for place in (ROOT / "include" / "crossfade", ROOT / "lab" / "crossfade_lab", HERE):
        for file in sorted(place.rglob("*")):
            if file.suffix in (".py", ".sql"):
                digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def results(code: str) -> dict[str, dict[str, Any]]:
    """The last line of every case of that code."""
    if not RESULTS.exists():
        return {}
    lines = (json.loads(line) for line in RESULTS.read_text().splitlines())
    return {line["case"]: line for line in lines if line["code"] == code}


def keep(result: Result, code: str) -> None:
    """Append one line."""
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    with RESULTS.open("a") as file:
        file.write(json.dumps({"code": code, **result.as_dict()}) + "\n")


def in_good_order(cases: Iterable[Case], runner: Runner) -> Iterable[Case]:
    """Each time a case that begins on the side that serves, where there is one: no switch in between."""
    left = list(cases)
    while left:
        serving = runner.serving
        case = next((case for case in left if case.direction.old is serving), left[0])
        left.remove(case)
        yield case


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was not run yet; 1 where a case is not ok."""
    parser = argparse.ArgumentParser(prog="make crash ARGS=", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", metavar="WORD", help="cases whose name contains it: forward:fence, :cut")
    parser.add_argument("--again", action="store_true", help="also those that were not ok before")
    parser.add_argument("--share", default="1/1", metavar="K/N", help="the Kth of N shares, for N processes at once")
    parser.add_argument("--patience", type=float, default=1.0, metavar="X", help="promises times X: a slow machine")
    parser.add_argument("--table", action="store_true", help="write the table, however many cases are left to run")
    parser.add_argument("--list", action="store_true", help="name the cases and what became of them, and run none")
    options = parser.parse_args(arguments)
    share, shares = map(int, options.share.split("/"))
    code = code_hash()
    known = results(code)
    wanted = [case for case in all_cases() if options.only in case.name]
    if options.list:
        for case in wanted:
            print(_line(known.get(case.name), case.name))
        return 0
    pending = [case for case in wanted if case.name not in known or (options.again and not known[case.name]["ok"])]
    pending = _possible(pending)[share - 1 :: shares]
    print(f"{len(pending)} of {len(wanted)} cases to run; code {code}", flush=True)
    with Runner(patience=options.patience) as runner:
        for number, case in enumerate(in_good_order(pending, runner), 1):
            result = runner.run(case)
            keep(result, code)
            print(f"{number:4} {_line(result.as_dict(), case.name)}", flush=True)
    known = results(code)
    left = sum(case.name not in known for case in _possible(all_cases()))
    if left and not options.table:
        print(f"{left} cases are left to run before {TABLE.relative_to(ROOT)} is written; --table writes it at once")
    else:
        write_table(TABLE, list(known.values()))
    return int(any(not known[case.name]["ok"] for case in wanted if case.name in known))


def _possible(cases: Sequence[Case]) -> list[Case]:
    """Cases that can be run on this machine; says which can not."""
    if why := why_not_contained():
        print(f"No case of a fault that needs a pid namespace is run: {why}", flush=True)
    return [case for case in cases if not (why and fault(case.fault).contained)]


def _line(result: dict[str, Any] | None, name: str) -> str:
    if result is None:
        return f"{'not run':>8} {name}"
    served = "        -" if result["served_again"] is None else f"{result['served_again']:6.0f} ms"
    text = f"{'ok' if result['ok'] else 'NOT OK':>8} {served} {result['seconds']:5.1f} s  {name}"
    return "\n".join([text, *(f"{'':>15}{reason}" for reason in result["reasons"])])


if __name__ == "__main__":
    sys.exit(main())
