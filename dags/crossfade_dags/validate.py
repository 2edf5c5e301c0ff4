"""``<plan>.validate``: compares both sides every night, before the cutover and after it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Param

from crossfade.plan import Plan
from crossfade_dags.validation import validation

DAG_DOC = """
### Do `{source}` and `{target}` hold the same?

By the plan's `validate.schedule`, for as long as a migration is under way; otherwise its run is skipped. After the
cutover the target's rows are compared with the source's through the way back.

Definitions, roles, sequences and large objects, then rows: all of them (`full`), some key ranges, others every night
(`sample`), or statistics only (`quick`). A difference counts only if it survives the stream. **The task
`report` has a button under *Details* that leads to what was found.**
"""


def validate(plan: Plan) -> DAG:
    """The DAG."""
    settings = plan.validation
    with DAG(
        dag_id=f"{plan.name}.validate",
        dag_display_name=f"{plan.name}: validate",
        description=f"Compare {plan.source} with {plan.target}",
        doc_md=DAG_DOC.format(source=plan.source, target=plan.target),
        schedule=settings.schedule,
        start_date=datetime(2024, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        tags=["crossfade", plan.name],
        params={
            "mode": Param(settings.mode, type="string", enum=["full", "sample", "quick"], title="How much"),
            "repair": Param(
                False,
                type="boolean",
                title="Repair",
                description="Replace rows that differ, on the side that does not serve, by those of the side that does",
            ),
        },
        default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    ) as dag:
        validation(
            plan,
            "validate",
            tooltip=f"Compare {plan.source} with {plan.target}",
            mode="{{ params.mode }}",
            repair="{{ params.repair }}",
            skip_idle=True,
        )
    return dag
