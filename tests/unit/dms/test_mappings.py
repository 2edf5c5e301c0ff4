"""Table mappings: every table exactly once, whatever its name, with its limit and its ranges."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.catalog import Table
from crossfade.engines.dms.lobs import LobLimit, Mode
from crossfade.engines.dms.mappings import Mappings, MappingsRefused, table_mappings
from crossfade.engines.dms.names import addressable, pattern
from crossfade.engines.dms.ranges import TableRanges

AWKWARD = ["Order Items", "select", 'naïve"quote', "a_b", "a_b%c", "set[x]", "%", "_"]
NAMES = st.text(st.sampled_from('ab_%[]"X é'), min_size=1, max_size=6)


def table(name: str, schema: str = "public") -> Table:
    return Table(
        oid=1, schema=schema, name=name, owner="o", root=(schema, name), replica_identity="d", key=("id",),
        relfilenode=1, bytes=1, rows_estimate=1, pages=1, columns=(),
    )  # fmt: skip


def limit(name: str, mode: Mode = "limited", kb: int = 48) -> LobLimit:
    return LobLimit(
        schema="public", name=name, mode=mode, limit_kb=kb, columns=1, largest_column="note", largest_bytes=1
    )


def rules(mappings: Mappings, kind: str) -> list[dict[str, Any]]:
    return [rule for rule in json.loads(mappings.to_json())["rules"] if rule["rule-type"] == kind]


def matches(wildcards: str, name: str) -> bool:
    """What the user guide says about wildcards, read independently: %, _ and [set]."""
    tokens = re.findall(r"\[(.)\]|(%)|(_)|(.)", wildcards, re.S)
    expression = "".join(re.escape(s or c) if s or c else ".*" if many else "." for s, many, _, c in tokens)
    return re.fullmatch(expression, name, re.S) is not None


@given(name=NAMES, other=NAMES)
def test_a_pattern_matches_its_name_and_no_other(name: str, other: str) -> None:
    assert matches(pattern(name), name)
    assert matches(pattern(name), other) == (name == other)


def test_awkward_names_are_selected_as_they_are() -> None:
    selections = rules(table_mappings([table(n) for n in AWKWARD], lobs=[], ranges=[]), "selection")
    for name, rule in zip(AWKWARD, selections, strict=True):
        locator = rule["object-locator"]
        if addressable("public", name):
            assert rule["rule-action"] == "explicit"
            assert locator == {"schema-name": "public", "table-name": name}
        else:
            assert rule["rule-action"] == "include"
            assert [n for n in AWKWARD if matches(locator["table-name"], n)] == [name]


def test_limits_and_ranges_of_a_table_share_a_rule() -> None:
    split = TableRanges(schema="public", name="Order Items", column="id", boundaries=("10", "20"))
    mappings = table_mappings([table("Order Items"), table("b")], lobs=[limit("Order Items")], ranges=[split])
    (settings,) = rules(mappings, "table-settings")
    assert settings["object-locator"] == {"schema-name": "public", "table-name": "Order Items"}
    assert settings["lob-settings"] == {"mode": "limited", "bulk-max-size": "48"}
    assert settings["parallel-load"] == {"type": "ranges", "columns": ["id"], "boundaries": [["10"], ["20"]]}


def test_full_is_unlimited_and_inline_is_left_to_the_task() -> None:
    lobs = [limit("one", "full", 0), limit("two", "inline", 64)]
    settings = rules(table_mappings([table("one"), table("two")], lobs=lobs, ranges=[]), "table-settings")
    assert [rule["object-locator"]["table-name"] for rule in settings] == ["one"]
    assert settings[0]["lob-settings"] == {"mode": "unlimited", "bulk-max-size": "0"}


def test_our_own_tables_are_carried_in_the_limited_mode() -> None:
    mappings = table_mappings([table("a")], lobs=[], ranges=[], also=[("crossfade", "watermark_shop")])
    assert len(rules(mappings, "selection")) == 2
    (settings,) = rules(mappings, "table-settings")
    assert settings["object-locator"] == {"schema-name": "crossfade", "table-name": "watermark_shop"}
    assert settings["lob-settings"]["mode"] == "limited"


@given(names=st.lists(NAMES, unique=True, min_size=1, max_size=20))
def test_rules_are_numbered_without_repetition(names: list[str]) -> None:
    lobs = [limit(name) for name in names if addressable("public", name)]
    mappings = table_mappings([table(name) for name in names], lobs=lobs, ranges=[])
    ids = [rule.rule_id for rule in mappings.rules]
    assert ids == [str(n) for n in range(1, len(ids) + 1)]
    assert len(ids) == len(names) + len(lobs)


def test_a_plan_that_selects_nothing_is_refused() -> None:
    with pytest.raises(MappingsRefused, match="selects no table"):
        table_mappings([], lobs=[], ranges=[], also=[("crossfade", "watermark_shop")])


def test_a_table_twice_is_refused() -> None:
    with pytest.raises(MappingsRefused, match=r"public\.a is selected more than once"):
        table_mappings([table("a"), table("a")], lobs=[], ranges=[])


def test_what_was_measured_of_another_table_is_refused() -> None:
    with pytest.raises(MappingsRefused, match=r"public\.gone was measured"):
        table_mappings([table("a")], lobs=[limit("gone")], ranges=[])


def test_settings_for_a_name_with_a_percent_sign_are_refused() -> None:
    with pytest.raises(MappingsRefused, match="percent sign"):
        table_mappings([table("a%")], lobs=[limit("a%")], ranges=[])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rule-id": "x"}, "rule-id"),
        ({"rule-action": "exclude"}, "rule-action"),
        ({"object-locator": {"schema-name": "public"}}, "table-name"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_document_that_is_not_ours_is_refused(change: dict[str, Any], says: str) -> None:
    document = json.loads(table_mappings([table("a")], lobs=[], ranges=[]).to_json())
    assert Mappings.model_validate(document).rules
    document["rules"][0].update(change)
    with pytest.raises(ValueError, match=says):
        Mappings.model_validate(document)
