"""Every way in which a database can disagree with the ledger is found."""

from collections.abc import Sequence
from dataclasses import replace

from crossfade_lab.ledger import DELETED, Outcome, Write
from crossfade_lab.verdict import Contents, Verdict, judge


def wrote(number: int, value: str | None = None, key: str = "price:p", outcome: str = "K") -> Write:
    return Write(uid=f"r-0-{number}", key=key, value=str(number) if value is None else value, outcome=Outcome(outcome))


def judged(
    writes: Sequence[Write],
    *,
    rows: Sequence[tuple[str, str]],
    events: Sequence[int] | None = None,
) -> Verdict:
    """The verdict; without `events`, one correct event for every acknowledged write."""
    numbers = [w.number for w in writes if w.outcome == "K"] if events is None else events
    return judge(writes, Contents(events=[(f"r-0-{number}", number) for number in numbers], rows=rows))


def test_a_database_that_holds_the_last_value_of_each_key_is_fine() -> None:
    writes = [wrote(1), wrote(2), wrote(3, key="price:q"), wrote(4, DELETED, key="price:q")]
    verdict = judged(writes, rows=[("price:p", "2")])
    assert verdict.ok, verdict.examples
    assert (verdict.attempted, verdict.acked_writes) == (4, 4)


def test_an_acknowledged_write_whose_event_is_absent_is_lost() -> None:
    assert judged([wrote(1), wrote(2)], rows=[("price:p", "2")], events=[2]).lost_writes == 1


def test_an_acknowledged_write_whose_row_is_absent_is_lost() -> None:
    verdict = judged([wrote(1)], rows=[])
    assert (verdict.lost_writes, verdict.ok) == (1, False)
    assert "price:p should be 1, is -" in verdict.examples[0]


def test_a_row_with_an_older_value_is_a_lost_write() -> None:
    assert judged([wrote(1), wrote(2)], rows=[("price:p", "1")]).lost_writes == 1


def test_a_deleted_row_that_is_still_there_is_a_lost_write() -> None:
    assert judged([wrote(1), wrote(2, DELETED)], rows=[("price:p", "1")]).lost_writes == 1


def test_a_write_lost_with_row_and_event_counts_once() -> None:
    assert judged([wrote(1)], rows=[], events=[]).lost_writes == 1


def test_an_event_with_another_value_is_a_lost_write() -> None:
    found = Contents(events=[("r-0-1", 7)], rows=[("price:p", "1")])
    assert judge([wrote(1)], found).lost_writes == 1


def test_a_doubled_event_and_a_doubled_row_are_found() -> None:
    assert judged([wrote(1)], rows=[("price:p", "1")], events=[1, 1, 1]).duplicated_writes == 2
    assert judged([wrote(1)], rows=[("price:p", "1")] * 2).duplicated_writes == 1


def test_what_nobody_attempted_is_a_phantom() -> None:
    assert judged([], rows=[("price:z", "1")]).phantom_writes == 1
    assert judged([], rows=[], events=[9]).phantom_writes == 1


def test_a_rejected_write_that_is_there_is_a_phantom() -> None:
    verdict = judged([wrote(1, outcome="N")], rows=[("price:p", "1")], events=[1])
    assert (verdict.phantom_writes, verdict.failed) == (2, 1)


def test_a_write_of_unknown_outcome_may_be_there_or_not() -> None:
    writes = [wrote(1), wrote(2, outcome="U")]
    assert judged(writes, rows=[("price:p", "1")]).ok
    assert judged(writes, rows=[("price:p", "2")], events=[1, 2]).ok
    assert not judged(writes, rows=[("price:p", "3")]).ok
    assert judged(writes, rows=[("price:p", "1")]).unknown == 1


def test_an_unknown_write_before_an_acknowledged_one_no_longer_counts() -> None:
    writes = [wrote(1, outcome="U"), replace(wrote(2))]
    assert judged(writes, rows=[("price:p", "1")]).lost_writes == 1
