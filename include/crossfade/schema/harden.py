"""
What comes after the rows: remaining indexes, foreign keys, triggers and the rest, while streams write to the tables.

Every object is made in a transaction of its own and only where it is missing, so a killed run is simply run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import psycopg
from psycopg import sql

from crossfade.connect import Connection
from crossfade.queries import named_queries
from crossfade.schema.archive import Entry, SourceObject
from crossfade.schema.patience import LOCKED, patiently
from crossfade.schema.statements import SETTINGS, Report, execute, execute_grants, execute_if_allowed, set_locally

_QUERIES = named_queries(__file__)

#: Waves are applied independently: a row may be there before the row it refers to. It passes when both caught up.
_UNMET = (*LOCKED, psycopg.errors.ForeignKeyViolation)
CATCH_UP = 60.0  #: seconds to wait for such rows

#: What may be run again without harm, and has no identity to look for.
_REPEATABLE = {"INDEX ATTACH", "ROW SECURITY", "COMMENT", "ACL", "DEFAULT ACL"}
#: What needs rights that a migration role may lack: reported, not raised.
_IF_ALLOWED = {"EVENT TRIGGER", "COMMENT", "DEFAULT ACL"}
_STAGES = ("1", "10", "default")  #: of default_statistics_target: rough plans within seconds, good ones later

_RANKS = {"FK CONSTRAINT": 1, "TRIGGER": 2, "RULE": 2, "POLICY": 2, "ROW SECURITY": 2, "EVENT TRIGGER": 3,
          "COMMENT": 4, "ACL": 4, "DEFAULT ACL": 4}  # fmt: skip


def harden(
    target: Connection,
    archived: Sequence[Entry],
    objects: Mapping[int, SourceObject],
    report: Report,
    *,
    catch_up: float = CATCH_UP,
) -> None:
    """
    Make everything of the archive that the target lacks, refresh materialised views, ANALYZE in stages.

    :param target: an autocommit connection
    :param archived: what `archive.entries` read
    :param objects: what `archive.classify` found for them on the source
    :param catch_up: seconds that a foreign key may wait for rows that other streams have not applied yet

    Raises `StatementRefused`, or `DeadlineExceeded` where locks or rows did not come in time.
    """
    started = time.monotonic()
    made = _Hardening(target, archived, objects, report, catch_up).run()
    report(f"{made} objects made in {time.monotonic() - started:.1f} s")
    refresh_views(target, archived, objects, report)
    analyze(target, report)


class _Hardening:
    """One run over the post-data entries."""

    def __init__(
        self,
        target: Connection,
        archived: Sequence[Entry],
        objects: Mapping[int, SourceObject],
        report: Report,
        catch_up: float,
    ) -> None:
        self._target, self._objects, self._report, self._catch_up = target, objects, report, catch_up
        self._tables = {entry.oid for entry in archived if entry.kind in ("TABLE", "FOREIGN TABLE")}
        self._entries = sorted(
            (entry for entry in archived if entry.section == "post-data" and not entry.system), key=_rank
        )
        rows = target.execute(_QUERIES["identities"]).fetchall()
        self._there = {(row["catalog"], row["identity"]) for row in rows}
        self._skipped: set[int] = set()

    def run(self) -> int:
        """Make what is missing; how many were made."""
        made = 0
        for entry in self._entries:
            if entry.needs & self._skipped or self._points_outside(entry):
                self._skipped.add(entry.dump_id)
            elif self._missing(entry):
                self._patiently(f"making {entry}", entry, partial(self._make, entry))
                made += entry.kind not in _REPEATABLE
        self._validate()
        return made

    def _patiently(self, what: str, entry: Entry, action: Callable[[], object]) -> None:
        if entry.kind == "FK CONSTRAINT":
            patiently(self._target, what, action, self._report, retry=_UNMET, seconds=self._catch_up)
        else:
            patiently(self._target, what, action, self._report)

    def _points_outside(self, entry: Entry) -> bool:
        """A foreign key to a table that the plan leaves out cannot exist."""
        found = self._objects.get(entry.dump_id)
        outside = entry.kind == "FK CONSTRAINT" and found is not None and found.references not in self._tables
        if outside:
            self._report(f"not carried: {entry}: it points at a table that the plan leaves out")
        return outside

    def _missing(self, entry: Entry) -> bool:
        if entry.kind in _REPEATABLE or _completes_a_view(entry):
            return True
        found = self._objects.get(entry.dump_id)
        return found is None or (entry.catalog, found.identity) not in self._there

    def _make(self, entry: Entry) -> None:
        set_locally(self._target, SETTINGS)
        if entry.kind == "ACL":
            execute_grants(self._target, entry, self._report)
        elif entry.kind in _IF_ALLOWED:
            if not execute_if_allowed(self._target, entry, self._report):
                self._skipped.add(entry.dump_id)
        else:
            execute(self._target, entry, _not_valid(entry))
            if entry.kind not in _REPEATABLE:
                self._report(f"{entry} made")

    def _validate(self) -> None:
        """Check old rows of the foreign keys made NOT VALID: that takes no lock which stops the streams."""
        rows = self._target.execute(_QUERIES["not_validated"]).fetchall()
        pending = {row["identity"] for row in rows}
        for entry in self._entries:
            found = self._objects.get(entry.dump_id)
            if entry.kind == "FK CONSTRAINT" and found and found.validated and found.identity in pending:
                self._patiently(f"validating {entry}", entry, partial(self._check_rows, found))
                self._report(f"{entry} validated")

    def _check_rows(self, found: SourceObject) -> None:
        if found.table and found.name:
            name = sql.Identifier(found.name).as_bytes()
            self._target.execute(f"ALTER TABLE {found.table} VALIDATE CONSTRAINT ".encode() + name)


def _rank(entry: Entry) -> int:
    return 0 if _completes_a_view(entry) else _RANKS.get(entry.kind, 0)


def _completes_a_view(entry: Entry) -> bool:
    """Views in a circle, or that need a key, come as an empty shell first."""
    return entry.kind == "RULE" and entry.sql.startswith("CREATE OR REPLACE VIEW")


def _not_valid(entry: Entry) -> str:
    """
    A foreign key of an ordinary table without its check of old rows, which would lock both tables until it ends.

    One of a partitioned table ("ALTER TABLE" without ONLY) cannot be made so before 18.
    """
    statement = entry.sql.rstrip()
    ordinary = entry.kind == "FK CONSTRAINT" and statement.startswith("ALTER TABLE ONLY ")
    if not ordinary or statement.endswith(("NOT VALID;", "NOT ENFORCED;")):
        return entry.sql
    return statement.removesuffix(";") + " NOT VALID;"


def refresh_views(
    target: Connection, archived: Sequence[Entry], objects: Mapping[int, SourceObject], report: Report
) -> None:
    """Fill every materialised view that is filled on the source; the archive lists them after what they read."""
    for entry in archived:
        found = objects.get(entry.dump_id)
        if entry.kind != "MATERIALIZED VIEW" or found is None or not found.populated:
            continue
        started = time.monotonic()
        statement = f"REFRESH MATERIALIZED VIEW {found.identity}".encode()
        patiently(target, f"refreshing {entry}", partial(target.execute, statement), report)
        report(f"{entry} refreshed in {time.monotonic() - started:.1f} s")


def analyze(target: Connection, report: Report) -> None:
    """ANALYZE every table three times: rough statistics for all of them first."""
    relations = [row["identity"] for row in target.execute(_QUERIES["analyzable"]).fetchall()]
    for stage in _STAGES:
        started = time.monotonic()
        for relation in relations:
            patiently(target, f"analyzing {relation}", partial(_analyze, target, relation, stage), report)
        report(
            f"ANALYZE with statistics target {stage}: {len(relations)} relations in {time.monotonic() - started:.1f} s"
        )


def _analyze(target: Connection, relation: str, stage: str) -> None:
    if stage != "default":
        set_locally(target, {"default_statistics_target": stage})
    target.execute(f"ANALYZE {relation}".encode())


def unharden(target: Connection, tables: Iterable[tuple[str, str]], report: Report) -> None:
    """
    Drop the foreign keys from and to the given tables (schema, name) and their triggers, so that they can be truncated
    and copied again. `harden` makes them again: they are in the archive. Safe to run again.

    Raises `DeadlineExceeded` where locks did not come in time.
    """
    chosen = list(tables)
    names = {"schemas": [schema for schema, _ in chosen], "names": [name for _, name in chosen]}
    for query, drop in (
        ("foreign_keys_of", "ALTER TABLE {table} DROP CONSTRAINT {name}"),
        ("triggers_of", "DROP TRIGGER {name} ON {table}"),
    ):
        for row in target.execute(_QUERIES[query], names).fetchall():
            statement = drop.format(table=row["table"], name=sql.Identifier(row["name"]).as_string())
            patiently(target, statement, partial(target.execute, statement.encode()), report)
            report(statement)
