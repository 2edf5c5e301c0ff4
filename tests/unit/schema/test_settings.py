"""Stored settings become statements that mean the same."""

from __future__ import annotations

import pytest

from crossfade.schema.settings import list_items, set_clause


@pytest.mark.parametrize(
    ("stored", "items"),
    [
        ("public, billing", ["public", "billing"]),
        ('"$user", "Strange, schema", public', ["$user", "Strange, schema", "public"]),
        ('"a""b",c', ['a"b', "c"]),
        ('""', [""]),
        ("", []),
    ],
)
def test_a_stored_list_is_taken_apart(stored: str, items: list[str]) -> None:
    assert list_items(stored) == items


@pytest.mark.parametrize(
    ("name", "value", "clause"),
    [
        ("search_path", '"$user", public', """SET "search_path" TO '$user', 'public'"""),
        ("search_path", "", """SET "search_path" TO ''"""),
        ("statement_timeout", "5min", """SET "statement_timeout" TO '5min'"""),
        ("DateStyle", "ISO, DMY", """SET "DateStyle" TO 'ISO, DMY'"""),
        ("app.greeting", "it's", """SET "app"."greeting" TO 'it''s'"""),
    ],
)
def test_a_setting_as_a_statement(name: str, value: str, clause: str) -> None:
    assert set_clause(name, value).as_string() == clause
