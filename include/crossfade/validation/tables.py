"""Comparing all tables: their parts, several at a time, the largest table first; what cannot be read stops no other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from typing import TypeVar

import psycopg

from crossfade.catalog import Table
from crossfade.errors import CrossfadeError
from crossfade.plan_validate import ColumnRule, Validate
from crossfade.validation.compare import LISTED, MOST, Pair, PartResult, compare_part, described, look_again
from crossfade.validation.digest import Digests, Key, Row
from crossfade.validation.parts import Part, by_key, estimate, shares, spacing, split
from crossfade.validation.progress import Progress
from crossfade.validation.repair import NotRepairable, repair
from crossfade.validation.result import RowDifference, TableResult, Verdict, in_one_line
from crossfade.validation.rowhash import RowHash
from crossfade.validation.settle import Settled
from crossfade.validation.work import Pairs, Sessions, Work

_TRIES = 3  #: of one part, where a connection is lost
_AGAIN_SECONDS = 2.0

T = TypeVar("T")


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
        self._sessions = Sessions(pairs)
        self._repair = threading.Lock()  # a replication origin is one session's at a time
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
            running: list[Future[TableResult | None]] = []
            for begun in pool.map(self._begin, self.ours):
                if isinstance(begun, TableResult):
                    yield begun
                    continue
                running += [pool.submit(self._take, begun, part) for part in begun.pending]
                if not begun.pending:
                    running.append(pool.submit(self._end, begun))
            for number, future in enumerate(as_completed(running), 1):
                self.told(number, len(running))
                if (result := future.result()) is not None:
                    yield result

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
        except (psycopg.Error, CrossfadeError, UnicodeError) as error:
            return TableResult.not_compared(table.full_name, in_one_line(error))
        keyed = all(part.keyed for part in kept)
        rows = self.settings.part_rows if keyed else max(table.rows_estimate, other.rows_estimate)
        return Work(
            digests=Digests(
                self._hashes[table.full_name],
                rows=rows,
                piece_rows=5 * self.settings.part_rows,
                spacing=spacing(tuple(kept), self.settings.part_rows),
            ),
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

    def _take(self, work: Work, part: Part) -> TableResult | None:
        """One part and, if it was the table's last one, the end."""
        self._compare(work, part)
        return self._end(work) if work.end_part() else None

    def _compare(self, work: Work, part: Part) -> None:
        if work.failed:
            return
        if reservation := self.gently():
            work.reservations.append(reservation)
        start = time.monotonic()
        most = MOST - sum(len(result.differing) for result in list(work.done.values()))

        def compare(pair: Pair) -> PartResult:
            closely = work.closely or not part.keyed
            return compare_part(
                pair, work.digests, part, seconds=self._settle, most=most, closely=closely, defer=work.room
            )

        try:
            result = self._trying(compare)
        except (psycopg.Error, CrossfadeError, UnicodeError) as error:
            return work.fail(error)
        work.done[part.number], work.closely = result, not result.quiet
        work.seconds += time.monotonic() - start
        return self.progress.done(work.table.full_name, part, result)

    @property
    def _settle(self) -> float:
        return self.settings.settle.total_seconds()

    def _trying(self, act: Callable[[Pair], T]) -> T:
        """With a pair of sessions; once more with new ones where they were lost. Raises what the last try raises."""
        for _ in range(1, _TRIES):
            try:
                with self._sessions.pair() as pair:
                    return act(pair)
            except psycopg.errors.QueryCanceled:
                raise
            except psycopg.OperationalError:
                time.sleep(_AGAIN_SECONDS)
        with self._sessions.pair() as pair:
            return act(pair)

    def _look_again(self, work: Work, suspects: list[Key], most: int) -> Settled:
        """What becomes of the rows that differed at first. What goes wrong is a problem of the table."""
        if not suspects:  # no session is needed, and none that is lost takes away what was found
            return Settled()
        start = time.monotonic()
        try:
            return self._trying(lambda pair: look_again(pair, work.digests, suspects, seconds=self._settle, most=most))
        except (psycopg.Error, CrossfadeError, UnicodeError) as error:
            why = in_one_line(error)
            work.problems.append(f"{len(suspects)} rows that differed at first were not looked at again: {why}")
            return Settled()
        finally:
            work.seconds += time.monotonic() - start

    def _end(self, work: Work) -> TableResult:
        """Put a table's parts together, and read the columns of rows that differ."""
        results = list(work.done.values())
        differing = {key: pair for result in results for key, pair in result.differing.items()}
        suspects = [key for result in results for key in result.suspects]
        found = self._look_again(work, suspects, MOST - len(differing))
        differing |= found.differing
        moving = [key for result in results for key in result.unsettled] + found.moving
        differences: tuple[RowDifference, ...] = ()
        before: tuple[RowDifference, ...] = ()
        wrong, repairing = len(differing), ""
        try:
            if differing:
                with self._sessions.pair() as pair:
                    differences = described(pair, work.digests, _first(differing))
                    if self.repairing:
                        with self._repair:
                            repair(pair, work.digests, differing)
                        before, repairing = differences, "looked at again after their repair"
                        again = look_again(pair, work.digests, differing, seconds=self._settle)
                        moving += again.moving
                        differing, differences = again.differing, described(pair, work.digests, _first(again.differing))
        except NotRepairable as error:
            work.problems.append(in_one_line(error))
        except (psycopg.Error, CrossfadeError, UnicodeError) as error:
            doing = (repairing or "repaired") if differences else "read"
            work.problems.append(f"rows that differ were not {doing}: {in_one_line(error)}")
        rows = sum(r.rows[0] for r in results), sum(r.rows[1] for r in results)
        unsettled = [work.digests.describe(key) for key in moving]
        unread = sum(result.unread for result in results)
        unread += len(suspects) - found.equal - len(found.moving) - len(found.differing)
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
            settled=sum(result.settled for result in results) + found.equal,
            unsettled=tuple(unsettled[:LISTED]),
            overridden=work.digests.row_hash.overridden,
            notes=work.notes(),
            repaired=wrong - len(differing) if before else 0,
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


def _first(differing: dict[Key, tuple[Row, Row]]) -> dict[Key, tuple[Row, Row]]:
    return dict(sorted(differing.items(), key=lambda item: str(item[0]))[:LISTED])


def _without(rules: Mapping[str, ColumnRule], key: Sequence[str]) -> dict[str, ColumnRule]:
    return {name: rule for name, rule in rules.items() if name not in key}
