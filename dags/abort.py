"""The way out of any migration. Reads no YAML, so that it loads whatever state the plans are in; never paused."""

from airflow.sdk import DAG, Param

from crossfade_airflow.operators.abort import AbortAction, AbortOperator

DOC = """
### Abort a migration

Safe at any time, and again. What is the case is read from the databases and the router, not from what was planned.
Restoring traffic needs only the source and the router.

- **restore_traffic** opens the side with authority: the source until a cutover was decided, the target afterwards.
  Held clients go on. The streams stay, so the migration can go on too.
- **abandon** does the same, then drops streams and slots and gives the migration up. What was copied stays on the
  target. Refused once the target serves.

If it fails, it says what it could not reach. Put that right and trigger it again.
"""

with DAG(
    dag_id="abort",
    doc_md=DOC,
    schedule=None,
    catchup=False,
    is_paused_upon_creation=False,
    tags=["crossfade"],
    params={
        "plan": Param(type="string", pattern="^[a-z][a-z0-9_]{0,30}$", description="Name of the plan, such as shop"),
        "target": Param(
            None, type=["null", "string"], description="Connection to the plan's target; empty means <plan>_target"
        ),
        "source": Param(
            None, type=["null", "string"], description="Connection to the plan's source; empty means <plan>_source"
        ),
        "action": Param(
            AbortAction.RESTORE_TRAFFIC.value, type="string", enum=[action.value for action in AbortAction]
        ),
    },
):
    AbortOperator(
        task_id="abort",
        plan="{{ params.plan }}",
        target_conn_id="{{ params.target or params.plan ~ '_target' }}",
        source_conn_id="{{ params.source or params.plan ~ '_source' }}",
        action="{{ params.action }}",
        retries=3,
        retry_delay=5,
        doc_md=DOC,
    )
