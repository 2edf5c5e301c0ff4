"""The routers of a plan: each kind's keys, what is refused and why, and what the schema says of them."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from crossfade.errors import PlanError
from crossfade.plan import Plan, parse_plan
from crossfade.plan_routers import FileSwitch, PgBouncerRouter, RdsProxyRouter, Route53Router, SecretRouter

SCHEMA = jsonschema.Draft202012Validator(
    json.loads((Path(__file__).parents[3] / "include/migrations/plan.schema.json").read_text(encoding="utf-8"))
)
PGBOUNCER = "{kind: pgbouncer, admin: a, database: b, switch: {file: f}}"
PROXY = "{kind: rds_proxy, proxy: shop-proxy, source: {instance: old}, target: {cluster: new}}"
RECORD = "{kind: route53, zone: Z1, record: db.shop.example}"
PAIR = "{kind: route53, zone: Z1, record: db.shop.example, weighted: {source: old, target: new}}"
SECRET = "{kind: secret, secret: shop/db}"
BY_SFTP = "{kind: pgbouncer, admin: a, database: b, switch: {file: f, via: 'sftp:pool_1'}}"
ON_HOSTS = "{kind: pgbouncer, admin: a, database: b, switch: {file: f, via: ['sftp:pool_1', 'sftp:pool_2', local]}}"
READERS = "{kind: pgbouncer, side: ro, admin: a, database: c, switch: {file: f}, source: r, target: s}"


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


WRITERS = [PGBOUNCER, PROXY, RECORD, PAIR, SECRET, BY_SFTP, ON_HOSTS]
ALSO = [f"{WRITERS[0]}, {readers}" for readers in (READERS, f"{PROXY[:-1]}, side: ro}}", f"{RECORD[:-1]}, side: ro}}")]


@pytest.mark.parametrize("router", [*WRITERS, *ALSO])
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
            "unknown key. Known keys here: aws, kind, secret, side, so",
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
        (BY_SFTP.replace("sftp:pool_1", "scp:pool_1"), "routers.0.switch.via.0", "should match pattern"),
        (BY_SFTP.replace("sftp:pool_1", "sftp:"), "routers.0.switch.via.0", "should match pattern"),
        (BY_SFTP.replace("'sftp:pool_1'", "[]"), "routers.0.switch.via", "at least 1 item"),
        (BY_SFTP.replace("'sftp:pool_1'", "[local, local]"), "routers.0.switch.via", "a host is named twice"),
        (BY_SFTP.replace("via:", "vya:"), "routers.0.switch.vya", "unknown key. Did you mean 'via'?"),
        (READERS.replace("ro", "r"), "routers.0.side", "should be 'rw' or 'ro'"),
        (READERS.replace("side: ro", "side: rw"), "routers.0", "remove them here, or set 'side: ro'"),
        (READERS, "", "every router has 'side: ro'"),
    ],
)
def test_an_error_names_the_key_of_that_kind(router: str, key: str, problem: str) -> None:
    with pytest.raises(PlanError) as caught:
        plan(f"[{router}]")
    assert caught.value.key == key
    assert problem in f"{caught.value.problem}. {caught.value.fix}"


def test_the_examples_in_the_plan_of_the_shop_are_plans() -> None:
    text = (Path(__file__).parents[3] / "include/migrations/shop.yaml").read_text(encoding="utf-8")
    text = text.partition("\nrouters:\n")[2].partition("\nlag:")[0]
    lines = [line for line in text.splitlines() if line.startswith("  # - ") or line.startswith("  #   ")]
    examples = "\n".join(line.removeprefix("  # ") for line in lines)
    found = plan(examples).routers
    assert [router.kind for router in found] == ["pgbouncer", "rds_proxy", "route53", "secret"]
    assert [router.side for router in found] == ["ro", "rw", "rw", "rw"]


def test_the_other_switches_in_the_plan_of_the_shop_are_switches() -> None:
    text = (Path(__file__).parents[3] / "include/migrations/shop.yaml").read_text(encoding="utf-8")
    others = [line.strip().removeprefix("# ") for line in text.splitlines() if line.startswith("    # switch: ")]
    assert len(others) == 3
    for other in others:
        plan(f"[{PGBOUNCER.replace('switch: {file: f}', other.split('  #')[0])}]")


def test_the_connections_by_which_files_are_reached_are_known() -> None:
    (router,) = plan(f"[{ON_HOSTS}]").routers
    assert isinstance(router, PgBouncerRouter) and isinstance(router.switch, FileSwitch)
    assert router.switch.ssh_connections == ("pool_1", "pool_2")
    (router,) = plan(f"[{PGBOUNCER}]").routers
    assert isinstance(router, PgBouncerRouter) and isinstance(router.switch, FileSwitch)
    assert (router.switch.via, router.switch.ssh_connections) == (("local",), ())
