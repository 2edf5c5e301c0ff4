"""The critical section: refused, and undone at every step; the source serves as before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import psycopg
import pytest

from crossfade.cutover import order, steps
from crossfade.errors import PreconditionError
from crossfade.routers.base import Side
from crossfade.validation import run as validation
from crossfade.validation.result import Mode, Verdict
from crossfade.validation.sides import SideLost

STEPS = [kind.name for kind in steps.BEFORE_DECISION]


# --- refused ----------------------------------------------------------------------------------------------------------


def test_without_a_recorded_approval_it_refuses_and_changes_nothing(ready: Any) -> None:
    before = ready.state()
    with pytest.raises(order.Refused, match="Marking the gate as success opens nothing"):
        order.run(ready.m, run_id="one")
    assert ready.state() == before


def test_an_approval_of_another_run_does_not_count(ready: Any) -> None:
    ready.approve(run_id="another")
    with pytest.raises(order.Refused, match="nobody approved this run"):
        order.run(ready.m, run_id="one")


def test_an_approver_whom_the_plan_does_not_name_does_not_count(ready: Any) -> None:
    ready.approve(approver="mallory")
    with pytest.raises(order.Refused, match="'mallory' approved, but is none of the plan's approvers alice"):
        order.run(ready.m, run_id="one")


def test_a_newer_validation_that_found_differences_or_an_approved_one_that_is_done_again_refuses(ready: Any) -> None:
    ready.approve()
    with ready.admin("target") as target:
        target.execute("SET session_replication_role = replica")
        target.execute("UPDATE customers SET name = name || ' ' WHERE id = 7")
    assert validation.examine(ready.m, run_id="a night").verdict is Verdict.MISMATCH
    with pytest.raises(order.Refused, match="newer validation than the one that was approved found differences"):
        order.run(ready.m, run_id="one")

    with ready.admin("target") as target:
        target.execute("SET session_replication_role = replica")
        target.execute("UPDATE customers SET name = rtrim(name) WHERE id = 7")
    assert validation.examine(ready.m, run_id="the next night").verdict is Verdict.OK
    with ready.m.journal() as journal:
        approved = journal.last_approval(journal.get("shop").id, "one")
    assert approved is not None and approved.validation_id is not None
    validation.compare(ready.m, approved.validation_id, 0)  # a task that was cleared after the approval
    with pytest.raises(order.Refused, match="did not end with equal tables: clear validate"):
        order.run(ready.m, run_id="one")

    validation.conclude(ready.m, approved.validation_id)
    begun = validation.begin(ready.m, run_id="a night under way", mode=Mode.FULL)
    assert begun.finished_at is None
    order.run(ready.m, run_id="one")


def test_a_table_that_was_loaded_again_counts_as_not_compared(ready: Any) -> None:
    ready.approve()
    with ready.m.journal() as journal:
        record = journal.get("shop")
        journal.set_part(record.id, ("public", "orders"), state="streaming")
        approved = journal.last_approval(record.id, "one")
    with pytest.raises(order.Refused, match="a table was loaded again since it was compared: clear validate"):
        order.run(ready.m, run_id="one")
    assert approved is not None and approved.validation_id is not None
    assert [found.table for found in validation.compare(ready.m, approved.validation_id, 0)] == ["public.orders"]
    assert validation.conclude(ready.m, approved.validation_id).verdict is Verdict.OK
    order.run(ready.m, run_id="one")


def test_checks_that_did_not_end_are_not_those_of_an_earlier_try(ready: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ready.approve()
    with ready.m.journal() as journal:
        approved = journal.last_approval(journal.get("shop").id, "one")
    assert approved is not None and approved.validation_id is not None
    with monkeypatch.context() as patch:
        patch.setattr(validation, "_checks", Mock(side_effect=SideLost(side=Side.SOURCE)))
        with pytest.raises(SideLost):
            validation.check(ready.m, approved.validation_id)
    assert validation.conclude(ready.m, approved.validation_id).verdict is Verdict.INCOMPLETE
    with pytest.raises(order.Refused, match="did not end with equal tables: clear validate"):
        order.run(ready.m, run_id="one")


def test_an_approval_of_another_plan_does_not_count(make_world: Callable[..., Any]) -> None:
    world = make_world()
    world.load()
    validation.validate(world.m, run_id="one")
    world.approve()
    with world.m.journal() as journal:
        edited = world.m.plan.model_copy(update={"lag": world.m.plan.lag.model_copy(update={"samples": 9})})
        journal.pin(edited)
    with pytest.raises(order.Refused, match="approve it anew"):
        order.run(world.m, run_id="one")


def test_what_blocks_is_named_before_anybody_is_held(ready: Any) -> None:
    ready.approve()
    with ready.admin("source") as admin:
        admin.execute("SET application_name = 'a dashboard'")
        with pytest.raises(order.Refused, match=r"superuser postgres is connected .* a dashboard"):
            order.run(ready.m, run_id="one")
    assert ready.can_write()


def test_ddl_since_the_copy_blocks(ready: Any) -> None:
    ready.approve()
    with ready.admin("source") as admin:
        admin.execute("CREATE TABLE made_later (id int PRIMARY KEY)")
    with pytest.raises(order.Refused, match="DDL"):
        order.run(ready.m, run_id="one")


# --- undone -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, bool], None]:
    """Makes a step fail, before or after it had its effect."""

    def arrange(name: str, after: bool) -> None:
        kind = next(kind for kind in steps.BEFORE_DECISION if kind.name == name)
        real = kind.run

        def run(step: steps.Step) -> None:
            if after:
                real(step)
            raise PreconditionError("a fault of this test")

        monkeypatch.setattr(kind, "run", run)

    return arrange


def test_a_failure_at_any_step_before_the_decision_is_undone_and_the_next_try_succeeds(
    ready: Any, failing: Callable[[str, bool], None]
) -> None:
    ready.approve()
    before = ready.state()
    for name in STEPS:
        for after in (False, True):
            if after == (name == "decide"):  # after it, it is final; before its effect a step leaves what it found
                continue
            with pytest.MonkeyPatch.context() as patch:
                kind = next(kind for kind in steps.BEFORE_DECISION if kind.name == name)
                real = kind.run

                def run(step: steps.Step, real: Any = real, after: bool = after) -> None:
                    if after:
                        real(step)
                    raise PreconditionError("a fault of this test")

                patch.setattr(kind, "run", run)
                with pytest.raises(order.CutoverUndone, match=f"undone at the step {name}: a fault of this test"):
                    order.run(ready.m, run_id="one")
            assert ready.state() == before, f"{name}, {'after' if after else 'before'} its effect"
            assert ready.can_write()
            assert ready.open_sides() == [Side.SOURCE]

    order.run(ready.m, run_id="one")

    assert ready.open_sides() == [Side.TARGET]
    assert ready.can_write()


def test_a_failure_after_the_decision_goes_forward(ready: Any, failing: Callable[[str, bool], None]) -> None:
    ready.approve()
    failing("decide", True)
    order.run(ready.m, run_id="one")
    assert ready.open_sides() == [Side.TARGET]
    assert ready.can_write()


def test_a_transaction_longer_than_the_budget_undoes_the_cutover(
    make_world: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(
        cutover={"approvers": ["alice"], "application_roles": ["shop_app"], "max_pause": "500ms"},
    )
    world.load()
    validation.validate(world.m, run_id="one")
    world.approve()
    real = steps.Pause.run
    with psycopg.connect(world.through_router()) as client:

        def overtaken(step: steps.Step) -> None:  # a client begins after long transactions were looked for
            client.execute("UPDATE orders SET updated_at = now() WHERE id = (SELECT min(id) FROM orders)")
            real(step)

        monkeypatch.setattr(steps.Pause, "run", overtaken)
        with pytest.raises(order.CutoverUndone, match="pause"):
            order.run(world.m, run_id="one")
        client.commit()
    assert world.can_write()
    assert world.open_sides() == [Side.SOURCE]


def test_a_smoke_statement_that_fails_undoes_the_cutover(make_world: Callable[..., Any]) -> None:
    smoke = {"approvers": ["alice"], "application_roles": ["shop_app"], "smoke": ["select 1 from nowhere"]}
    world = make_world(cutover=smoke)
    world.load()
    validation.validate(world.m, run_id="one")
    world.approve()
    with pytest.raises(order.CutoverUndone, match="select 1 from nowhere"):
        order.run(world.m, run_id="one")
    assert world.can_write()
