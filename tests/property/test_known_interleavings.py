"""Interleavings that a search would seldom meet, each replayed step by step: late pauses, lost answers, two runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from imagined_actors import Fault
from test_cutover_property import Interleavings

from crossfade.cutover.decision import AnotherActs
from crossfade.cutover.order import CutoverUndone, Refused
from crossfade.cutover.steps import BEFORE_DECISION
from crossfade.journal import State
from crossfade.routers.base import Direction, Side


@pytest.fixture(params=[True, False], ids=["origins are told", "no origins"])
def play(request: pytest.FixtureRequest) -> Iterator[Interleavings]:
    """A world that has caught up; at the end everything comes up, everybody ends, and all is checked."""
    play = Interleavings()
    play.begin(origins=request.param, public=False)
    yield play
    play.teardown()


def there(play: Interleavings, direction: Direction) -> None:
    """Go to where a cutover of that direction begins."""
    if direction is Direction.BACK:
        play._end(play._start("cutover"))
        assert play.world.state is State.CUT_OVER


directions = pytest.mark.parametrize("direction", list(Direction))


def test_there_and_back_twice_carries_every_write(play: Interleavings) -> None:
    for direction in (Direction.FORWARD, Direction.BACK) * 2:
        actor = play._start("cutover")
        while not actor.done:
            for pooler in play.world.poolers:
                play.world.write(pooler)
            play._step(actor)
        assert actor.error is None
        assert play.world.poolers[0].leads_to is direction.new
        play.world.check_at_rest()
    assert len(play.world.acknowledged) > 50


@directions
def test_of_two_runs_that_begin_at_once_the_second_changes_nothing(play: Interleavings, direction: Direction) -> None:
    there(play, direction)
    one, other = play._start("cutover"), play._start("cutover")
    for actor in (one, other):
        # the session of its section: both have ended whoever was there before (and the journal's is on the target)
        play._to(actor, f"{direction.old}: connect", 2 if direction is Direction.FORWARD else 3)
    play._to(other, "pg_try_advisory_lock", 1)  # and this one has found nothing in its way
    play._end(one)
    play._end(other)
    assert one.error is None
    assert isinstance(other.error, Refused | AnotherActs)
    play.world.check_at_rest()
    assert play.world.poolers[0].leads_to is direction.new


@directions
def test_a_client_that_came_past_the_poolers_writes_to_one_side_only(play: Interleavings, direction: Direction) -> None:
    there(play, direction)
    play.world.log_in(direction.old)
    actor = play._start("cutover")
    while not actor.done:
        play.world.write_directly(0)
        play._step(actor)
    assert actor.error is None
    assert play.world.acknowledged
    play.world.check_at_rest()


@directions
@pytest.mark.parametrize("earlier", ["none", "undone"])
def test_an_abort_that_waited_for_a_whole_cutover_obeys_it(
    play: Interleavings, direction: Direction, earlier: str
) -> None:
    there(play, direction)
    if earlier == "undone":
        undone = play._to(play._start("cutover"), "smoke", 1)
        play._step(undone, Fault.LOST_BEFORE)
        play._end(undone)
        assert isinstance(undone.error, CutoverUndone)
    abort = play._to(play._start("abort"), "pg_try_advisory_lock", 1)
    play._end(play._start("cutover"))
    play._end(abort)
    play.world.check_at_rest()
    assert play.world.poolers[0].leads_to is direction.new


@directions
def test_a_pause_that_comes_after_the_next_try_is_taken_back(play: Interleavings, direction: Direction) -> None:
    there(play, direction)
    late = play._to(play._start("cutover"), "pooler 1: pause", 1)
    play._end(play._start("cutover"))
    play._end(late)
    assert not any(pooler.paused for pooler in play.world.poolers)


@directions
@pytest.mark.parametrize("step", range(1, len(BEFORE_DECISION) + 1))
def test_an_undo_restores_exactly_what_was(play: Interleavings, direction: Direction, step: int) -> None:
    there(play, direction)
    before = play.world.picture()
    actor = play._to(play._start("cutover"), "crossfade.step", step)
    play.somebody_asks_to_abort(direction.old)
    play._end(actor)
    if step == len(BEFORE_DECISION):  # this one had looked already
        assert actor.error is None
        return
    assert isinstance(actor.error, CutoverUndone)
    assert play.world.picture() == before
    assert play.world.over()


@directions
@pytest.mark.parametrize("fault", [Fault.LOST_BEFORE, Fault.LOST_AFTER])
def test_a_decision_of_unknown_outcome_is_asked_for_again(
    play: Interleavings, direction: Direction, fault: Fault
) -> None:
    there(play, direction)
    actor = play._to(play._to(play._start("cutover"), "smoke", 1), f"{direction.old}: transaction", 1)
    begun = play.world.scheduler.now
    play._step(actor, fault)
    play._end(actor)
    assert actor.error is None
    assert play.world.scheduler.now - begun < 10, "clients were held"
    assert [(pooler.leads_to, pooler.paused) for pooler in play.world.poolers] == [(direction.new, False)] * 2


@directions
@pytest.mark.parametrize("side", list(Side))
def test_a_server_that_restarts_after_the_decision_keeps_clients_waiting_for_no_more_than_that(
    play: Interleavings, direction: Direction, side: Side
) -> None:
    there(play, direction)
    actor = play._to(play._to(play._start("cutover"), "smoke", 1), f"{direction.new}: transaction", 1)
    begun = play.world.scheduler.now
    play.world.databases[side].crash()
    play.all_comes_up()
    play._end(actor)
    assert play.world.scheduler.now - begun < 10, "clients were held"
    assert play.world.poolers[0].leads_to is direction.new
    assert not play.world.poolers[0].paused


@directions
def test_a_dead_old_side_does_not_keep_the_new_one_closed_once_it_is_decided(
    play: Interleavings, direction: Direction
) -> None:
    there(play, direction)
    actor = play._to(play._to(play._start("cutover"), "smoke", 1), f"{direction.new}: transaction", 1)
    play.world.databases[direction.old].crash()
    play._end(actor)
    assert play.world.databases[direction.new].open
    assert [(pooler.leads_to, pooler.paused) for pooler in play.world.poolers] == [(direction.new, False)] * 2
    abort = play._start("abort")  # the new side alone tells that it serves
    play._end(abort)
    assert play.world.databases[direction.new].open


@directions
def test_a_host_that_is_lost_between_database_and_routers_is_no_success_when_cleared(
    play: Interleavings, direction: Direction
) -> None:
    there(play, direction)
    actor = play._to(play._start("cutover"), "repoint", 1)
    for watching in play.world.watchdogs:
        watching.die()
    play.world.kill(actor, lands=False)
    cleared = play.world.scheduler.start(
        "again", play.start_by_name["cutover" if direction.noun == "cutover" else "rollback"]
    )
    play._end(cleared)
    play.world.check_at_rest()
    assert play.world.poolers[0].leads_to is direction.new


@directions
def test_what_a_guard_has_settled_is_over(play: Interleavings, direction: Direction) -> None:
    there(play, direction)
    actor = play._to(play._start("cutover"), "drop subscription", 3)
    for watching in play.world.watchdogs:
        watching.die()
    play.world.kill(actor, lands=False)
    play.world.scheduler.now += 60
    play._end(play._start("guard"))
    assert play.world.over()
    play.world.check_at_rest()


@directions
def test_a_role_that_was_dropped_behind_the_fence_strands_nobody(play: Interleavings, direction: Direction) -> None:
    there(play, direction)
    play.world.databases[direction.new].drop_role("reporting")
    actor = play._start("cutover")
    play._end(actor)
    assert actor.error is None
    play.world.check_at_rest()


@directions
def test_a_dead_tasks_statement_that_is_still_to_land_is_ended_first(play: Interleavings, direction: Direction) -> None:
    there(play, direction)
    actor = play._to(play._start("cutover"), "enable subscription", 1)
    play.world.kill(actor, lands=True)
    (watching,) = [each for each in play.world.watchdogs if each.needed]
    watching.wake()
    assert watching.takes_over is not None
    play._end(watching.takes_over)
    assert not any(database.ghosts() for database in play.world.databases.values())
    play.world.check_at_rest()


@directions
def test_a_pause_that_comes_after_the_next_try_is_taken_back_by_the_watchdog(
    play: Interleavings, direction: Direction
) -> None:
    there(play, direction)
    late = play._to(play._start("cutover"), "pooler 1: pause", 1)
    play._end(play._start("cutover"))
    play._step(late, Fault.DIES_AFTER)
    play.world.kill(late, lands=False)
    assert any(pooler.paused for pooler in play.world.poolers)
    (watching,) = [each for each in play.world.watchdogs if each.needed]
    watching.wake()
    assert watching.takes_over is not None
    play._end(watching.takes_over)
    assert not any(pooler.paused for pooler in play.world.poolers)
