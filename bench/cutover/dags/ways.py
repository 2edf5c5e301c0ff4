"""Two DAGs of the benchmark: the steps of the critical section as a chain of tasks, and the product's one task."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow.sdk import DAG, chain, task

from crossfade_airflow.migrations import pinned_migration
from crossfade_airflow.operators.rollback import RollbackOperator

if TYPE_CHECKING:
    from crossfade.cutover.section import Section

PLAN, TARGET = "shop", "shop_target"
SECONDS = 120.0  #: deadline of a step: a chain has no common budget
STEPS = ("pause", "fence", "drain", "stop", "sequences", "arm", "prove", "smoke", "decide", "open")


@contextmanager
def section() -> Iterator[Section]:
    """What a step works with, opened for it alone."""
    from crossfade.cutover import section as sections

    m = pinned_migration(PLAN, TARGET)
    with m.journal() as journal:
        record = journal.get(PLAN)
    with sections.opened(m, record) as opened:
        opened.deadline = time.monotonic() + SECONDS
        yield opened


@task
def begin() -> None:
    """Before clients are held: nothing may be in the way; the attempt is entered, the way back prepared."""
    from crossfade.cutover import blockers, decision, steps
    from crossfade.errors import PreconditionError
    from crossfade.journal import State

    with section() as s:
        if reasons := blockers.of_section(s):
            raise PreconditionError("; ".join(reasons))
        s.journal.change_state(s.migration, State.ACTIVE, State.CUTTING_OVER)
        decision.open_attempt(s.old, s.new, s.m.plan, s.direction, s.attempt.id)
        for kind in (steps.Sequences, steps.Arm):
            kind(s).prepare()


@task
def step(name: str) -> None:
    """One step of the critical section."""
    from crossfade.cutover import decision, steps

    kinds = {str(kind.name): kind for kind in (*steps.BEFORE_DECISION, *steps.AFTER_DECISION)}
    with section() as s:
        attempt = decision.newest(s.old, PLAN)
        assert attempt is not None, "the task begin has entered it"
        s.attempt = attempt
        one = kinds[name](s)
        if name == "sequences":
            one.prepare()  # reads what was set before the pause
        one.run()


@task
def finish() -> None:
    """What is done once clients are served."""
    from crossfade.cutover import decision, recovery

    with section() as s:
        s.carrier.retire()
        recovery.enter_opened(s.journal, s.migration, s.m, s.direction, None)
        attempt = decision.newest(s.old, PLAN)
        assert attempt is not None, "it was decided"
        decision.finish(s.old, attempt.id)


@task
def approve(**context: object) -> None:
    """The yes without which nobody goes back."""
    from crossfade import phases

    m = pinned_migration(PLAN, TARGET)
    approver, now = m.plan.cutover.approvers[0], datetime.now(UTC)
    phases.record_rollback_approval(m, run_id=str(context["run_id"]), approver=approver, approved_at=now)


with DAG(dag_id="chain", schedule=None, catchup=False, is_paused_upon_creation=False):
    chain(begin(), *(step.override(task_id=name)(name) for name in STEPS), finish())

with DAG(dag_id="back", schedule=None, catchup=False, is_paused_upon_creation=False):
    chain(approve(), RollbackOperator(task_id="rollback", plan=PLAN, target_conn_id=TARGET))
