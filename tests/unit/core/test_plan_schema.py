"""The published JSON schema says what the models say."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from crossfade.errors import PlanError
from crossfade.plan import load_plan, parse_plan
from crossfade.plan_schema import plan_schema

MIGRATIONS = Path(__file__).parents[3] / "include" / "migrations"
SCHEMA = json.loads((MIGRATIONS / "plan.schema.json").read_text(encoding="utf-8"))
SCHEMA_ERRORS = jsonschema.Draft202012Validator(SCHEMA)

VALID = """
source: shop_source
target: shop_target
routers: [{kind: pgbouncer, admin: shop_pgbouncer, database: shop, switch: {file: /etc/databases.ini}}]
cutover: {approvers: [alice], application_roles: [shop_app]}
"""
OTHERWISE = {
    "a list of admins": "routers: [{kind: pgbouncer, admin: [a, b], database: [shop, Shop], switch: {file: f}}]",
    "conffiles": "routers: [{kind: pgbouncer, admin: a, database: b, switch: {conffile: {source: s, target: t}}}]",
    "size with a unit": "load: {split_larger_than: 64MB}",
    "size with a blank": "load: {split_larger_than: 64 MB}",
    "size in bytes": "load: {split_larger_than: 1048576}",
    "fractions": "lag: {max_seconds: 0.5, timeout: 1.5h}",
    "milliseconds": "cutover: {approvers: [a], application_roles: [b], max_pause: 800 ms, smoke: [select 1]}",
    "a window": "cutover: {approvers: [a], application_roles: [b], window: 'Mon, Wed-Fri 8:00-16:00 Europe/Paris'}",
    "windows": "cutover: {approvers: [a], application_roles: [b],"
    " window: ['Mon 08:00-16:00 UTC', 'Sat 00:00-24:00 UTC']}",
    "a hook with SQL": "cutover: {approvers: [a], application_roles: [b],"
    " hooks: {before: [{sql: select 1, side: target}]}}",
    "a hook with HTTP": "cutover: {approvers: [a], application_roles: [b], hooks: {after: [{http: {url: 'https://x'}}]}}",
    "statuses of a hook": "cutover: {approvers: [a], application_roles: [b],"
    " hooks: {after: [{http: {url: /x, connection: c, expect: 204}}, {http: {url: 'http://x', expect: [200, 204]}}]}}",
    "a hook with a DAG": "cutover: {approvers: [a], application_roles: [b], hooks: {undone: [{dag: d, conf: {a: 1}}]}}",
    "nothing private": "source_from_target: null",
    "private connections": "source_from_target: a",
    "tables": 'tables: {include: ["public.*"], exclude: []}',
    "somebody told by Slack": "validate: {notify: {slack: s, channel: '#databases'}}",
    "somebody told by SNS": "validate: {notify: [{sns: 'arn:aws:sns:eu-west-1:123456789012:nightly', aws: a}]}",
    "somebody told by e-mail": "validate: {notify: {email: a@b.example, smtp: s, from: c@d.example}}",
    "several told by e-mail": "validate: {notify: [{email: [a@b.example, c@d.example]}]}",
}
BAD = {
    "unknown key": "sauce: a",
    "unknown key of a section": "load: {wave: 1}",
    "unknown key of a switch": "routers: [{kind: pgbouncer, admin: a, database: b, switch: {file: f, path: p}}]",
    "two switches": "routers: [{kind: pgbouncer, admin: a, database: b, switch: {file: f, conffile: {source: s}}}]",
    "no switch": "routers: [{kind: pgbouncer, admin: a, database: b}]",
    "no such router": "routers: [{kind: pgpool, admin: a, database: b, switch: {file: f}}]",
    "no router": "routers: []",
    "no admin": "routers: [{kind: pgbouncer, admin: [], database: b, switch: {file: f}}]",
    "null for a connection": "source: null",
    "empty connection": "target: ''",
    "number for a connection": "source: 5",
    "name": "name: shop",
    "no such engine": "engine: magic",
    "pattern without a schema": "tables: {include: [orders]}",
    "no tables": "tables: {include: []}",
    "pattern that is no list": "tables: {include: public.*}",
    "no waves": "load: {waves: 0}",
    "many waves": "load: {waves: 33}",
    "word for a number": "load: {jobs: two}",
    "size in another unit": "load: {split_larger_than: 64MiB}",
    "negative size": "lag: {max_bytes: -1}",
    "duration without a unit": "lag: {timeout: 24}",
    "duration in another unit": "validate: {settle: 1 minute}",
    "no seconds": "lag: {max_seconds: 0}",
    "no days of a window": "cutover: {approvers: [a], application_roles: [b], window: '08:00-16:00 UTC'}",
    "no zone of a window": "cutover: {approvers: [a], application_roles: [b], window: 'Mon 08:00-16:00'}",
    "no window": "cutover: {approvers: [a], application_roles: [b], window: []}",
    "no such policy": "cutover: {approvers: [a], application_roles: [b], long_transactions: kill}",
    "a hook of nothing": "cutover: {approvers: [a], application_roles: [b], hooks: {before: [{timeout: 5s}]}}",
    "two hooks in one": "cutover: {approvers: [a], application_roles: [b], hooks: {before: [{sql: a, dag: b}]}}",
    "no such method": "cutover: {approvers: [a], application_roles: [b],"
    " hooks: {before: [{http: {url: 'http://x', method: HEAD}}]}}",
    "a timeout of a DAG": "cutover: {approvers: [a], application_roles: [b], hooks: {before: [{dag: a, timeout: 5s}]}}",
    "no approvers": "cutover: {approvers: [], application_roles: [a]}",
    "no roles": "cutover: {approvers: [a]}",
    "no channel": "validate: {notify: {slack: s}}",
    "a channel that is a comment": "validate: {notify: {slack: s, channel: null}}",
    "no topic": "validate: {notify: {sns: 'arn:aws:sqs:eu-west-1:123456789012:nightly'}}",
    "a FIFO topic": "validate: {notify: {sns: 'arn:aws:sns:eu-west-1:123456789012:nightly.fifo'}}",
    "no address": "validate: {notify: {email: team}}",
    "no addresses": "validate: {notify: {email: []}}",
    "a name with the address": "validate: {notify: {email: 'Team <team@b.example>'}}",
    "two ways to be told in one": "validate: {notify: {slack: s, channel: c, email: a@b.example}}",
    "no way to be told": "validate: {notify: {pager: p}}",
    "negative margin": "cutover: {approvers: [a], application_roles: [a], sequence_margin: -1}",
}


def plan(changes: str) -> dict[str, Any]:
    """The valid plan with whole sections replaced."""
    return {**yaml.safe_load(VALID), **yaml.safe_load(changes)}


def test_the_file_is_what_the_models_say_now() -> None:
    assert (MIGRATIONS / "plan.schema.json").read_text(encoding="utf-8") == plan_schema(), "run: make schema"


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_the_name_is_not_a_key() -> None:
    assert "name" not in SCHEMA["properties"]


@pytest.mark.parametrize("file", sorted(MIGRATIONS.glob("*.yaml")), ids=lambda file: file.name)
def test_every_plan_of_the_repository_keeps_to_the_schema_and_names_it(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=plan.schema.json\n")
    SCHEMA_ERRORS.validate(yaml.safe_load(text))
    load_plan(file)


@pytest.mark.parametrize("changes", OTHERWISE.values(), ids=OTHERWISE)
def test_schema_and_models_take_every_way_of_writing(changes: str) -> None:
    SCHEMA_ERRORS.validate(plan(changes))
    parse_plan(plan(changes), name="shop")


@pytest.mark.parametrize("changes", BAD.values(), ids=BAD)
def test_schema_and_models_refuse_a_bad_plan(changes: str) -> None:
    assert not SCHEMA_ERRORS.is_valid(plan(changes))
    with pytest.raises(PlanError):
        parse_plan(plan(changes), name="shop")


@pytest.mark.parametrize("key", ["source", "target", "routers", "cutover"])
def test_schema_and_models_refuse_a_plan_without(key: str) -> None:
    raw = plan("{}")
    del raw[key]
    assert not SCHEMA_ERRORS.is_valid(raw)
    with pytest.raises(PlanError, match=f"{key}: this key is required"):
        parse_plan(raw, name="shop")


def test_a_plan_as_it_is_pinned_keeps_to_the_schema() -> None:
    SCHEMA_ERRORS.validate(json.loads(load_plan(MIGRATIONS / "shop.yaml").to_json()))


def test_the_defaults_shown_are_written_as_in_a_plan() -> None:
    properties = SCHEMA["$defs"]["Cutover"]["properties"]
    assert properties["max_pause"]["default"] == "5s"
    for section in ("Load", "LagThreshold", "Validate", "Cutover"):
        part = {"$defs": SCHEMA["$defs"], **SCHEMA["$defs"][section], "required": []}
        shown = {key: entry["default"] for key, entry in part["properties"].items() if "default" in entry}
        jsonschema.Draft202012Validator(part).validate(shown)
