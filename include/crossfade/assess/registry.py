"""The checks of the assessment: how one is written, and the list of all.

A check is a generator that yields a `Problem` for each thing that would go wrong later. It takes the facts that it
needs as parameters of these names: ``plan``, ``source``, ``target``, ``routes``, ``poolers``, ``switches``,
``migration``; with the engine dms also ``sides``, ``ends``, ``aws`` and ``rds`` (see `scene.Scene` and `dms_scene`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from crossfade.plan import Plan


class Severity(StrEnum):
    """What a finding means for the migration."""

    BLOCKER = "blocker"  #: it must be put right first
    WARNING = "warning"  #: it may hurt; somebody should decide
    NOTE = "note"  #: good to know


@dataclass(frozen=True, slots=True)
class Problem:
    """What a check saw; with the check's id and severity it becomes a `Finding`."""

    object: str  #: what it is about: a table, a role, a setting, an instance
    seen: str
    remedy: str  #: pasteable SQL or configuration, or what to do
    severity: Severity | None = field(default=None, kw_only=True)  #: where it differs from the check's


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One result of the assessment."""

    check: str
    severity: Severity
    object: str
    seen: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.check}: {self.object}: {self.seen}. {self.remedy}"


CheckFunction = Callable[..., Iterator[Problem]]

EVERY_ENGINE = frozenset({"logical", "dms"})  #: the values of a plan's key ``engine``
WAY_BACK = frozenset({"way back"})  #: of checks that are asked of every plan whose way back is native
WAY_BACK_BY_DMS = frozenset({"way back by dms"})  #: the same where AWS DMS is to bring rows back


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One question that the assessment asks."""

    id: str
    severity: Severity
    function: CheckFunction
    needs: tuple[str, ...]  #: the facts that the function takes
    engines: frozenset[str] = EVERY_ENGINE  #: it is asked of plans with one of these; see `checks_for`

    @property
    def describe(self) -> str:
        """What it looks for: the first line of its docstring."""
        return (inspect.getdoc(self.function) or self.id).splitlines()[0]


CHECKS: dict[str, Check] = {}  #: by id, in the order of their modules


def checks_for(plan: Plan) -> list[Check]:
    """
    The checks that are asked of that plan, in order.

    What native replication needs is asked of plans with AWS DMS too, where their way back is native: a rollback arms
    the way forward again, natively, and is refused where it cannot.
    """
    concerned: set[str] = {plan.engine}
    if plan.goes_natively:
        concerned.add("logical")
    if plan.rollback.way_back == "native":
        concerned |= WAY_BACK
    if plan.rollback.way_back == "dms":
        concerned |= WAY_BACK_BY_DMS
    return [check for check in CHECKS.values() if concerned & check.engines]


def check(
    id: str, *, severity: Severity, engines: Collection[str] = EVERY_ENGINE
) -> Callable[[CheckFunction], CheckFunction]:
    """
    Register a generator of problems.

    :param id: ``family.what``
    :param engines: those whose plans it concerns, or `WAY_BACK`, `WAY_BACK_BY_DMS`
    """

    def register(function: CheckFunction) -> CheckFunction:
        if id in CHECKS:
            raise ValueError(f"two checks are called {id}")
        needs = tuple(inspect.signature(function).parameters)
        CHECKS[id] = Check(id=id, severity=severity, function=function, needs=needs, engines=frozenset(engines))
        return function

    return register
