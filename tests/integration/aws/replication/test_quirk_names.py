"""Names in table mappings: patterns in selections, exact names in explicit selections and table settings."""

import psycopg
from replication_tasks import Task, selection, settings_of

TABLES = ("a_b", "axb", "a[b", 'naïve"quote', "select", "Order Items", "100%", "1000")


def quoted(name: str) -> str:
    return psycopg.sql.Identifier(name).as_string()


def create(task: Task) -> None:
    """A table of each name, with a row whose value is longer than a limit to come."""
    for name in TABLES:
        task.both(f"CREATE TABLE {quoted(name)} (id int PRIMARY KEY, v text)")
        task.execute("source", f"INSERT INTO {quoted(name)} VALUES (1, repeat('x', 3000))")  # noqa: S608


def lengths(task: Task) -> dict[str, int]:
    """The length of the value that arrived, by table; tables without rows are left out."""
    found = {name: task.execute("target", f"SELECT length(v) FROM {quoted(name)}") for name in TABLES}  # noqa: S608
    return {name: rows[0][0] for name, rows in found.items() if rows}


def test_a_wildcard_in_brackets_is_a_character_and_brackets_may_hold_several(task: Task) -> None:
    create(task)
    task.configure("a[_]b", "a[[]b", "100[%]", "[n-o]aïve%", migration_type="full-load")
    task.start().wait_for_state("stopped")
    assert set(lengths(task)) == {"a_b", "a[b", "100%", 'naïve"quote'}
    task.configure("a_b", "100%", migration_type="full-load")
    task.start("reload-target").wait_for_state("stopped")
    assert set(lengths(task)) == {"a_b", "axb", "a[b", "100%", 'naïve"quote', "1000"}


def test_table_settings_and_explicit_selections_are_about_one_table(task: Task) -> None:
    create(task)
    limited = {"lob-settings": {"mode": "limited", "bulk-max-size": "1"}}
    task.configure(
        *TABLES,
        migration_type="full-load",
        rules=[settings_of(91, "a_b", **limited), settings_of(92, "select", **limited)],
    )
    rules = task.spec["table_mappings"]["rules"]
    rules[: len(TABLES)] = [
        selection(number, name, "explicit") for number, name in enumerate(TABLES, 1) if name != "axb"
    ]
    rules.append(selection(93, "ax%"))
    task.start().wait_for_state("stopped")
    assert {name for name, length in lengths(task).items() if length < 3000} == {"a_b", "select"}
    assert set(lengths(task)) == set(TABLES)
