"""The assessment as a whole: nothing found where nothing is wrong, nothing changed, no failure swallowed."""

import json
from dataclasses import replace

import pytest
from rich.console import Console

from crossfade.assess import CHECKS, Check, Severity, checks_for
from crossfade_lab.postgres import PostgresServer

from .conftest import Stage

_CATALOGS = ("pg_class", "pg_namespace", "pg_proc", "pg_subscription", "pg_publication", "pg_replication_origin",
             "pg_replication_slots", "pg_authid", "pg_auth_members", "pg_database", "pg_db_role_setting", "pg_type",
             "pg_shdepend", "pg_depend", "pg_attribute", "pg_default_acl", "pg_prepared_xacts")  # fmt: skip

#: what vacuum, statistics and the WAL move by themselves
_MOVING = ["relfrozenxid", "relminmxid", "datfrozenxid", "datminmxid", "relpages", "reltuples", "relallvisible",
           "relallfrozen", "restart_lsn", "confirmed_flush_lsn"]  # fmt: skip


def world(server: PostgresServer) -> dict[str, list[str]]:
    """Everything that the catalogs hold, and the rows of every table."""
    with server.connect("shop") as conn:
        found = {}
        for name in _CATALOGS:
            query = f"SELECT (to_jsonb(c) - %s::text[])::text AS line FROM {name} c ORDER BY 1"  # noqa: S608
            found[name] = [row[0] for row in conn.execute(query, [_MOVING]).fetchall()]
        return found


def test_a_migration_without_problems_has_no_findings_and_nothing_changes(stage: Stage) -> None:
    before = [world(stage.pair.source), world(stage.pair.target)]
    report = stage.report()
    after = [world(stage.pair.source), world(stage.pair.target)]
    assert report.findings == ()
    assert report.not_run == ()
    assert report.ran == len(checks_for(stage.plan()))
    assert after == before


def test_a_route_that_fails_leaves_nothing_behind_either(stage: Stage) -> None:
    before = world(stage.pair.target)
    wrong = replace(stage.endpoints["shop_source"], name="private", password="wrong")
    report = stage.report(stage.plan(source_from_target="private"), private=wrong)
    assert [finding.check for finding in report.blockers] == ["connectivity.source_from_target"]
    assert world(stage.pair.target) == before


def test_its_sessions_cannot_write(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(source: object, target: object) -> object:
        yield target.rows("CREATE TABLE oops (id int)")  # type: ignore[attr-defined]

    check = Check(id="test.write", severity=Severity.NOTE, function=write, needs=("source", "target"))  # type: ignore[arg-type]
    monkeypatch.setitem(CHECKS, "test.write", check)
    finding = stage.report().blockers[0]
    assert (finding.check, finding.object) == ("test.write", "the check itself")
    assert "ReadOnlySqlTransaction" in finding.seen


def test_an_unreachable_target_is_one_finding_and_what_needs_it_is_not_run(stage: Stage) -> None:
    report = stage.report(shop_target=replace(stage.endpoints["shop_target"], port=1))
    assert [(finding.check, finding.object) for finding in report.blockers] == [
        ("connectivity.reachable", "shop_target")
    ]
    not_run = {each.check: each.missing for each in report.not_run}
    assert not_run["target.empty"] == ("target",)
    assert "tables.replica_identity" not in not_run
    assert set(not_run) == {check.id for check in checks_for(stage.plan()) if "target" in check.needs}


def test_an_unreachable_console_and_an_unknown_connection_are_findings(stage: Stage) -> None:
    report = stage.report(
        stage.plan(target_from_source="nowhere"), shop_pgbouncer=replace(stage.endpoints["shop_pgbouncer"], port=1)
    )
    assert [finding.object for finding in report.blockers] == ["nowhere", "shop_pgbouncer"]
    assert {check.split(".")[0] for check in (each.check for each in report.not_run)} >= {"pgbouncer"}


def test_a_check_that_fails_is_a_blocker_and_the_others_go_on(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(plan: object) -> object:
        raise ZeroDivisionError("a bug")
        yield

    check = Check(id="test.broken", severity=Severity.NOTE, function=broken, needs=("plan",))  # type: ignore[arg-type]
    monkeypatch.setitem(CHECKS, "test.broken", check)
    report = stage.report()
    assert [finding.seen for finding in report.blockers] == ["it could not be finished: ZeroDivisionError: a bug"]
    assert report.ran == len(checks_for(stage.plan()))


def test_a_report_is_json_markdown_and_a_table_with_the_blockers_first(stage: Stage) -> None:
    plan = stage.plan(tables={"include": ["nothing.*"]}, target_from_source="nowhere")
    report = stage.report(plan)
    assert [finding.severity for finding in report.findings] == sorted(
        (finding.severity for finding in report.findings), key=list(Severity).index
    )
    assert json.loads(json.dumps(report.to_dict()))["findings"][0]["severity"] == "blocker"
    assert "- **blocker** `tables.selected` `nothing.*`" in report.to_markdown()
    console = Console(width=100, record=True, file=open("/dev/null", "w"))
    report.render(console)
    text = console.export_text()
    assert "tables.selected" in text
    assert report.summary in " ".join(text.split())


def test_every_check_says_what_it_looks_for_and_is_named_by_its_family() -> None:
    for check in CHECKS.values():
        assert check.describe.endswith("."), check.id
        family = check.id.split(".")[0]
        assert family in {"server", check.function.__module__.rsplit(".", 1)[1]}
