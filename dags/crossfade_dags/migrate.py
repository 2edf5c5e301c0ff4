"""``<plan>.migrate``: the graph of a whole migration, from assessment to the reconciliation after the cutover."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from crossfade.plan import Plan
from crossfade_dags import migrate_dms, migrate_logical
from crossfade_dags.migrate_docs import DAG_DOC
from crossfade_dags.migrate_ends import ends
from crossfade_dags.stop_after import PARAM, skip_when_stopped, stop_after_param


def migrate(plan: Plan, file: str) -> DAG:
    """The DAG. :param file: the plan's, which is read again when it is taken up"""
    engine = migrate_dms if plan.engine == "dms" else migrate_logical
    stages = engine.stages(plan)
    with DAG(
        dag_id=f"{plan.name}.migrate",
        dag_display_name=f"{plan.name}: migrate",
        description=f"Move {plan.source} to {plan.target} while its application keeps writing",
        doc_md=DAG_DOC.format(plan=plan.name, source=plan.source, target=plan.target, picture=engine.PICTURE),
        schedule=None,
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=False,
        tags=["crossfade", plan.name],
        params={PARAM: stop_after_param(stages)},
        default_args={
            "retries": 2,
            "retry_delay": timedelta(seconds=10),
            "pre_execute": skip_when_stopped(stages),
        },
    ) as dag:
        engine.wire(plan, ends(plan, file))
    return dag
