"""The routers of a plan: each kind's keys, what is refused and why, and what the schema says of them."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from crossfade.errors import PlanError
from crossfade.plan import Plan, parse_plan
from crossfade.plan_routers import PgBouncerRouter, RdsProxyRouter, Route53Router, SecretRouter

SCHEMA = jsonschema.Draft202012Validator(
    json.loads((Path(__file__).parents[3] / "include/migrations/plan.schema.json").read_text(encoding="utf-8"))
)
PGBOUNCER = "{kind: pgbouncer, admin: a, database: b, switch: {file: f}}"
PROXY = "{kind: rds_proxy, proxy: shop-proxy, source: {instance: old}, target: {cluster: new}}"
RECORD = "{kind: route53, zone: Z1, record: db.shop.example}"
PAIR = "{kind: route53, zone: Z1, record: db.shop.example, weighted: {source: old, target: new}}"
SECRET = "{kind: secret, secret: shop/db}"


def raw(routers: str) -> dict[str, Any]:
    return {
        "source": "shop_source",
        "target": "shop_target",
        "routers": yaml.safe_load(routers),
        "cutover": {"approvers": ["alice"], "application_roles": ["shop_app"]},
    }


def plan(routers: str) -> Plan:
    return parse_plan(raw(routers), name="shop")


def test_each_kind_is_read_as_its_own() -> None:
    routers = plan(f"[{PGBOUNCER}, {PROXY}, {RECORD}, {PAIR}, {SECRET}]").routers
    kinds = [PgBouncerRouter, RdsProxyRouter, Route53Router, Route53Router, SecretRouter]
    assert [type(router) for router in routers] == kinds


@pytest.mark.parametrize("router", [PGBOUNCER, PROXY, RECORD, PAIR, SECRET])
def test_a_plan_is_pinned_and_read_again_as_the_same(router: str) -> None:
    one = plan(f"[{router}]")
    assert parse_plan(json.loads(one.to_json()), name="shop") == one
    SCHEMA.validate(raw(f"[{router}]"))
    SCHEMA.validate(json.loads(one.to_json()))


@pytest.mark.parametrize(
    ("router", "key", "problem"),
    [
        ("{kind: pgpool, admin: a}", "routers.0", "needs 'kind', one of pgbouncer, rds_proxy, route53, secret"),
        ("{proxy: shop-proxy}", "routers.0", "needs 'kind'"),
        ("{kind: [secret]}", "routers.0", "needs 'kind'"),
        ("route53", "routers.0", "needs 'kind'"),
        (f"{PROXY[:-1]}, prox: x}}", "routers.0.prox", "unknown key. Did you mean 'proxy'"),
        (
            f"{SECRET[:-1]}, proxy: x}}",
            "routers.0.proxy",
            "unknown key. Known keys here: aws, kind, secret, so",
        ),
        (f"{SECRET[:-1]}, target: {{prt: 5432}}}}", "routers.0.target.prt", "unknown key. Did you mean 'port'"),
        ("{kind: secret}", "routers.0.secret", "this key is required"),
        ("{kind: secret, secret: a, target: {port: 0}}", "routers.0.target.port", "greater than or equal to 1"),
        ("{kind: rds_proxy, proxy: p, source: {instance: a}}", "routers.0.target", "this key is required"),
        (PROXY.replace("{cluster: new}", "{}"), "routers.0.target", "give either 'instance' or 'cluster'"),
        (PROXY.replace("cluster: new", "cluster: new, instance: new"), "routers.0.target", "give either"),
        (PROXY.replace("{cluster: new}", "{instance: old}"), "routers.0", "source and target are both instance old"),
        (RECORD.replace("Z1", "shop.example."), "routers.0.zone", "should match pattern"),
        (RECORD.replace("db.shop", "db shop"), "routers.0.record", "should match pattern"),
        (f"{PAIR[:-1]}, target: h}}", "routers.0", "remove 'source' and 'target'"),
        (PAIR.replace("target: new", "target: old"), "routers.0.weighted", "the same record 'old'"),
        (f"{RECORD[:-1]}, source: h, target: h}}", "routers.0", "source and target are both h"),
        (f"{RECORD[:-1]}, max_ttl: 60}}", "routers.0.max_ttl", "60 is not a duration"),
    ],
)
def test_an_error_names_the_key_of_that_kind(router: str, key: str, problem: str) -> None:
    with pytest.raises(PlanError) as caught:
        plan(f"[{router}]")
    assert caught.value.key == key
    assert problem in f"{caught.value.problem}. {caught.value.fix}"


def test_the_examples_in_the_plan_of_the_shop_are_plans() -> None:
    text = (Path(__file__).parents[3] / "include/migrations/shop.yaml").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("  # - ") or line.startswith("  #   ")]
    examples = "\n".join(line.removeprefix("  # ") for line in lines)
    assert [router.kind for router in plan(examples).routers] == ["rds_proxy", "route53", "secret"]
