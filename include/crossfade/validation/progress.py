"""What a validation has done already, kept for who goes on after a kill."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from psycopg.types.json import Jsonb

from crossfade.connect import Connection
from crossfade.queries import named_queries
from crossfade.validation.compare import PartResult
from crossfade.validation.parts import Part

_QUERIES = named_queries(__file__)

Kept = Mapping[Part, PartResult | None]  #: None: not done yet


class Progress(Protocol):
    """Where parts are entered. Called from several threads."""

    def parts(self, table: str) -> Kept | None:
        """The parts of a table that this validation compares, and what became of each; None where it was not begun."""

    def begin(self, table: str, parts: Sequence[Part]) -> None:
        """Enter which parts of a table are compared."""

    def chosen(self, table: str, parts: Sequence[Part], per_cent: float) -> Sequence[Part]:
        """Some of a table's parts: those that were compared longest ago, or never."""

    def done(self, table: str, part: Part, result: PartResult) -> None:
        """Enter what the comparison of one part found."""


class Forgotten:
    """Keeps nothing: for a comparison without a journal."""

    def parts(self, table: str) -> Kept | None:
        """Nothing was begun."""
        return None

    def begin(self, table: str, parts: Sequence[Part]) -> None:
        """Nothing."""

    def chosen(self, table: str, parts: Sequence[Part], per_cent: float) -> Sequence[Part]:
        """By chance."""
        return random.sample(parts, _some(parts, per_cent))

    def done(self, table: str, part: Part, result: PartResult) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Journalled:
    """
    In the journal, by validation.

    :param conn: an autocommit session on the target, for this alone
    """

    conn: Connection
    migration: UUID
    validation: UUID
    lock: threading.Lock = field(default_factory=threading.Lock)

    def parts(self, table: str) -> Kept | None:
        """What an earlier try of this validation left."""
        with self.lock:
            rows = self.conn.execute(_QUERIES["parts"], {"validation": self.validation, "table": table}).fetchall()
        if not rows:
            return None
        return {
            Part.of_document(row["number"], row["part"]): None if row["result"] is None else _result(row["result"])
            for row in rows
        }

    def begin(self, table: str, parts: Sequence[Part]) -> None:
        """All at once: a table that is half split is split again."""
        with self.lock:
            self.conn.execute(
                _QUERIES["begin"], {"validation": self.validation, "table": table, "parts": _documents(parts)}
            )

    def chosen(self, table: str, parts: Sequence[Part], per_cent: float) -> Sequence[Part]:
        """By the slices of earlier runs, unless the table has changed so much that others are needed."""
        key = {"migration": self.migration, "table": table}
        with self.lock, self.conn.transaction():
            rows = self.conn.execute(_QUERIES["slices"], key).fetchall()
            slices = [Part.of_document(row["number"], row["part"]) for row in rows]
            alike = bool(slices) and [each.keyed for each in slices[:1]] == [each.keyed for each in parts[:1]]
            if not alike or not len(slices) / 2 <= len(parts) <= len(slices) * 2:
                self.conn.execute(_QUERIES["slice"], {**key, "parts": _documents(parts)})
                slices = random.sample(parts, len(parts))
        return slices[: _some(slices, per_cent)]

    def done(self, table: str, part: Part, result: PartResult) -> None:
        """The part, with rows that differ."""
        document = {
            "rows": result.rows,
            "differing": [[list(key), *pair] for key, pair in result.differing.items()],
            "unsettled": [list(key) for key in result.unsettled],
            "settled": result.settled,
            "unread": result.unread,
            "suspects": [list(key) for key in result.suspects],
        }
        with self.lock:
            self.conn.execute(
                _QUERIES["done"],
                {
                    "validation": self.validation,
                    "table": table,
                    "number": part.number,
                    "result": Jsonb(document),
                },
            )
            self.conn.execute(
                _QUERIES["seen"], {"migration": self.migration, "table": table, "part": Jsonb(part.document)}
            )


def _some(parts: Sequence[Part], per_cent: float) -> int:
    return math.ceil(len(parts) * per_cent / 100)


def _documents(parts: Sequence[Part]) -> Jsonb:
    return Jsonb([{"number": part.number, "part": part.document} for part in parts])


def _result(document: dict[str, Any]) -> PartResult:
    there, here = document["rows"]
    return PartResult(
        rows=(there, here),
        differing={tuple(key): (tuple(ours), tuple(theirs)) for key, ours, theirs in document["differing"]},
        unsettled=[tuple(key) for key in document["unsettled"]],
        settled=document["settled"],
        unread=document["unread"],
        suspects=[tuple(key) for key in document["suspects"]],
    )
