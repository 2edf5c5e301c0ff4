"""Findings as people and programs read them, and how a check is registered."""

import json
from typing import Any

import pytest

from crossfade.assess.registry import CHECKS, WAY_BACK, WAY_BACK_BY_DMS, Finding, Problem, Severity, check, checks_for
from crossfade.assess.report import NotRun, Report
from crossfade.plan import Plan, parse_plan


def finding(severity: Severity, object: str = "public.orders") -> Finding:
    return Finding(check="tables.x", severity=severity, object=object, seen="no key", remedy="ALTER …;\n-- or not")


def report() -> Report:
    findings = [finding(Severity.NOTE), finding(Severity.BLOCKER, "b"), finding(Severity.BLOCKER, "a")]
    return Report(plan="shop", findings=findings, not_run=[NotRun(check="target.y", missing=("target",))], ran=7)


def test_blockers_come_first_and_keep_their_order() -> None:
    assert [each.object for each in report().findings] == ["b", "a", "public.orders"]
    assert [each.object for each in report().blockers] == ["b", "a"]


def test_the_summary_counts() -> None:
    assert report().summary == "2 blockers, no warnings, 1 note; 7 checks run, 1 not run"


def test_markdown_holds_remedies_that_can_be_pasted_and_what_was_not_run() -> None:
    text = report().to_markdown()
    assert "- **blocker** `tables.x` `b`: no key\n\n  ```\n  ALTER …;\n  -- or not\n  ```\n" in text
    assert "- `target.y` (needs target)" in text


def test_the_dictionary_is_json() -> None:
    data = json.loads(json.dumps(report().to_dict()))
    assert (data["plan"], data["ran"], len(data["findings"])) == ("shop", 7, 3)
    assert data["not_run"] == [{"check": "target.y", "missing": ["target"]}]


def test_a_finding_reads_as_one_sentence_and_its_remedy() -> None:
    assert str(finding(Severity.NOTE)) == "tables.x: public.orders: no key. ALTER …;\n-- or not"


def test_a_check_is_registered_once_and_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossfade.assess.registry.CHECKS", {})
    from crossfade.assess import registry

    @check("family.one", severity=Severity.NOTE)
    def one(source: object, plan: object):  # type: ignore[no-untyped-def]
        """What it looks for."""
        yield Problem("a", "b", "c")

    assert registry.CHECKS["family.one"].needs == ("source", "plan")
    assert registry.CHECKS["family.one"].describe == "What it looks for."
    assert registry.CHECKS["family.one"].engines == {"logical", "dms"}
    with pytest.raises(ValueError, match=r"family\.one"):
        check("family.one", severity=Severity.NOTE)(one)
    assert "family.one" not in CHECKS


def plan(engine: str, way_back: str) -> Plan:
    arn = "arn:aws:dms:eu-west-1:123456789012:"
    dms: dict[str, Any] = {"instance": f"{arn}rep:A", "source": f"{arn}endpoint:B", "target": f"{arn}endpoint:C"}
    if way_back == "dms":
        dms["back"] = {key: f"{arn}endpoint:{key}" for key in ("source", "target", "again")}
    declared: dict[str, Any] = {
        "source": "a",
        "target": "b",
        "engine": engine,
        "routers": [{"kind": "secret", "secret": "s"}],
        "cutover": {"approvers": ["alice"], "application_roles": ["app"]},
        "rollback": {"way_back": way_back},
    }
    return parse_plan(declared | ({"dms": dms} if engine == "dms" else {}), name="shop")


def test_a_check_is_asked_only_of_plans_that_it_concerns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crossfade.assess.registry.CHECKS", {})

    @check("family.both", severity=Severity.NOTE)
    def both():  # type: ignore[no-untyped-def]
        yield

    @check("family.one", severity=Severity.NOTE, engines={"dms"})
    def one():  # type: ignore[no-untyped-def]
        yield

    @check("family.native", severity=Severity.NOTE, engines={"logical"})
    def native():  # type: ignore[no-untyped-def]
        yield

    @check("family.back", severity=Severity.NOTE, engines=WAY_BACK)
    def back():  # type: ignore[no-untyped-def]
        yield

    @check("family.back_by_dms", severity=Severity.NOTE, engines=WAY_BACK_BY_DMS)
    def back_by_dms():  # type: ignore[no-untyped-def]
        yield

    def asked(engine: str, way_back: str) -> list[str]:
        return [each.id.removeprefix("family.") for each in checks_for(plan(engine, way_back))]

    assert asked("logical", "none") == ["both", "native"]
    assert asked("logical", "native") == ["both", "native", "back"]
    assert asked("dms", "none") == ["both", "one"]
    assert asked("dms", "native") == ["both", "one", "native", "back"]
    assert asked("dms", "dms") == ["both", "one", "back_by_dms"]
