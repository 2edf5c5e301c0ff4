"""
pg_dump's archive of the source's schema, and its entries one by one.

The archive is kept as bytes (tens of kilobytes a hundred objects). Names are never parsed out of it, since pg_restore's
list is ambiguous where they hold spaces: an entry is known by its dump id and by the OID it has on the source.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from crossfade.connect import Connection, Endpoint
from crossfade.errors import FatalError
from crossfade.plan import Tables
from crossfade.queries import named_queries
from crossfade.schema import binaries
from crossfade.schema.scope import left_out

_QUERIES = named_queries(__file__)

Section = Literal["pre-data", "post-data"]
LOCK_WAIT = "60s"  #: how long pg_dump waits for a table that somebody locked exclusively

# kinds of two words and more, that begin with another kind; those without a catalog OID only match where it is 0
_LONG_KINDS = (
    "MATERIALIZED VIEW", "TABLE ATTACH", "INDEX ATTACH", "SEQUENCE OWNED BY", "CHECK CONSTRAINT", "FK CONSTRAINT",
    "DEFAULT ACL", "EVENT TRIGGER", "ROW SECURITY", "FOREIGN TABLE", "FOREIGN DATA WRAPPER", "USER MAPPING",
    "SECURITY LABEL", "SHELL TYPE", "PROCEDURAL LANGUAGE", "ACCESS METHOD", "OPERATOR CLASS", "OPERATOR FAMILY",
    "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY", "TEXT SEARCH PARSER", "TEXT SEARCH TEMPLATE",
)  # fmt: skip
_WITHOUT_OID = {"TABLE ATTACH", "INDEX ATTACH", "SEQUENCE OWNED BY"}
_LISTED = re.compile(r"^(\d+); (\d+) (\d+) (.*)$", re.MULTILINE)
_HEADING = re.compile(
    r"^--\n-- TOC entry (?P<id>\d+) \(class (?P<catalog>\d+) OID (?P<oid>\d+)\)\n"
    r"(?:-- Dependencies: (?P<needs>[\d ]+)\n)?-- Name: (?P<label>.*)\n(?:-- Data Pos: \d+\n)?--\n\n",
    re.MULTILINE,
)
_TRAILER = re.compile(r"\n-- Completed on [^\n]*\n\n--\n-- PostgreSQL database dump complete\n--\n.*\Z", re.DOTALL)
_FOR_THE_NEXT = re.compile(r"^SET default_table_access_method = [^\n]*;\s*\Z", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One object's statements in the archive."""

    dump_id: int
    catalog: int  #: OID of the system catalog that holds the object; 0 for comments, grants, attachments
    oid: int  #: of the object, on the source; 0 where catalog is 0
    kind: str  #: pg_dump's word: TABLE, INDEX, CONSTRAINT, FK CONSTRAINT …
    section: Section
    needs: frozenset[int]  #: dump ids that it depends on
    system: bool  #: lies in pg_catalog
    label: str  #: for people only
    owner: str  #: as headed; names that imitate a heading come wrong, so only where a wrong one is refused
    sql: str

    def __str__(self) -> str:
        return self.label


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceObject:
    """What the source's catalog says of an entry's object."""

    identity: str  #: qualified and quoted, the same on every server
    name: str | None  #: of a constraint, as stored
    table: str | None  #: identity of the table it belongs to
    table_oid: int | None  #: of that table, on the source
    references: int | None  #: OID of the table that a foreign key points at
    validated: bool  #: false for a constraint that is NOT VALID
    populated: bool  #: false for a materialised view WITH NO DATA


def dump_archive(source: Endpoint, tables: Tables, *, target_major: int) -> bytes:
    """
    Dump the definitions of the whole database but what the plan leaves out, schema crossfade, publications and
    subscriptions. Security labels and tablespaces stay behind as well.

    Raises `PreconditionError` where pg_dump is missing or older than the target, `ProgramFailed` where it fails.
    """
    program = binaries.require("pg_dump", target_major)
    with source.session("schema") as conn:
        excluded = [f"--exclude-table={relation.pattern}" for relation in left_out(conn, tables)]
    options = ["--format=custom", "--schema-only", "--no-publications", "--no-subscriptions", "--no-security-labels"]
    options += [f"--lock-wait-timeout={LOCK_WAIT}", '--exclude-schema="crossfade"']
    return binaries.run(program, [*options, *excluded], endpoint=source)


def entries(archive: bytes) -> list[Entry]:
    """Every entry that has statements, in the order in which pg_restore would run them."""
    program = binaries.find("pg_restore")
    listed = parse_list(binaries.run(program, ["--list"], stdin=archive).decode())
    found: list[Entry] = []
    for section in ("pre-data", "post-data"):
        options = ["--verbose", "--no-tablespaces", f"--section={section}", "--file=-"]
        found += parse_script(binaries.run(program, options, stdin=archive).decode(), listed, section)
    if len({entry.dump_id for entry in found}) != len(found):
        raise FatalError("pg_restore's script holds an entry twice: a definition imitates its headings")
    return found


def parse_list(text: str) -> dict[int, tuple[int, int, str, bool]]:
    """Of ``pg_restore --list``: dump id to catalog OID, object OID, kind, and whether it lies in pg_catalog."""
    listed = {}
    for dump_id, catalog, oid, rest in _LISTED.findall(text):
        kind = _kind(rest, int(catalog))
        # no user's schema can begin with pg_, so this is no schema with a space in its name
        listed[int(dump_id)] = (int(catalog), int(oid), kind, rest.removeprefix(kind).startswith(" pg_catalog "))
    return listed


def _kind(rest: str, catalog: int) -> str:
    for kind in _LONG_KINDS:
        if rest.startswith(kind + " ") and not (kind in _WITHOUT_OID and catalog):
            return kind
    return rest.split(" ", 1)[0]


def parse_script(text: str, listed: Mapping[int, tuple[int, int, str, bool]], section: Section) -> list[Entry]:
    """Split what ``pg_restore --verbose`` printed at its headings; headers, psql commands and settings are dropped."""
    headings = list(_HEADING.finditer(text))
    ends = [heading.start() for heading in headings[1:]] + [len(text)]
    found, before = [], ""
    for heading, end in zip(headings, ends, strict=True):
        dump_id = int(heading["id"])
        catalog, oid, kind, system = listed.get(dump_id, (-1, -1, "", False))
        if (catalog, oid) != (int(heading["catalog"]), int(heading["oid"])):
            raise FatalError(f"pg_restore's script holds an entry {dump_id} that its list does not: {heading['label']}")
        body = _TRAILER.sub("", text[heading.end() : end])
        setting = _FOR_THE_NEXT.search(body)
        found.append(
            Entry(
                dump_id=dump_id,
                catalog=catalog,
                oid=oid,
                kind=kind,
                section=section,
                needs=frozenset(int(number) for number in (heading["needs"] or "").split()),
                system=system,
                label=f"{kind} {heading['label'].split('; Type: ')[0]}",
                owner=heading["label"].rpartition("; Owner: ")[2],
                sql=(before + (body[: setting.start()] if setting else body)).strip() + "\n",
            )
        )
        before = setting[0] if setting else ""
    return found


def script(archive: bytes, dump_ids: Collection[int] | None = None, *, section: Section | None = None) -> str:
    """The statements of a section, or of chosen entries, as one text for a transaction of the caller's."""
    return "\n".join(
        entry.sql
        for entry in entries(archive)
        if section in (None, entry.section) and (dump_ids is None or entry.dump_id in dump_ids)
    )


def classify(source: Connection, archived: Sequence[Entry]) -> dict[int, SourceObject]:
    """By dump id, what the source's catalog knows of each entry's object; those dropped meanwhile are missing."""
    objects = [entry for entry in archived if entry.catalog]
    rows = source.execute(
        _QUERIES["objects"],
        {
            "ids": [entry.dump_id for entry in objects],
            "catalogs": [entry.catalog for entry in objects],
            "oids": [entry.oid for entry in objects],
        },
    ).fetchall()
    return {row.pop("dump_id"): SourceObject(**row) for row in rows}
