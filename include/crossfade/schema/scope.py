"""Which relations a plan leaves out: those it does not select, the views that read them, the sequences they own."""

from __future__ import annotations

from dataclasses import dataclass

from crossfade.connect import Connection
from crossfade.plan import Tables
from crossfade.queries import named_queries

_QUERIES = named_queries(__file__)
_HOLDS_ROWS = {"r", "p", "f"}  #: relkinds that the plan's "include" is about; "exclude" is about views too


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """A relation that stays behind."""

    oid: int
    schema: str
    name: str

    @property
    def pattern(self) -> str:
        """For pg_dump: matches exactly this name, whatever it contains."""
        return ".".join('"' + part.replace('"', '""') + '"' for part in (self.schema, self.name))


def left_out(conn: Connection, tables: Tables) -> list[LeftOut]:
    """Everything that stays behind, definition and rows. A view goes with the tables it reads."""
    unselected = [
        row["oid"]
        for row in conn.execute(_QUERIES["relations"]).fetchall()
        if tables.excludes(row["schema"], row["name"])
        or (row["kind"] in _HOLDS_ROWS and not tables.selects(row["root_schema"], row["root_name"]))
    ]
    if not unselected:
        return []
    return [LeftOut(**row) for row in conn.execute(_QUERIES["with_dependants"], {"oids": unselected}).fetchall()]
