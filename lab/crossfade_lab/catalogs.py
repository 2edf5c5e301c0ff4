"""What the catalogs of a database and its server hold, as text, by name and never by OID: to compare two moments."""

import re
from collections.abc import Mapping
from pathlib import Path

import psycopg

Catalogs = Mapping[str, frozenset[str]]  #: kind -> a line for each object

_HEADING = re.compile(r"^-- (\w+): .*$", re.MULTILINE)
_, *_PARTS = _HEADING.split(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
_QUERIES = dict(zip(_PARTS[::2], _PARTS[1::2], strict=True))


def catalogs(conn: psycopg.Connection) -> Catalogs:
    """All that statements of definition could have changed; no values, no statistics. Takes a superuser's session."""
    with conn.transaction(), conn.cursor(row_factory=psycopg.rows.tuple_row) as cursor:
        cursor.execute("SET LOCAL search_path = ''")
        return {
            kind: frozenset(str(line) for (line,) in cursor.execute(query.encode())) for kind, query in _QUERIES.items()
        }


def differences(before: Catalogs, after: Catalogs) -> list[str]:
    """Lines that came, with a plus, and lines that went, with a minus; each with its kind."""
    return [
        f"{sign} {kind}: {line}"
        for kind in before
        for sign, lines in (("-", before[kind] - after[kind]), ("+", after[kind] - before[kind]))
        for line in sorted(lines)
    ]
