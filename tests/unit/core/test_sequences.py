"""What is set on the target never hands out again what the source, or the target itself, may have handed out."""

from hypothesis import given
from hypothesis import strategies as st

from crossfade.catalog import Sequence
from crossfade.sequences import SequenceState, carry, set_ahead

BIGINT = 2**63 - 1


def sequence(increment: int = 1, minimum: int = 1, maximum: int = BIGINT, name: str = "orders_id_seq") -> Sequence:
    return Sequence(schema="public", name=name, increment=increment, minimum=minimum, maximum=maximum)


def called(value: int) -> SequenceState:
    return SequenceState(last_value=value, is_called=True)


def unused(value: int = 1) -> SequenceState:
    return SequenceState(last_value=value, is_called=False)


INCREMENTS = st.integers(min_value=-1000, max_value=1000).filter(bool)
MARGINS = st.integers(min_value=0, max_value=10_000)


@st.composite
def sequences(draw: st.DrawFn) -> Sequence:
    low = draw(st.integers(min_value=-BIGINT - 1, max_value=BIGINT - 1))
    high = draw(st.integers(min_value=low + 1, max_value=min(BIGINT, low + draw(st.sampled_from([10, 10**6, 2**64])))))
    return sequence(increment=draw(INCREMENTS), minimum=low, maximum=high)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Sequence, SequenceState, SequenceState]:
    """A sequence, and where it is on the source and on the target."""
    chosen = draw(sequences())
    values = st.integers(min_value=chosen.minimum, max_value=chosen.maximum)
    states = st.builds(SequenceState, last_value=values, is_called=st.booleans())
    return chosen, draw(states), draw(states)


def step(chosen: Sequence) -> int:
    return 1 if chosen.increment > 0 else -1


@given(situations(), MARGINS)
def test_a_margin_never_leads_backwards_nor_out_of_bounds(
    situation: tuple[Sequence, SequenceState, SequenceState], margin: int
) -> None:
    chosen, state, _ = situation
    ahead = state.ahead(chosen, margin)
    assert chosen.minimum <= ahead.last_value <= chosen.maximum
    assert step(chosen) * ahead.following(chosen) >= step(chosen) * state.following(chosen)
    assert ahead.is_called == state.is_called


@given(situations(), MARGINS)
def test_after_the_pause_the_target_is_at_or_past_the_source_and_where_it_was(
    situation: tuple[Sequence, SequenceState, SequenceState], margin: int
) -> None:
    chosen, source, target = situation
    result = carry({chosen: source}, {chosen: target}, margin).get(chosen, target)
    assert result.at_or_past(source, chosen)
    assert result.at_or_past(target, chosen)
    assert chosen.minimum <= result.last_value <= chosen.maximum


@given(situations(), MARGINS)
def test_presetting_never_moves_the_target_backwards(
    situation: tuple[Sequence, SequenceState, SequenceState], margin: int
) -> None:
    chosen, source, target = situation
    result = set_ahead({chosen: source}, {chosen: target}, margin).get(chosen, target)
    assert result.at_or_past(source, chosen)
    assert result.at_or_past(target, chosen)


@given(increment=INCREMENTS, margin=MARGINS, used=MARGINS, value=st.integers(min_value=-(10**9), max_value=10**9))
def test_a_sequence_that_stayed_within_the_margin_is_not_set_again_in_the_pause(
    increment: int, margin: int, used: int, value: int
) -> None:
    chosen = sequence(increment=increment, minimum=-BIGINT)
    preset = set_ahead({chosen: called(value)}, {chosen: unused(-step(chosen) * 10**10)}, margin)
    moved = called(value + used * increment)
    assert (carry({chosen: moved}, preset, margin) == {}) == (used <= margin)


def test_the_margin_counts_increments() -> None:
    assert called(40).ahead(sequence(increment=10), 3) == called(70)


def test_a_descending_sequence_is_set_ahead_downwards() -> None:
    down = sequence(increment=-1, minimum=-1000, maximum=-1)
    assert called(-5).ahead(down, 100) == called(-105)
    assert called(-6).at_or_past(called(-5), down)
    assert not called(-4).at_or_past(called(-5), down)
    assert carry({down: called(-5)}, {down: unused(-1)}, 10) == {down: called(-15)}


def test_an_unused_sequence_stays_unused() -> None:
    assert unused(500).ahead(sequence(), 1000) == unused(500)
    assert carry({sequence(): unused()}, {sequence(): unused()}, 1000) == {}
    assert carry({sequence(): unused(500)}, {sequence(): unused(1)}, 1000) == {sequence(): unused(500)}


def test_a_sequence_too_near_its_bound_for_the_margin_is_copied_exactly() -> None:
    short = sequence(maximum=100)
    assert called(95).ahead(short, 5) == called(100)
    assert called(95).ahead(short, 6) == called(95)


def test_used_once_and_about_to_be_used_first_are_told_apart() -> None:
    assert called(1).following(sequence()) == 2
    assert unused(1).following(sequence()) == 1
    assert carry({sequence(): called(1)}, {sequence(): unused(1)}, 0) == {sequence(): called(1)}


def test_a_target_that_is_past_the_source_is_left_alone() -> None:
    assert carry({sequence(): called(5)}, {sequence(): called(900)}, 10) == {}
    assert set_ahead({sequence(): called(5)}, {sequence(): called(900)}, 10) == {}


def test_sequences_that_the_target_lacks_are_left_out() -> None:
    other = sequence(name="other")
    assert carry({sequence(): called(5)}, {other: called(1)}, 10) == {}
    assert set_ahead({sequence(): called(5)}, {other: called(1)}, 10) == {}
