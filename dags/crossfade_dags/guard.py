"""``<plan>.guard``: looks at the plan's migration every few minutes while there is one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from crossfade.plan import Plan
from crossfade_airflow.operators.guard import GuardOperator

DAG_DOC = """
### Look after the migration from `{source}` to `{target}`

Every few minutes (`guard.schedule` of the plan), for as long as a migration is under way; otherwise its run is skipped.

- **Streams**, of whichever direction carries rows now: slots, subscriptions, errors, lag. The lag is in the journal.
- **WAL** that slots keep on the source, against `source_protection.max_retained_wal`. With `on_exceed: drop_slot` the
  slots are dropped and the migration is given up, before the source's disk is full.
- **The fence**: applications may connect to one side only.
- **A cutover whose host was lost** and that nobody has settled.

A run that fails needs a person: give it an `on_failure_callback`, or a notifier.
"""

TASK_DOC = """
**Looks once, and writes the lag into the journal.** Skipped where no migration is under way.

*When it fails:* the log has a sentence for each finding, with what to do. The next run looks again: nothing to clear.
"""


def guard(plan: Plan, file: str) -> DAG:
    """The DAG. :param file: the plan's, which tells what to watch where no database can be reached"""
    with DAG(
        dag_id=f"{plan.name}.guard",
        dag_display_name=f"{plan.name}: guard",
        description=f"Look after the migration from {plan.source} to {plan.target}",
        doc_md=DAG_DOC.format(source=plan.source, target=plan.target),
        schedule=plan.guard.schedule,
        start_date=datetime(2024, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        tags=["crossfade", plan.name],
    ) as dag:
        GuardOperator(
            task_id="watch",
            doc_md=TASK_DOC,
            plan=plan.name,
            target_conn_id=plan.target,
            source_conn_id=plan.source,
            plan_file=file,
            execution_timeout=timedelta(hours=1),  # one that hangs must not keep the next from looking
        )
    return dag
