"""What a validation has done already, kept for who goes on after a kill."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
        """How a table was split, and what became of each part; None where it was not begun."""

    def begin(self, table: str, parts: Sequence[Part]) -> None:
        """Enter how a table is split."""

    def done(self, table: str, part: Part, result: PartResult) -> None:
        """Enter what the comparison of one part found."""


class Forgotten:
    """Keeps nothing: for a comparison without a journal."""

    def parts(self, table: str) -> Kept | None:
        """Nothing was begun."""
        return None

    def begin(self, table: str, parts: Sequence[Part]) -> None:
        """Nothing."""

    def done(self, table: str, part: Part, result: PartResult) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Journalled:
    """
    In the journal, by validation.

    :param conn: an autocommit session on the target, for this alone
    """

    conn: Connection
    validation: UUID
    lock: threading.Lock

    def parts(self, table: str) -> Kept | None:
        """What an earlier try of this validation left."""
        with self.lock:
            rows = self.conn.execute(_QUERIES["parts"], {"validation": self.validation, "table": table}).fetchall()
        if not rows:
            return None
        return {
            Part(
                number=row["number"],
                keyed=row["keyed"],
                lower=None if row["lower"] is None else tuple(row["lower"]),
                upper=None if row["upper"] is None else tuple(row["upper"]),
            ): None if row["result"] is None else _result(row["result"])
            for row in rows
        }

    def begin(self, table: str, parts: Sequence[Part]) -> None:
        """All at once: a table that is half split is split again."""
        rows = [
            {
                "number": part.number,
                "keyed": part.keyed,
                "lower": None if part.lower is None else list(part.lower),
                "upper": None if part.upper is None else list(part.upper),
            }
            for part in parts
        ]
        with self.lock:
            self.conn.execute(_QUERIES["begin"], {"validation": self.validation, "table": table, "parts": Jsonb(rows)})

    def done(self, table: str, part: Part, result: PartResult) -> None:
        """The part, with rows that differ."""
        document = {
            "rows": result.rows,
            "differing": [[list(key), *pair] for key, pair in result.differing.items()],
            "unsettled": [list(key) for key in result.unsettled],
            "settled": result.settled,
            "unread": result.unread,
        }
        with self.lock:
            self.conn.execute(
                _QUERIES["done"],
                {
                    "validation": self.validation,
                    "table": table,
                    "number": part.number,
                    "result": Jsonb(document, dumps=json.dumps),
                },
            )


def _result(document: dict[str, Any]) -> PartResult:
    there, here = document["rows"]
    return PartResult(
        rows=(there, here),
        differing={tuple(key): (tuple(ours), tuple(theirs)) for key, ours, theirs in document["differing"]},
        unsettled=[tuple(key) for key in document["unsettled"]],
        settled=document["settled"],
        unread=document["unread"],
    )
