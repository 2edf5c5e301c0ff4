"""Comparing all tables: their parts, several at a time, the largest table first; what cannot be read stops no other."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Literal

import psycopg

from crossfade.catalog import Table
from crossfade.errors import CrossfadeError
from crossfade.plan_validate import ColumnRule, Validate
from crossfade.validation.compare import LISTED, MOST, Pair, PartResult, compare_part, described, look_again
from crossfade.validation.digest import Digests, Key, Row
from crossfade.validation.parts import Part, by_key, estimate, shares, split
from crossfade.validation.progress import Progress
from crossfade.validation.repair import NotRepairable, repair
from crossfade.validation.result import RowDifference, TableResult, Verdict, in_one_line
from crossfade.validation.rowhash import RowHash

_TRIES = 3  #: of one part, where a connection is lost
_AGAIN_SECONDS = 2.0

Pairs = Callable[[], AbstractContextManager[Pair]]


@dataclass(kw_only=True)
class Work:
    """One table on its way."""

    digests: Digests
    parts: tuple[Part, ...]
    method: Literal["key ranges", "pages"]
    problems: list[str]
    reservations: list[str] = field(default_factory=list)  #: of parts that were compared although it was no good time
    done: dict[int, PartResult] = field(default_factory=dict)
    seconds: float = 0.0  #: of all parts together
    failed: bool = False

    @property
    def table(self) -> Table:
        """As the source has it."""
        return self.digests.table

    def fail(self, error: Exception) -> None:
        """It is not compared to its end."""
        if not self.failed:
            self.problems.append(f"not compared to its end: {in_one_line(error)}")
        self.failed = True


class Comparison:
    """
    All tables of a plan.

    :param ours: the tables as the source has them
    :param theirs: as the target has them
    :param pairs: opens sessions for one part at a time
    :param progress: keeps what was done, for who goes on after a kill
    :param gently: called before each part; may wait, and says why it did not wait for longer
    :param repairing: put rows right that differ, on the side that does not serve
    :param sample: per cent of each table; None: all of it
    :param told: called with how many parts are done, and of how many

    Raises `UnknownColumn` where the plan has a rule for a column that is not there.
    """

    def __init__(
        self,
        settings: Validate,
        ours: Sequence[Table],
        theirs: Sequence[Table],
        *,
        pairs: Pairs,
        progress: Progress,
        gently: Callable[[], str] = lambda: "",
        repairing: bool = False,
        sample: float | None = None,
        told: Callable[[int, int], None] = lambda done, of: None,
    ) -> None:
        self.settings, self.progress, self.gently, self.repairing = settings, progress, gently, repairing
        self.sample, self.told = sample, told
        self.ours = sorted(ours, key=lambda table: -table.bytes)
        self.theirs = {table.full_name: table for table in theirs}
        self._sessions = _Sessions(pairs)
        self._hashes = {table.full_name: self._row_hash(table) for table in self.ours}

    def _row_hash(self, table: Table) -> RowHash:
        """By the columns that both sides have."""
        rules = self.settings.columns.get(table.full_name, {})
        RowHash(table, rules)  # raises for rules that name no column
        other = self.theirs.get(table.full_name)
        if other is None:
            return RowHash(table, rules)
        types = {column.name: column.type for column in other.columns}
        only_here = {c.name: ColumnRule(ignore=True) for c in table.columns if c.name not in types}
        differing = frozenset(c.name for c in table.columns if types.get(c.name, c.type) != c.type)
        return RowHash(table, {**rules, **_without(only_here, table.key)}, as_text=differing)

    def run(self) -> Iterator[TableResult]:
        """Results as they come. What goes wrong with a table is its result."""
        with ExitStack() as stack:
            stack.enter_context(self._sessions)
            pool = stack.enter_context(ThreadPoolExecutor(self.settings.jobs, "validate"))
            stack.callback(pool.shutdown, cancel_futures=True)
            parts: dict[Future[None], Work] = {}
            left: dict[str, int] = {}
            for begun in pool.map(self._begin, self.ours):
                if isinstance(begun, TableResult):
                    yield begun
                    continue
                pending = [part for part in begun.parts if part.number not in begun.done]
                left[begun.table.full_name] = len(pending)
                parts.update({pool.submit(self._compare, begun, part): begun for part in pending})
                if not pending:
                    yield self._end(begun)
            for number, future in enumerate(as_completed(parts), 1):
                future.result()
                self.told(number, len(parts))
                work = parts[future]
                left[work.table.full_name] -= 1
                if left[work.table.full_name] == 0:
                    yield self._end(work)

    def _begin(self, table: Table) -> Work | TableResult:
        """How a table is split. A result at once, where it cannot be compared."""
        other = self.theirs.get(table.full_name)
        if other is None:
            return TableResult.not_compared(table.full_name, "the target has no such table")
        ours, theirs = {c.name for c in table.columns}, {c.name for c in other.columns}
        if missing := [name for name in table.key if name not in theirs]:
            why = f"its key has the column {', '.join(missing)}, which the target lacks"
            return TableResult.not_compared(table.full_name, why)
        try:
            kept = self.progress.parts(table.full_name)
            if kept is None:
                parts = self._parts(table)
                self.progress.begin(table.full_name, parts)
                kept = dict.fromkeys(parts)
        except (psycopg.Error, CrossfadeError) as error:
            return TableResult.not_compared(table.full_name, in_one_line(error))
        keyed = all(part.keyed for part in kept)
        rows = self.settings.part_rows if keyed else max(table.rows_estimate, other.rows_estimate)
        return Work(
            digests=Digests(self._hashes[table.full_name], rows=rows, piece_rows=5 * self.settings.part_rows),
            parts=tuple(kept),
            method="key ranges" if keyed else "pages",
            problems=[
                f"the column {name} is only on the {side}: it was not compared"
                for side, names in (("source", ours - theirs), ("target", theirs - ours))
                for name in sorted(names)
            ],
            done={part.number: result for part, result in kept.items() if result is not None},
        )

    def _parts(self, table: Table) -> Sequence[Part]:
        """Those that are compared. Raises `psycopg.Error`."""
        with self._sessions.pair() as pair:
            ranged = by_key(pair.source, pair.target, table)
            parts = split(pair.source, table, self.settings.part_rows) if ranged else [Part(keyed=False)]
        if self.sample is None:
            return parts
        if not ranged:
            parts = shares(self.sample)
        return self.progress.chosen(table.full_name, parts, self.sample)

    def _compare(self, work: Work, part: Part) -> None:
        """One part; once more on new sessions where they were lost."""
        if work.failed:
            return
        if reservation := self.gently():
            work.reservations.append(reservation)
        start = time.monotonic()
        for tried in range(1, _TRIES + 1):
            try:
                with self._sessions.pair() as pair:
                    seconds = self.settings.settle.total_seconds()
                    most = MOST - sum(len(result.differing) for result in list(work.done.values()))
                    work.done[part.number] = compare_part(pair, work.digests, part, seconds=seconds, most=most)
                break
            except (psycopg.Error, CrossfadeError) as error:
                lost = isinstance(error, psycopg.OperationalError) and not isinstance(
                    error, psycopg.errors.QueryCanceled
                )
                if tried == _TRIES or not lost:
                    return work.fail(error)
                time.sleep(_AGAIN_SECONDS)
        work.seconds += time.monotonic() - start
        return self.progress.done(work.table.full_name, part, work.done[part.number])

    def _end(self, work: Work) -> TableResult:
        """Put a table's parts together, and read the columns of rows that differ."""
        results = list(work.done.values())
        differing = {key: pair for result in results for key, pair in result.differing.items()}
        differences: tuple[RowDifference, ...] = ()
        before: tuple[RowDifference, ...] = ()
        wrong = len(differing)
        try:
            if differing:  # else no session is needed, and none that is lost takes away what was found
                with self._sessions.pair() as pair:
                    differences = described(pair, work.digests, _first(differing))
                    if self.repairing:
                        repair(pair, work.digests, differing)
                        seconds = self.settings.settle.total_seconds()
                        left = look_again(pair, work.digests, differing, seconds=seconds).differing
                        before = differences
                        differing, differences = left, described(pair, work.digests, _first(left))
        except NotRepairable as error:
            work.problems.append(in_one_line(error))
        except (psycopg.Error, CrossfadeError) as error:
            doing = "repaired" if differences else "read"
            work.problems.append(f"rows that differ were not {doing}: {in_one_line(error)}")
        rows = sum(r.rows[0] for r in results), sum(r.rows[1] for r in results)
        unsettled = [work.digests.describe(key) for result in results for key in result.unsettled]
        unread = sum(result.unread for result in results)
        problems = [
            *work.problems,
            *([f"up to {unread:,} more rows differ, which were not looked at"] if unread else []),
        ]
        incomplete = Verdict.INCOMPLETE if problems or unsettled else Verdict.OK
        return TableResult(
            table=work.table.full_name,
            verdict=Verdict.MISMATCH if differing else incomplete,
            method=work.method,
            rows=rows,
            coverage=self._coverage(work, rows[0]),
            parts=len(work.parts),
            differences=differences,
            more=len(differing) - len(differences),
            settled=sum(result.settled for result in results),
            unsettled=tuple(unsettled[:LISTED]),
            overridden=work.digests.row_hash.overridden,
            notes=_notes(work),
            repaired=wrong - len(differing),
            repaired_rows=before,
            error="; ".join(problems),
            seconds=work.seconds,
        )

    def _coverage(self, work: Work, rows: int) -> float:
        """How much of the table was compared: by parts or, of a sample, by rows."""
        expected = max(estimate(work.table), rows)
        if self.sample is None or not expected:
            return len(work.done) / len(work.parts)
        return rows / expected


class _Sessions:
    """Pairs of sessions, opened when needed and used again; one on which something failed is closed."""

    def __init__(self, pairs: Pairs) -> None:
        self._pairs = pairs
        self._idle: queue.SimpleQueue[tuple[Pair, ExitStack]] = queue.SimpleQueue()

    def __enter__(self) -> _Sessions:
        return self

    def __exit__(self, *_: object) -> None:
        while not self._idle.empty():
            self._idle.get()[1].close()

    @contextmanager
    def pair(self) -> Iterator[Pair]:
        """One that nobody else uses. Raises what opening it raises."""
        try:
            pair, stack = self._idle.get_nowait()
        except queue.Empty:
            stack = ExitStack()
            pair = stack.enter_context(self._pairs())
        try:
            yield pair
        except BaseException:
            stack.close()
            raise
        self._idle.put((pair, stack))


def _first(differing: dict[Key, tuple[Row, Row]]) -> dict[Key, tuple[Row, Row]]:
    return dict(sorted(differing.items(), key=lambda item: str(item[0]))[:LISTED])


def _notes(work: Work) -> tuple[str, ...]:
    if not work.reservations:
        return ()
    return (f"{len(work.reservations)} of {len(work.parts)} parts were compared although {work.reservations[0]}",)


def _without(rules: Mapping[str, ColumnRule], key: Sequence[str]) -> dict[str, ColumnRule]:
    return {name: rule for name, rule in rules.items() if name not in key}
