"""
The check of large objects (pg_largeobject), which neither logical replication nor AWS DMS carries.

Their pages are hashed on the servers, piece by piece, so that no statement holds a snapshot for long. A page of zeros
counts as if it were not there: an object with holes arrives without them.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator

from crossfade.connect import Connection
from crossfade.queries import named_queries
from crossfade.routers.base import Side
from crossfade.validation.result import Mode
from crossfade.validation.sides import BothSides, Line, unseen, wrong

_QUERIES = named_queries(__file__)

PIECE = 20_000  #: pages of 2 kB that one statement hashes; OIDs that one statement lists
_NAMED = 20

_REMEDY = (
    "replication does not carry large objects: move their content into bytea columns (lo_get), or copy them with "
    "pg_dump --large-objects while nobody changes them"
)
_SERVES = (
    "the target serves, and the application may have changed them since: that cannot be told apart from a loss. "
    "Nothing carries large objects back: a rollback would lose what was changed"
)

Page = tuple[int, int]  #: OID of a large object, number of one of its pages

_LAST: Page = (2**32 - 1, 2**31 - 1)


def large_objects(sides: BothSides, mode: Mode) -> Generator[Line, None, str]:
    """Large objects that are missing or not the same. Their content is read in the mode full only."""
    source, target = (conn.execute(_QUERIES["listed"]).fetchall()[0] for conn in (sides.source, sides.target))
    if not source["count"] and not target["count"]:
        return "none"
    note = f"{source['count']} on the source, {target['count']} on the target"
    found = missing(sides.source, sides.target) if source != target else {}
    if mode is Mode.FULL and target["count"]:
        barred = _barred(sides)
        yield from barred
        if not barred:
            found |= differing(sides.source, sides.target, found)
            note += "; their content was read"
    else:
        note += "; their content was not read: that is done in the mode full"
    yield from _told(found, unsure=sides.authority is Side.TARGET)
    return note


def _told(found: dict[int, str], *, unsure: bool) -> Iterator[Line]:
    told = unseen if unsure else wrong
    for oid in sorted(found)[:_NAMED]:
        yield told(f"large object {oid} {found[oid]}")
    if len(found) > _NAMED:
        yield told(f"and {len(found) - _NAMED} more")
    if found:
        yield told(_SERVES if unsure else _REMEDY)


def _barred(sides: BothSides) -> list[Line]:
    """Why their content cannot be compared; empty where it can."""
    access = {side: getattr(sides, side.value).execute(_QUERIES["access"]).fetchall()[0] for side in Side}
    lines = [
        unseen(
            f"the content of large objects may not be read on the {side}. An administrator there, on 14 or newer: "
            f"GRANT pg_read_all_data TO {row['role']}"
        )
        for side, row in access.items()
        if not row["readable"]
    ]
    pages = {row["page"] for row in access.values()}
    if len(pages) > 1:
        lines.append(unseen("the content of large objects was not compared: the servers' block sizes differ"))
    return lines


def missing(source: Connection, target: Connection) -> dict[int, str]:
    """OIDs that only one side has, and which."""
    found: dict[int, str] = {}
    after = 0
    while True:
        lists = [_oids(conn, after) for conn in (source, target)]
        # where a list was cut off, the other is looked at up to there
        upto = min((oids[-1] for oids in lists if len(oids) == PIECE), default=None)
        there, here = ({oid for oid in oids if upto is None or oid <= upto} for oids in lists)
        found |= dict.fromkeys(there - here, "is missing on the target")
        found |= dict.fromkeys(here - there, "is only on the target")
        if upto is None:
            return found
        after = upto


def _oids(conn: Connection, after: int) -> list[int]:
    return [row["oid"] for row in conn.execute(_QUERIES["oids"], {"after": after, "piece": PIECE}).fetchall()]


def differing(source: Connection, target: Connection, known: Collection[int]) -> dict[int, str]:
    """OIDs of those whose content or length is not the same, without the ones that are known already."""
    found: set[int] = set()
    after: Page = (0, -1)
    while after < _LAST:
        upto = min(_end_of_piece(conn, after) for conn in (source, target))
        there, here = (_digests(conn, after, upto) for conn in (source, target))
        found |= {oid for oid in there.keys() | here.keys() if there.get(oid) != here.get(oid)}
        after = upto
    return dict.fromkeys(found.difference(known), "differs")


def _end_of_piece(conn: Connection, after: Page) -> Page:
    row = conn.execute(_QUERIES["end_of_piece"], {**_named("after", after), "piece": PIECE}).fetchone()
    return _LAST if row is None else (row["oid"], row["page"])


def _digests(conn: Connection, after: Page, upto: Page) -> dict[int, tuple[int, int]]:
    rows = conn.execute(_QUERIES["digests"], {**_named("after", after), **_named("upto", upto)}).fetchall()
    return {row["oid"]: (int(row["digest"]), row["ends"]) for row in rows}


def _named(name: str, page: Page) -> dict[str, int]:
    return {f"{name}_oid": page[0], f"{name}_page": page[1]}
