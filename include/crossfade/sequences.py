"""Sequences: read exactly, set ahead by a margin, never backwards. Row replication does not carry them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from psycopg import sql

from crossfade.catalog import Sequence
from crossfade.connect import Connection


@dataclass(frozen=True, kw_only=True, slots=True)
class SequenceState:
    """Where a sequence is. ``max(id)`` would hand out ids of deleted rows again, so this is copied."""

    last_value: int
    is_called: bool  #: False: last_value itself is handed out next

    def following(self, sequence: Sequence) -> int:
        """The number that nextval hands out next, bounds aside."""
        return self.last_value + sequence.increment if self.is_called else self.last_value

    def ahead(self, sequence: Sequence, margin: int) -> SequenceState:
        """That many increments further; exactly here where it was never used or a bound is too near."""
        if not self.is_called:
            return self
        value = self.last_value + margin * sequence.increment
        if not sequence.minimum <= value <= sequence.maximum:
            return self
        return SequenceState(last_value=value, is_called=True)

    def at_or_past(self, other: SequenceState, sequence: Sequence) -> bool:
        """Whether nothing that the other may have handed out comes again from here."""
        step = 1 if sequence.increment > 0 else -1
        return step * self.following(sequence) >= step * other.following(sequence)


States = Mapping[Sequence, SequenceState]


def read(conn: Connection, sequences: Iterable[Sequence]) -> dict[Sequence, SequenceState]:
    """The state of each sequence, in one statement."""
    chosen = list(sequences)
    if not chosen:
        return {}
    query = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {} AS n, last_value, is_called FROM {}").format(sql.Literal(n), sequence.identifier)
        for n, sequence in enumerate(chosen)
    )
    return {
        chosen[row["n"]]: SequenceState(last_value=row["last_value"], is_called=row["is_called"])
        for row in conn.execute(query).fetchall()
    }


def write(conn: Connection, states: States) -> None:
    """Set each sequence to its state, in one statement."""
    if not states:
        return
    conn.execute(
        "SELECT setval(s.name::regclass, s.last_value, s.is_called)"
        " FROM unnest(%s::text[], %s::bigint[], %s::boolean[]) AS s(name, last_value, is_called)",
        [
            [sequence.identifier.as_string(None) for sequence in states],
            [state.last_value for state in states.values()],
            [state.is_called for state in states.values()],
        ],
    )


def carry(source: States, target: States, margin: int) -> dict[Sequence, SequenceState]:
    """What must be set on the target: the source's states plus the margin, for those that are behind the source."""
    return {
        sequence: state.ahead(sequence, margin)
        for sequence, state in source.items()
        if sequence in target and not target[sequence].at_or_past(state, sequence)
    }


def set_ahead(source: States, target: States, margin: int) -> dict[Sequence, SequenceState]:
    """What to set on the target before a cutover: everything a margin ahead, so that few are behind in the pause."""
    wanted = {sequence: state.ahead(sequence, margin) for sequence, state in source.items() if sequence in target}
    return {
        sequence: state
        for sequence, state in wanted.items()
        if state != target[sequence] and state.at_or_past(target[sequence], sequence)
    }
