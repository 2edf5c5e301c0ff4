"""Whether two databases have the same schema, and sequences that never hand out a number twice."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import psycopg

from crossfade.connect import Connection, scalar
from crossfade.plan import Tables
from crossfade.queries import named_queries
from crossfade.schema.inventory import Key, inventory
from crossfade.schema.scope import left_out
from crossfade.schema.statements import set_locally

_QUERIES = named_queries(__file__)
_MAY_DIFFER = {"extension version"}
_QUERIES_OF_VIEWS = {"view", "materialised view"}
_CHUNK = 200  #: sequences read by one statement


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One object that is not the same on both sides; None where a side lacks it."""

    kind: str
    identity: str
    on_source: str | None
    on_target: str | None

    def __str__(self) -> str:
        what = f"{self.kind} {self.identity}"
        if self.on_target is None:
            return f"{what}: missing on the target; the source has: {self.on_source}"
        if self.on_source is None:
            return f"{what}: only on the target: {self.on_target}"
        if "\n" not in self.on_source + self.on_target:
            return f"{what}: the source has {self.on_source!r}, the target {self.on_target!r}"
        lines = difflib.unified_diff(
            self.on_source.splitlines(), self.on_target.splitlines(), "source", "target", n=1, lineterm=""
        )
        return f"{what}:\n" + "\n".join(lines)


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What differs between two databases, and how much was compared."""

    differences: tuple[Difference, ...]
    objects: Mapping[str, int]  #: of the source, by kind


def compare(
    source: Connection,
    target: Connection,
    tables: Tables,
    *,
    nullable: Collection[tuple[str, str, str]] = (),
    nullable_on_source: Collection[tuple[str, str, str]] = (),
    carriers: Collection[str] = (),
) -> list[Difference]:
    """
    What differs between two databases, by kind and identity; empty when the schema arrived whole.

    Versions of extensions and CONNECT on the database may differ. Nothing is changed.
    :param nullable: schema, table and column, as stored, of NOT NULL that the target lacks for the time being
    :param nullable_on_source: the same of the source, to which rows come back
    :param carriers: roles that carry rows: what they are granted for that may differ
    """
    compared = comparison(
        source, target, tables, nullable=nullable, nullable_on_source=nullable_on_source, carriers=carriers
    )
    return list(compared.differences)


def comparison(
    source: Connection,
    target: Connection,
    tables: Tables,
    *,
    nullable: Collection[tuple[str, str, str]],
    nullable_on_source: Collection[tuple[str, str, str]],
    carriers: Collection[str],
) -> Comparison:
    """The same as `compare`, with the number of objects."""
    ours, theirs = inventory(source, tables, carriers), inventory(target, tables, carriers)
    for columns, there in ((nullable, ours), (nullable_on_source, theirs)):
        for column in columns:
            key = Key(kind="column", identity=_quoted(target, column))
            if key in there:
                there[key] = there[key].replace(", not null", "", 1)
    differences = [
        Difference(kind=key.kind, identity=key.identity, on_source=ours.get(key), on_target=theirs.get(key))
        for key in sorted(ours.keys() | theirs.keys())
        if ours.get(key) != theirs.get(key) and key.kind not in _MAY_DIFFER
    ]
    return Comparison(
        differences=tuple(difference for difference in differences if not _same_query(target, difference)),
        objects=Counter(key.kind for key in ours),
    )


def _quoted(conn: Connection, column: tuple[str, str, str]) -> str:
    """As `pg_identify_object` names it."""
    return str(scalar(conn, "SELECT concat_ws('.', quote_ident(%s), quote_ident(%s), quote_ident(%s))", column))


def _same_query(target: Connection, difference: Difference) -> bool:
    """
    Whether a view differs only in how its server prints it (16 stopped to qualify columns where one table is read):
    the target is asked to print the source's text, in a transaction that is rolled back.
    """
    if difference.kind not in _QUERIES_OF_VIEWS or difference.on_source is None or difference.on_target is None:
        return False
    try:
        with target.transaction(force_rollback=True):
            set_locally(target, {"search_path": ""})
            target.execute(f"CREATE TEMPORARY VIEW crossfade_probe AS {difference.on_source}".encode())
            printed = scalar(target, "SELECT pg_get_viewdef('pg_temp.crossfade_probe'::regclass)")
    except psycopg.Error:
        return False  # so it does differ: the target cannot even read it
    return bool(printed == difference.on_target)


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceState:
    """Where a sequence stands."""

    last_value: int
    is_called: bool
    increment: int

    @property
    def next_value(self) -> int:
        """The number it hands out next, but for its bounds."""
        return self.last_value + self.increment if self.is_called else self.last_value

    def __str__(self) -> str:
        return f"next {self.next_value}"


def sequence_states(conn: Connection, tables: Tables) -> dict[str, SequenceState]:
    """Where every sequence stands, by identity; read from the sequences themselves, since views hide unused ones."""
    relations = [relation.oid for relation in left_out(conn, tables)]
    increments = {
        row["identity"]: row["increment"]
        for row in conn.execute(_QUERIES["sequences"], {"left_out": relations}).fetchall()
    }
    names, states = list(increments), {}
    for start in range(0, len(names), _CHUNK):
        parts = [
            f"SELECT {start + n} AS n, last_value, is_called FROM {name}"  # noqa: S608  # identities come quoted
            for n, name in enumerate(names[start : start + _CHUNK])
        ]
        for row in conn.execute(" UNION ALL ".join(parts).encode()).fetchall():
            name = names[row.pop("n")]
            states[name] = SequenceState(**row, increment=increments[name])
    return states


def compare_sequences(source: Connection, target: Connection, tables: Tables) -> list[Difference]:
    """Sequences that the target lacks, or that would hand out a number again that the source has handed out."""
    ours, theirs = sequence_states(source, tables), sequence_states(target, tables)
    return [
        Difference(kind="sequence state", identity=name, on_source=str(state), on_target=_said(theirs.get(name)))
        for name, state in ours.items()
        if _behind(theirs.get(name), state)
    ]


def _behind(there: SequenceState | None, state: SequenceState) -> bool:
    if there is None:
        return True
    return (there.next_value - state.next_value) * (1 if state.increment > 0 else -1) < 0


def _said(state: SequenceState | None) -> str | None:
    return None if state is None else str(state)


__all__ = [
    "Comparison",
    "Difference",
    "Key",
    "SequenceState",
    "compare",
    "compare_sequences",
    "comparison",
    "sequence_states",
]
