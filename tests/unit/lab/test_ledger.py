"""The ledger survives a crash of the workload, and says of each write what its client knew."""

from pathlib import Path

import pytest

from crossfade_lab.ledger import LedgerWriter, Outcome, Write, parse, read


def test_a_write_carries_the_outcome_entered_last(tmp_path: Path) -> None:
    with LedgerWriter(tmp_path, "run", 3) as ledger:
        for number in (1, 2, 3):
            ledger.attempt(Write(uid=f"run-3-{number}", key="price:p", value=str(number)))
        ledger.settle("run-3-1", Outcome.ACKNOWLEDGED)
        ledger.settle("run-3-2", Outcome.NOT_APPLIED, "duplicate\tkey\nvalue")
    first, second, third = read(tmp_path)
    assert (first.outcome, first.key, first.value, first.number, first.run) == ("K", "price:p", "1", 1, "run")
    assert (second.outcome, second.error) == ("N", "duplicate key value")
    assert third.outcome is Outcome.UNKNOWN, "attempted, and nobody knows what became of it"


def test_a_line_cut_short_by_a_crash_is_ignored() -> None:
    (write,) = parse("A\tr-0-1\tprice:p\t1\nK\tr-0-1\nA\tr-0-2\tprice")
    assert write.uid == "r-0-1"


def test_an_outcome_without_an_attempt_is_refused() -> None:
    with pytest.raises(ValueError, match="never attempted"):
        list(parse("K\tr-0-1\n"))


def test_a_directory_without_a_ledger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no"):
        read(tmp_path)
