"""Reading and rewriting PgBouncer's ``[databases]`` section as text: only what must change changes.

The grammar is PgBouncer's own (libusual's cfparser.c, PgBouncer's loader.c): names are bare words, values end at a
blank or stand in single quotes that are doubled inside, an empty value is an error, the last line of a name counts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from crossfade.errors import PreconditionError

DEFAULT_PORT = 5432
_SECTION = "databases"
_ITEM = re.compile(
    r"\s*(?:[#;][^\n]*|\[(?P<section>[^\]\n]*)\]|%include[ \t]+[^\n]*"
    r"|(?P<name>[\w.*-]+)[ \t]*=[ \t]*(?P<value>[^\n]*))",
    re.ASCII,
)
_PAIR = re.compile(r" *(?P<key>[^= ]+) *= *(?P<value>'(?:[^']|'')+'(?= |$)|[^' ][^ ]*)(?: |$)")


class UnreadableIni(PreconditionError):
    """PgBouncer would not load this text, or it lacks what was looked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination:
    """Where PgBouncer sends the clients of one database name."""

    host: str  #: empty: a Unix socket in PgBouncer's default directory
    port: int
    dbname: str

    def __str__(self) -> str:
        return f"{self.host or '(socket)'}:{self.port}/{self.dbname}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    name: str
    line: int  #: counted from 1
    start: int  #: of the connection string in the text
    value: str

    def pairs(self) -> dict[str, str]:
        return {match["key"]: _unquote(match["value"]) for match in _pairs(self)}


def quote(value: str) -> str:
    """A value for a connection string of PgBouncer. Raises `UnreadableIni` for what it cannot hold."""
    if not value or "\n" in value or "\0" in value:
        raise UnreadableIni(f"PgBouncer's configuration cannot hold the value {value!r}: empty, or with a line break")
    return "'" + value.replace("'", "''") + "'" if re.search(r"[\s']", value) else value


def _unquote(value: str) -> str:
    return value[1:-1].replace("''", "'") if value.startswith("'") else value


def destinations(text: str) -> dict[str, Destination]:
    """Where each name of the text leads. Raises `UnreadableIni` with the line that PgBouncer would stop at."""
    found = {}
    for entry in _entries(text):
        pairs = entry.pairs()
        port = pairs.get("port", str(DEFAULT_PORT))
        if not port.isdecimal():
            raise UnreadableIni(f"line {entry.line}: port {port!r} of database {entry.name!r} is no number")
        found[entry.name] = Destination(
            host=pairs.get("host", ""), port=int(port), dbname=pairs.get("dbname", entry.name)
        )
    return found


def parameters(text: str, name: str) -> dict[str, str]:
    """Every parameter of one name's line, as written. Raises `UnreadableIni` where there is no such line."""
    entries = [entry for entry in _entries(text) if entry.name == name]
    if not entries:
        raise UnreadableIni(f"there is no line for database {name!r}")
    return entries[-1].pairs()


def rewrite(text: str, names: Collection[str], to: Destination) -> str:
    """
    The text with host, port and dbname of these names replaced; comments, order and all else as they were.

    Raises `UnreadableIni` where a name has no line of its own or a line cannot be read.
    """
    entries = list(_entries(text))
    missing = sorted(set(names) - {entry.name for entry in entries})
    if missing:
        raise UnreadableIni(f"there is no line for {', '.join(map(repr, missing))}; add one under [{_SECTION}]")
    for entry in reversed(entries):  # from the end, so that earlier positions stay right
        if entry.name in names:
            text = text[: entry.start] + _redirect(entry, to) + text[entry.start + len(entry.value) :]
    return text


def _redirect(entry: _Entry, to: Destination) -> str:
    """The connection string of one line, leading elsewhere."""
    wanted = {"host": quote(to.host), "port": str(to.port), "dbname": quote(to.dbname)}
    value, written = entry.value, set()
    for match in reversed(list(_pairs(entry))):
        if (key := match["key"]) in wanted:
            value = value[: match.start("value")] + wanted[key] + value[match.end("value") :]
            written.add(key)
    added = " ".join(f"{key}={new}" for key, new in wanted.items() if key not in written)
    return " ".join(part for part in (value, added) if part)


def _entries(text: str) -> Iterator[_Entry]:
    """The lines of [databases]; a text without a section is taken for one that is included inside it."""
    position, section = 0, _SECTION
    while text[position:].strip():
        match = _ITEM.match(text, position)
        if match is None:
            raise UnreadableIni(f"line {_line(text, position)}: PgBouncer would stop loading here")
        if match["section"] is not None:
            section = match["section"]
        elif match["name"] is not None and section == _SECTION:
            value = match["value"].rstrip()
            line = _line(text, match.start("name"))
            yield _Entry(name=match["name"], line=line, start=match.start("value"), value=value)
        position = match.end()


def _line(text: str, position: int) -> int:
    """The number of the line with the first thing that is not blank from here on."""
    blank = len(text[position:]) - len(text[position:].lstrip())
    return text.count("\n", 0, position + blank) + 1


def _pairs(entry: _Entry) -> Iterator[re.Match[str]]:
    position = 0
    while position < len(entry.value):
        match = _PAIR.match(entry.value, position)
        if match is None:
            raise UnreadableIni(
                f"line {entry.line}: PgBouncer cannot read {entry.value[position:]!r} of database {entry.name!r}"
            )
        yield match
        position = match.end()
