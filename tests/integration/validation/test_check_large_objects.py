"""Large objects: what is missing, what differs by a byte or in length; and what may not be told a difference."""

from __future__ import annotations

import pytest

from crossfade.connect import scalar
from crossfade.routers.base import Side
from crossfade.validation import large_objects
from crossfade.validation.checks import run_checks
from crossfade.validation.result import CheckResult, Mode, Verdict

LONG = "SELECT lo_from_bytea(20000, convert_to(repeat('0123456789', 1500), 'UTF8'))"  # 8 pages


def check(sides, mode: Mode = Mode.FULL) -> CheckResult:
    """Its result."""
    found = {result.name: result for result in run_checks(sides, mode)}
    assert {name for name, result in found.items() if result.verdict is not Verdict.OK} <= {"large objects"}
    return found["large objects"]


def on(twins, side: str, statement: str) -> None:
    """Run it as the superuser."""
    with twins.end(side).session("test") as conn:
        conn.execute(statement.encode())


@pytest.fixture
def equal(twins):
    """A pair with the same large objects on both sides: short, long, empty."""
    twins.on_both(
        f"SELECT lo_from_bytea(16500, 'abc'); {LONG}; SELECT lo_create(20001); SELECT lo_from_bytea(30000, 'z')"
    )
    return twins


@pytest.fixture(params=[2, 20_000])
def pieces(request, monkeypatch) -> None:
    """Small pieces, so that the large object is in several; and one piece."""
    monkeypatch.setattr(large_objects, "PIECE", request.param)


def test_the_same_ones_are_ok(equal, both, pieces) -> None:
    found = check(both(equal))
    assert found.verdict is Verdict.OK
    assert found.note == "4 on the source, 4 on the target; their content was read"


def test_none_on_the_target_is_told_with_what_to_do(twins, both, pieces) -> None:
    on(twins, "source", LONG)
    for mode in Mode:
        found = check(both(twins), mode)
        assert found.verdict is Verdict.MISMATCH
        assert found.lines[0] == "large object 20000 is missing on the target"
        assert found.lines[1].startswith("replication does not carry large objects: move their content into bytea")
        assert len(found.lines) == 2


def test_each_kind_of_difference_is_named(equal, both, pieces) -> None:
    on(equal, "target", "SELECT lo_put(20000, 14999, 'x')")  # the last byte
    on(equal, "target", "SELECT lo_unlink(20001); SELECT lo_from_bytea(40000, 'new')")
    on(equal, "source", r"SELECT lo_put(16500, 3, '\x00')")  # longer by a zero
    assert check(both(equal)).lines[:-1] == (
        "large object 16500 differs",
        "large object 20000 differs",
        "large object 20001 is missing on the target",
        "large object 40000 is only on the target",
    )


def test_pages_that_changed_places_differ(equal, both, pieces) -> None:
    swapped = "SELECT lo_put(30000, 0, convert_to({} || {}, 'UTF8'))"
    a, b = "repeat('a', 2048)", "repeat('b', 2048)"
    on(equal, "source", swapped.format(a, b))
    on(equal, "target", swapped.format(b, a))
    assert check(both(equal)).lines[0] == "large object 30000 differs"


def test_holes_arrive_as_zeros_and_are_no_difference(equal, both) -> None:
    on(equal, "source", "SELECT lo_put(30000, 9000, 'end')")  # pages 1 to 3 do not exist
    with equal.connect("source") as source, equal.connect("target") as target:
        content = scalar(source, "SELECT lo_get(30000)")
        target.execute("SELECT lo_unlink(30000)")
        target.execute("SELECT lo_from_bytea(30000, %s)", [content])
        pages = "SELECT count(*) FROM pg_largeobject WHERE loid = 30000"
        assert scalar(source, pages) < scalar(target, pages)
    assert check(both(equal)).verdict is Verdict.OK


@pytest.mark.parametrize("mode", [Mode.QUICK, Mode.SAMPLE])
def test_content_is_read_in_the_mode_full_only_and_the_note_says_so(equal, both, mode) -> None:
    on(equal, "target", "SELECT lo_put(16500, 0, 'x')")
    found = check(both(equal), mode)
    assert found.verdict is Verdict.OK
    assert found.note.endswith("their content was not read: that is done in the mode full")


def test_after_a_cutover_a_difference_is_no_proof_of_a_loss(equal, both) -> None:
    on(equal, "target", "SELECT lo_from_bytea(40000, 'new')")
    found = check(both(equal, authority=Side.TARGET))
    assert found.verdict is Verdict.INCOMPLETE
    assert found.lines[0] == "large object 40000 is only on the target"
    assert "a rollback would lose what was changed" in found.lines[1]


def test_many_are_counted(equal, both, pieces) -> None:
    on(equal, "source", "SELECT lo_create(n) FROM generate_series(50001, 50100) AS n")
    found = check(both(equal))
    assert found.lines[-2] == "and 80 more"
    assert len(found.lines) == 22
