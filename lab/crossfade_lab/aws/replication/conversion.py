"""What a value goes through on its way: as an SQL expression on the source (full load), in Python (changes).

By the chapter on PostgreSQL sources of the AWS DMS user guide: numeric without precision becomes NUMERIC(28,6),
infinite times are clipped, trailing blanks of char(n) go, booleans travel as 'true' and 'false', and a large object is
cut at the limit of its mode.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from psycopg import sql

from crossfade_lab.aws.replication.catalog import Column, Table

Converter = Callable[[bytes], bytes]
KB = 1024
LATEST, EARLIEST = "9999-12-31 23:59:59", "4713-01-01 00:00:00 BC"
_SCALE = decimal.Decimal("0.000001")
_DIGITS = decimal.Context(prec=20_000, rounding=decimal.ROUND_HALF_UP)
_TIMES = frozenset({"timestamp", "timestamptz", "date"})


@dataclass(frozen=True, kw_only=True, slots=True)
class LobPlan:
    """How the large objects of one table travel. Sizes are bytes."""

    mode: str  #: limited, full, none
    limit: int = 0  #: limited: what is longer is cut
    inline: int = 0  #: full: what is not longer is loaded with its row


def lob_plan(table: Table, metadata: Mapping[str, Any], own: Mapping[str, Any]) -> LobPlan:
    """The plan for a table, from the section TargetMetadata and the table's own `lob-settings`.

    A table without a primary key cannot have the full mode: rows are found again by it.
    """
    if own:
        size = int(own.get("bulk-max-size") or 0) * KB
        plan = {
            "limited": LobPlan(mode="limited", limit=size),
            "unlimited": LobPlan(mode="full", inline=size),
            "full": LobPlan(mode="full", inline=size),
        }.get(own["mode"], LobPlan(mode="none"))
    elif not metadata.get("SupportLobs", True):
        plan = LobPlan(mode="none")
    elif metadata.get("FullLobMode"):
        plan = LobPlan(mode="full", inline=int(metadata.get("InlineLobMaxSize") or 0) * KB)
    else:
        plan = LobPlan(mode="limited", limit=int(metadata.get("LobMaxSize") or 32) * KB)
    return LobPlan(mode="none") if plan.mode == "full" and not table.key else plan


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversion:
    """The conversions of one table's columns."""

    lobs: LobPlan
    booleans_kept: bool  #: MapBooleanAsBoolean
    numerics_kept: bool  #: MapUnboundedNumericAsString; the stream rounds all the same

    def loaded(self, column: Column) -> sql.Composable:
        """The column in the first pass of a full load."""
        name = sql.Identifier(column.name)
        if column.lob:
            return self._lob(column)
        if column.unbounded_numeric and not self.numerics_kept:
            return sql.SQL("round({}, 6)").format(name)
        if column.type in _TIMES:
            clip = "CASE {0} WHEN 'infinity' THEN {1} WHEN '-infinity' THEN {2} ELSE {0} END"
            return sql.SQL(clip).format(name, sql.Literal(LATEST), sql.Literal(EARLIEST))
        if column.type == "bpchar":
            return sql.SQL("rtrim({})").format(name)
        if column.type == "bool" and not self.booleans_kept:
            return sql.SQL("{}::text").format(name)
        return name

    def too_long(self, column: Column) -> sql.Composable:
        """Whether the limit cuts a value of this large object."""
        return sql.SQL("octet_length({}) > {}").format(plain(column), self.lobs.limit)

    def _lob(self, column: Column) -> sql.Composable:
        value = plain(column)
        if self.lobs.mode == "none":
            return sql.SQL("NULL")
        if self.lobs.mode == "full":
            if not self.lobs.inline:
                return sql.SQL("NULL")
            return sql.SQL("CASE WHEN octet_length({0}) <= {1} THEN {0} END").format(value, self.lobs.inline)
        cut = _cut_bytes if column.type == "bytea" else _cut_text
        return sql.SQL("CASE WHEN {} THEN {} ELSE {} END").format(
            self.too_long(column), sql.SQL(cut).format(v=value, n=sql.Literal(self.lobs.limit)), value
        )

    def changed(self, column: Column) -> Converter | None:
        """What a value of the stream goes through, or None."""
        if column.lob:
            if self.lobs.mode != "limited":
                return None
            return partial(cut_hex if column.type == "bytea" else cut_text, limit=self.lobs.limit)
        if column.unbounded_numeric:
            return rounded
        if column.type in _TIMES:
            return clipped
        if column.type == "bpchar":
            return bytes.rstrip
        if column.type == "bool" and not self.booleans_kept:
            return lambda value: b"true" if value == b"t" else b"false"
        return None


#: The longest beginning of at most n bytes that does not split a character (its later bytes begin with bits 10).
_cut_text = (
    "convert_from(substring(convert_to({v}, 'UTF8') from 1 for {n} - CASE"
    " WHEN get_byte(convert_to({v}, 'UTF8'), {n}) & 192 <> 128 THEN 0"
    " WHEN get_byte(convert_to({v}, 'UTF8'), {n} - 1) & 192 <> 128 THEN 1"
    " WHEN get_byte(convert_to({v}, 'UTF8'), {n} - 2) & 192 <> 128 THEN 2 ELSE 3 END), 'UTF8')"
)
_cut_bytes = "substring({v} from 1 for {n})"


def plain(column: Column) -> sql.Composable:
    """A large object in the form whose length counts: bytea as it is, all else as text."""
    name = sql.Identifier(column.name)
    return name if column.type in ("bytea", "text") and not column.array else sql.SQL("{}::text").format(name)


def cut_text(value: bytes, *, limit: int) -> bytes:
    """At most `limit` bytes of UTF-8, whole characters only."""
    if len(value) <= limit:
        return value
    while limit > 0 and value[limit] & 0xC0 == 0x80:
        limit -= 1
    return value[:limit]


def cut_hex(value: bytes, *, limit: int) -> bytes:
    r"""At most `limit` bytes of a bytea in hexadecimal form (`\x…`)."""
    return value[: 2 + 2 * limit]


def rounded(value: bytes) -> bytes:
    """A number as NUMERIC(28,6); NaN and the infinities stay."""
    number = decimal.Decimal(value.decode())
    return format(number.quantize(_SCALE, context=_DIGITS), "f").encode() if number.is_finite() else value


def clipped(value: bytes) -> bytes:
    """A time within what DMS can carry."""
    return {b"infinity": LATEST.encode(), b"-infinity": EARLIEST.encode()}.get(value, value)
