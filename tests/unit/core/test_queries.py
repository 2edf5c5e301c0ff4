"""The .sql files beside modules: every query has one name and a line that says what it returns."""

import re
from pathlib import Path

import pytest

import crossfade
from crossfade.queries import named_queries

PACKAGE = Path(crossfade.__file__).parent
FILES = sorted(PACKAGE.rglob("*.sql"))


def test_there_are_files_to_check() -> None:
    assert len(FILES) > 5


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_file_is_made_of_named_queries_only(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    names = re.findall(r"^-- (\w+): \S.*$", text, re.MULTILINE)
    queries = named_queries(str(file.with_suffix(".py")))
    assert list(queries) == names, "two queries of one name"
    assert text.startswith("-- "), "something stands before the first name"
    for name, query in queries.items():
        assert query, f"{name} is empty"


def test_a_query_is_found_by_its_name_without_its_heading(tmp_path: Path) -> None:
    (tmp_path / "module.sql").write_text(
        "-- one: a number\nSELECT 1\n  -- why: not a heading\n\n-- two: another\nSELECT 2\n"
    )
    found = named_queries(str(tmp_path / "module.py"))
    assert found == {"one": "SELECT 1\n  -- why: not a heading", "two": "SELECT 2"}
