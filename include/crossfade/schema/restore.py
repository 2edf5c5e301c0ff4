"""Restoring what the loader needs: everything before the rows, then keys and indexes table by table."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from psycopg import sql

from crossfade.connect import Connection, scalar
from crossfade.queries import named_queries
from crossfade.schema.archive import Entry, SourceObject, entries
from crossfade.schema.statements import SETTINGS, Report, execute, execute_grants, execute_if_allowed, set_locally

_QUERIES = named_queries(__file__)

#: Entries that make an index: what the loader builds when a table's rows are there.
INDEX_KINDS = {"INDEX", "CONSTRAINT"}


def _quiet(_message: str) -> None:
    """A report that nobody reads."""


def restore_pre_data(target: Connection, archive: bytes, report: Report = _quiet) -> None:
    """
    Create schemas, types, functions, tables, sequences, views and their grants, under the source's owners.

    All or nothing: in the caller's transaction where one is open, else in one of its own. Owners must exist
    (`roles.ensure_roles`). Raises `StatementRefused`, which names the object and says what to do.
    """
    archived = [entry for entry in entries(archive) if entry.section == "pre-data" and not entry.system]
    made = {entry.dump_id: entry for entry in archived}
    with target.transaction():
        set_locally(target, SETTINGS)
        lent = _lend_create(target)
        for entry in archived:
            if entry.kind == "ACL" or _comments_an_extension(entry, made):
                continue
            _create(target, entry, report)
            if entry.kind in ("SCHEMA", "EXTENSION"):
                lent += _lend_create(target)
        for schema, role in lent:
            target.execute(
                sql.SQL("REVOKE CREATE ON SCHEMA {} FROM {}").format(sql.Identifier(schema), sql.Identifier(role))
            )
        for entry in archived:
            if entry.kind == "ACL":
                execute_grants(target, entry, report)
        target.execute("RESET default_table_access_method")  # the archive sets it for the session
    report(f"restored {len(archived)} entries of the schema")


def _create(target: Connection, entry: Entry, report: Report) -> None:
    if entry.kind == "SCHEMA" and "CREATE SCHEMA " not in entry.sql:  # public is there already: only its owner
        execute_if_allowed(target, entry, report)
    elif entry.kind == "SCHEMA":
        execute(target, entry, entry.sql.replace("CREATE SCHEMA ", "CREATE SCHEMA IF NOT EXISTS ", 1))
    elif entry.kind == "COMMENT":
        execute_if_allowed(target, entry, report)
    else:
        execute(target, entry)


def _comments_an_extension(entry: Entry, made: Mapping[int, Entry]) -> bool:
    """Its own script wrote it; an extension that an administrator made is not ours to comment."""
    return entry.kind == "COMMENT" and any(made[need].kind == "EXTENSION" for need in entry.needs if need in made)


def _lend_create(target: Connection) -> list[tuple[str, str]]:
    """
    Let every role we can act for create in every schema, until the grants are restored: PostgreSQL gives an object
    only to an owner who could have made it, and on the source that right may be gone, or come with the database.
    """
    lent = [(row["schema"], row["role"]) for row in target.execute(_QUERIES["creators_lacking"]).fetchall()]
    for schema, role in lent:
        target.execute(sql.SQL("GRANT CREATE ON SCHEMA {} TO {}").format(sql.Identifier(schema), sql.Identifier(role)))
    return lent


class IndexBuilder:
    """
    Builds the keys and indexes of one table after the other, as the loader completes them.

    It holds no connection and changes nothing in itself: threads may share it.
    """

    def __init__(self, archived: Iterable[Entry], objects: Mapping[int, SourceObject]) -> None:
        """
        :param archived: what `archive.entries` read
        :param objects: what `archive.classify` found for them on the source
        """
        self._objects = objects
        self._of_table: dict[int, list[Entry]] = {}
        for entry in archived:
            if entry.kind in INDEX_KINDS and (found := objects.get(entry.dump_id)) and found.table_oid is not None:
                self._of_table.setdefault(found.table_oid, []).append(entry)

    def for_table(self, table_oid: int) -> list[Entry]:
        """The keys and indexes of a table, by its OID on the source: constraints first."""
        return list(self._of_table.get(table_oid, ()))

    def build(self, target: Connection, entry: Entry) -> float | None:
        """
        Make one key or index in a transaction of its own; its seconds, or None where it was there already.

        A REPLICA IDENTITY or CLUSTER that belongs to the index is set in the same transaction. Killed, it leaves
        nothing behind. Raises `StatementRefused` (a duplicate key, for example).
        """
        started = time.monotonic()
        with target.transaction():
            if exists(target, entry, self._objects[entry.dump_id]):
                return None
            set_locally(target, SETTINGS)
            execute(target, entry)
        return time.monotonic() - started

    def build_all(self, target: Connection, table_oid: int, report: Report = _quiet) -> dict[str, float]:
        """Every key and index of a table, one after the other on one connection: identity to seconds."""
        built = {}
        for entry in self.for_table(table_oid):
            if (seconds := self.build(target, entry)) is not None:
                built[self._objects[entry.dump_id].identity] = seconds
                report(f"{entry} built in {seconds:.1f} s")
        return built


def exists(target: Connection, entry: Entry, found: SourceObject) -> bool:
    """Whether the target has the index or constraint already."""
    if entry.kind == "INDEX":
        return scalar(target, "SELECT to_regclass(%s)", [found.identity]) is not None
    query = "SELECT EXISTS (SELECT FROM pg_constraint WHERE conrelid = to_regclass(%s) AND conname = %s)"
    return bool(scalar(target, query, [found.table, found.name]))
