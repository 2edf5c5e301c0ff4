"""Small decisions about which entries of an archive are run."""

from __future__ import annotations

import pytest

from crossfade.schema.archive import Entry
from crossfade.schema.harden import _completes_a_view, _not_valid, _rank
from crossfade.schema.restore import _comments_an_extension


def entry(kind: str, sql: str = "", *, dump_id: int = 1, needs: frozenset[int] = frozenset()) -> Entry:
    return Entry(
        dump_id=dump_id,
        catalog=0,
        oid=0,
        kind=kind,
        section="post-data",
        needs=needs,
        system=False,
        label=kind,
        owner="o",
        sql=sql,
    )


def test_an_extensions_own_comment_is_left_to_the_extension() -> None:
    made = {number: entry(kind, dump_id=number) for number, kind in ((1, "EXTENSION"), (2, "TABLE"))}
    assert _comments_an_extension(entry("COMMENT", dump_id=3, needs=frozenset({1})), made)
    assert not _comments_an_extension(entry("COMMENT", dump_id=3, needs=frozenset({2, 9})), made)


KEY = "ALTER TABLE ONLY a\n    ADD CONSTRAINT b FOREIGN KEY (c) REFERENCES d(e)"


@pytest.mark.parametrize(
    ("given", "run"),
    [
        (f"{KEY};\n", f"{KEY} NOT VALID;"),
        (f"{KEY} NOT VALID;\n", f"{KEY} NOT VALID;\n"),
        (f"{KEY} NOT ENFORCED;\n", f"{KEY} NOT ENFORCED;\n"),
        (KEY.replace("ONLY ", "") + ";\n", KEY.replace("ONLY ", "") + ";\n"),  # of a partitioned table
    ],
)
def test_a_foreign_key_is_first_made_without_its_check_of_old_rows(given: str, run: str) -> None:
    assert _not_valid(entry("FK CONSTRAINT", given)) == run


def test_only_foreign_keys_are_made_without_a_check() -> None:
    check = "ALTER TABLE ONLY a ADD CONSTRAINT b CHECK (c > 0);\n"
    assert _not_valid(entry("CHECK CONSTRAINT", check)) == check


def test_indexes_come_before_foreign_keys_before_triggers_before_comments() -> None:
    kinds = ["COMMENT", "EVENT TRIGGER", "TRIGGER", "FK CONSTRAINT", "INDEX"]
    assert sorted(kinds, key=lambda kind: _rank(entry(kind))) == kinds[::-1]


def test_the_rule_that_completes_a_view_comes_with_the_indexes() -> None:
    view, rule = entry("RULE", "CREATE OR REPLACE VIEW v AS SELECT 1;"), entry("RULE", "CREATE RULE r AS …;")
    assert _completes_a_view(view)
    assert _rank(view) < _rank(entry("FK CONSTRAINT")) < _rank(rule)
