"""A plan is refused with the file, the key and the fix; its hash follows its meaning."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from crossfade.errors import PlanError, PreconditionError
from crossfade.plan import Plan, Tables, load_plan, parse_plan, plans_directory

VALID: Mapping[str, Any] = {
    "source": "shop_source",
    "target": "shop_target",
    "routers": [
        {"kind": "pgbouncer", "admin": "shop_pgbouncer", "database": "shop", "switch": {"file": "/etc/databases.ini"}}
    ],
    "cutover": {"approvers": ["alice"], "application_roles": ["shop_app"]},
}
MISSING = object()


def declared(**changes: Any) -> dict[str, Any]:
    """The valid plan with keys changed, as ``cutover__max_pause="5s"``; MISSING removes one."""
    raw = copy.deepcopy(dict(VALID))
    for path, value in changes.items():
        *sections, key = path.split("__")
        place: Any = raw
        for section in sections:
            place = place[int(section)] if section.isdigit() else place.setdefault(section, {})
        if value is MISSING:
            del place[key]
        else:
            place[key] = value
    return raw


def parsed(**changes: Any) -> Plan:
    return parse_plan(declared(**changes), name="shop")


ARN = "arn:aws:dms:eu-west-1:123456789012:endpoint:A"
DMS = {"instance": {"class": "dms.r6i.large"}, "source": {"connection": "a"}, "target": {"connection": "b"}}


@pytest.mark.parametrize(
    ("changes", "key", "problem", "fix"),
    [
        ({"cutover__max_pauze": "5s"}, "cutover.max_pauze", "unknown key", "Did you mean 'max_pause'?"),
        ({"sources": "x"}, "sources", "unknown key", "Did you mean 'source'?"),
        (
            {"cutover__approvers": MISSING, "cutover__aprovers": ["alice"]},
            "cutover.aprovers",
            "unknown key",
            "Did you mean 'approvers'?",
        ),
        ({"routers__0__swich": {}}, "routers.0.swich", "unknown key", "Did you mean 'switch'?"),
        ({"load__zzz": 1}, "load.zzz", "unknown key", "Known keys here: jobs, slot_timeout, split_larger_than, waves"),
        ({"pgRouter": 1}, "pgRouter", "unknown key", "Did you mean 'routers'?"),
        ({"target": MISSING}, "target", "this key is required", ""),
        ({"cutover__approvers": MISSING}, "cutover.approvers", "this key is required", ""),
        ({"load__waves": 0}, "load.waves", "greater than or equal to 1, got 0", ""),
        ({"load__waves": "many"}, "load.waves", "valid integer", ""),
        ({"load__split_larger_than": "10 giga"}, "load.split_larger_than", "'10 giga' is not a size: write", ""),
        ({"load__split_larger_than": -1}, "load.split_larger_than", "-1 is not a size", ""),
        ({"load__split_larger_than": 0}, "load.split_larger_than", "greater than or equal to 1", ""),
        ({"lag__max_seconds": float("inf")}, "lag.max_seconds", "finite number", ""),
        ({"cutover__max_pause": 5}, "cutover.max_pause", "5 is not a duration: write", ""),
        ({"cutover__max_pause": "9" * 30 + "d"}, "cutover.max_pause", "too long", ""),
        ({"cutover__window": "Mo 08:00-16:00 UTC"}, "cutover.window", "'Mo' is no day of the week", ""),
        ({"cutover__window": []}, "cutover.window", "the list is empty", ""),
        ({"cutover__long_transactions": "kill"}, "cutover.long_transactions", "got 'kill'", ""),
        ({"cutover__hooks": {"bevor": []}}, "cutover.hooks.bevor", "unknown key", "Did you mean 'before'?"),
        ({"cutover__hooks": {"before": [{"sqll": "x"}]}}, "cutover.hooks.before.0", "one of sql, http, dag", ""),
        ({"cutover__hooks": {"before": [{"sql": "x", "dag": "y"}]}}, "cutover.hooks.before.0", "exactly one", ""),
        (
            {"cutover__hooks": {"before": [{"sql": "x", "sid": "target"}]}},
            "cutover.hooks.before.0.sid",
            "unknown key",
            "Did you mean 'side'?",
        ),
        (
            {"cutover__hooks": {"after": [{"sql": "x", "on_failure": "stop"}]}},
            "cutover.hooks.after",
            "nothing left to stop",
            "",
        ),
        (
            {"cutover__hooks": {"before": [{"http": {"url": "/x"}}]}},
            "cutover.hooks.before.0.http",
            "name the connection whose host it is on",
            "",
        ),
        (
            {"cutover__hooks": {"before": [{"http": {"url": "https://x/y", "connection": "c"}}]}},
            "cutover.hooks.before.0.http",
            "with a connection, url is a path",
            "",
        ),
        (
            {"cutover__hooks": {"before": [{"http": {"url": "https://x", "method": "GET", "body": {"a": 1}}}]}},
            "cutover.hooks.before.0.http",
            "GET sends no body",
            "",
        ),
        (
            {"cutover__hooks": {"before": [{"http": {"url": "https://x", "body": {"plan": 1}}}]}},
            "cutover.hooks.before.0.http.body",
            "choose another key",
            "",
        ),
        (
            {"cutover__hooks": {"before": [{"dag": "d", "conf": {"crossfade": 1}}]}},
            "cutover.hooks.before.0.conf",
            "choose another",
            "",
        ),
        ({"cutover__approvers": []}, "cutover.approvers", "at least 1 item", ""),
        ({"cutover__approvers": "alice"}, "cutover.approvers", "valid tuple, got 'alice'", ""),
        ({"tables__include": ["orders"]}, "tables.include", "write schema.table, for example public.orders", ""),
        ({"engine": "magic"}, "engine", "should be 'logical' or 'dms', got 'magic'", ""),
        ({"engine": "dms", "dms": {**DMS, "instanc": "x"}}, "dms.instanc", "unknown key", "Did you mean 'instance'?"),
        ({"engine": "dms", "dms": {**DMS, "source": "orders"}}, "dms.source", "should match pattern", ""),
        (
            {"engine": "dms", "dms": {**DMS, "target": {"conection": "c"}}},
            "dms.target.conection",
            "unknown key",
            "Did you mean 'connection'?",
        ),
        ({"routers": []}, "routers", "at least 1 item", ""),
        ({"routers__0__switch": {"fil": "x"}}, "routers.0.switch.fil", "unknown key", "Did you mean 'file'?"),
        (
            {"routers__0__switch": {"conffile": {"source": "a.ini"}}},
            "routers.0.switch.conffile.target",
            "this key is required",
            "",
        ),
        (
            {"routers__0__switch": {"conffile": {"source": "a", "target": "b", "targt": "b"}}},
            "routers.0.switch.conffile.targt",
            "unknown key",
            "Did you mean 'target'?",
        ),
        ({"routers__0__switch": "file"}, "routers.0.switch", "valid dictionary", ""),
        ({"name": "other"}, "name", "the plan's name is its file's name", "Remove the key"),
    ],
)
def test_an_error_names_the_file_the_key_and_the_fix(changes: dict[str, Any], key: str, problem: str, fix: str) -> None:
    with pytest.raises(PlanError) as caught:
        parse_plan(declared(**changes), name="shop", file="shop.yaml")
    error = caught.value
    assert (error.file, error.key) == ("shop.yaml", key)
    assert problem in error.problem
    assert fix in error.fix
    assert str(error).startswith(f"shop.yaml: {key}: {error.problem}")
    assert isinstance(error, PreconditionError)


def test_several_problems_are_counted() -> None:
    with pytest.raises(PlanError, match=r"\(2 more problem\(s\) after this one\)"):
        parsed(source=MISSING, target=MISSING, engine="magic")


@pytest.mark.parametrize("name", ["Shop", "1shop", "shop-2", "", "s" * 32, "naïve"])
def test_a_name_that_could_not_name_a_slot_is_refused(name: str) -> None:
    with pytest.raises(PlanError, match=r"is no plan name\. Use a-z"):
        parse_plan(declared(), name=name)


def test_a_plan_is_named_after_its_file(tmp_path: Path) -> None:
    (tmp_path / "books.yaml").write_text(yaml.safe_dump(declared()))
    assert load_plan(tmp_path / "books.yaml").name == "books"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"source: [", "not valid YAML"),
        (b"- source", "must hold keys and values"),
        (b"", "must hold keys and values"),
        (b"source: \xff\xfe", "cannot be read"),
        (b"!!python/object/apply:os.system ['true']", "not valid YAML"),
        (b"1: 2", "this key is required"),
    ],
)
def test_a_file_that_is_no_plan_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "shop.yaml").write_bytes(content)
    with pytest.raises(PlanError, match=f"(?s)^shop.yaml: .*{problem}"):
        load_plan(tmp_path / "shop.yaml")


def test_a_missing_file_is_named_with_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSFADE_PLANS", str(tmp_path))
    with pytest.raises(PlanError, match=f"nowhere.yaml: there is no such file in {tmp_path}. Create it"):
        load_plan("nowhere.yaml")


def test_plans_lie_beside_the_package_where_nothing_else_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CROSSFADE_PLANS", raising=False)
    assert (plans_directory() / "shop.yaml").is_file()


def test_one_admin_connection_and_one_database_need_no_list() -> None:
    router = parsed().routers[0]
    assert (router.admin, router.database) == (("shop_pgbouncer",), ("shop",))


def test_exclusion_wins_and_names_are_compared_as_stored() -> None:
    tables = Tables(include=("public.*", "billing.inv*"), exclude=("public.tmp_?",))
    assert tables.selects("public", "Orders")
    assert tables.selects("billing", "invoices")
    assert not tables.selects("billing", "Invoices")
    assert not tables.selects("public", "tmp_1")
    assert tables.selects("public", "tmp_10")
    assert tables.excludes("public", "tmp_1")


def test_a_dot_in_a_table_name_belongs_to_the_table() -> None:
    assert Tables(include=("public.a.b",)).selects("public", "a.b")


def reordered(raw: Any, draw: Any) -> Any:
    if isinstance(raw, dict):
        return {key: reordered(raw[key], draw) for key in draw(st.permutations(sorted(raw)))}
    return [reordered(item, draw) for item in raw] if isinstance(raw, list) else raw


@given(st.data())
def test_the_order_of_keys_does_not_change_the_hash(data: st.DataObject) -> None:
    raw = declared(load__waves=2, load__jobs=3, lag__samples=4)
    assert parse_plan(reordered(raw, data.draw), name="shop").hash == parse_plan(raw, name="shop").hash


@pytest.mark.parametrize(
    "same",
    [
        {"load__waves": 1},
        {"cutover__max_pause": "5000ms"},
        {"load__split_larger_than": 10 * 2**30},
        {"lag__timeout": "1d"},
        {"routers__0__admin": ["shop_pgbouncer"]},
        {"routers__0__switch": {"file": "/etc/databases.ini", "via": "local"}},
    ],
)
def test_writing_the_same_thing_otherwise_does_not_change_the_hash(same: dict[str, Any]) -> None:
    assert parsed(**same).hash == parsed().hash
    assert parsed(**same).difference(parsed()) == []


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"load__waves": 2}, "load.waves: 2 -> 1"),
        ({"cutover__max_pause": "5001ms"}, 'cutover.max_pause: "5.001s" -> "5s"'),
        ({"cutover__approval_timeout": "1000000.5s"}, 'cutover.approval_timeout: "1000000.5s" -> "604800s"'),
        ({"source": "other"}, 'source: "other" -> "shop_source"'),
        ({"source_from_target": "private"}, 'source_from_target: "private" -> null'),
        ({"validate__jobs": 3}, "validate.jobs: 3 -> 2"),
        ({"tables__exclude": ["a.b"]}, 'tables.exclude: ["a.b"] -> []'),
        ({"cutover__application_roles": ["a", "b"]}, 'cutover.application_roles: ["a", "b"] -> ["shop_app"]'),
    ],
)
def test_a_change_of_meaning_changes_the_hash_and_is_named(changes: dict[str, Any], line: str) -> None:
    assert parsed(**changes).hash != parsed().hash
    assert parsed(**changes).difference(parsed()) == [line]


def test_a_plan_pinned_as_json_is_read_again_as_the_same_plan() -> None:
    plan = parsed(cutover__approval_timeout="1000000.5s", load__split_larger_than="3TB", lag__max_bytes=0)
    again = parse_plan(yaml.safe_load(plan.to_json()), name="shop")
    assert again == plan
    assert again.hash == plan.hash


def test_defaults_of_pause_and_lag_are_those_of_the_engine() -> None:
    logical = parse_plan(declared(), name="shop")
    dms = parse_plan(declared(engine="dms", dms=DMS), name="shop")
    assert (logical.cutover.max_pause.total_seconds(), dms.cutover.max_pause.total_seconds()) == (5, 15)
    assert (logical.lag.max_seconds, dms.lag.max_seconds) == (1, 5)
    own = parse_plan(declared(engine="dms", dms=DMS, cutover__max_pause="9s", lag={"samples": 2}), name="shop")
    assert (own.cutover.max_pause.total_seconds(), own.lag.samples, own.lag.max_seconds) == (9, 2, 5)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"engine": "dms"}, "engine: dms needs the section dms"),
        ({"dms": DMS}, "the section dms is only for engine: dms"),
        ({"engine": "dms", "dms": DMS, "load__waves": 2}, "load.waves is for the engine logical"),
        ({"rollback__way_back": "dms"}, "rollback.way_back: dms is only for engine: dms, this plan's is logical"),
        (
            {"engine": "dms", "dms": {**DMS, "source": ARN, "target": ARN}, "rollback__way_back": "dms"},
            "rollback.way_back: dms needs dms.back.source, dms.back.target, dms.back.again: an endpoint",
        ),
        ({"engine": "dms", "dms": {**DMS, "back": {}}}, "the section dms.back is only for rollback.way_back: dms"),
    ],
)
def test_engine_and_its_section_must_agree(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(PlanError, match=rf"^shop\.yaml: {problem}"):
        parse_plan(declared(**changes), name="shop", file="shop.yaml")


@pytest.mark.parametrize(
    "http",
    [
        {"url": "https://bot:s3cret@example.org/x"},
        {"url": "https://example.org/x", "headers": {"authorization": "Bearer s3cret"}},
    ],
)
def test_a_secret_in_a_hook_is_refused_and_not_shown(http: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match="name a connection") as caught:
        parsed(cutover__hooks={"before": [{"http": http}]})
    assert "s3cret" not in str(caught.value)


def test_a_pinned_plan_with_windows_and_hooks_is_read_as_the_same() -> None:
    hooks = {
        "before": [{"sql": "select 1", "side": "target"}, {"dag": "stop_workers", "conf": {"a": [1]}}],
        "after": [{"http": {"url": "/on", "connection": "page", "expect": 204}, "rehearse": True, "timeout": "5s"}],
    }
    plan = parsed(cutover__hooks=hooks, cutover__window=["Mon-Thu 8:00-16:00 UTC", "Sat 00:00-24:00 Europe/Paris"])
    again = parse_plan(json.loads(plan.to_json()), name="shop")
    assert again == plan
    assert again.hash == plan.hash
    assert [hook.dag for hook in plan.cutover.hooks.dags("before")] == ["stop_workers"]


def test_a_transaction_as_old_as_the_budget_of_the_pause_is_always_long() -> None:
    plan = parsed(cutover__long="1min", cutover__max_pause="3s")
    assert plan.cutover.long_transaction == plan.cutover.max_pause
    assert parsed().cutover.long_transaction.total_seconds() == 1


def test_a_way_back_by_dms_needs_no_more_where_endpoints_are_made() -> None:
    plan = parse_plan(declared(engine="dms", dms=DMS, rollback__way_back="dms"), name="shop")
    assert plan.dms is not None
    assert plan.dms.back is None
    assert not plan.goes_natively
    half = {**DMS, "target": ARN, "back": {"source": {"connection": "c"}}}
    parse_plan(declared(engine="dms", dms=half, rollback__way_back="dms"), name="shop")
