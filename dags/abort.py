"""The way out of any migration. Reads no YAML, so that it loads whatever state the plans are in; never paused."""

from airflow.sdk import DAG, Param

from crossfade_airflow.operators.abort import AbortAction, AbortOperator

DOC = """
### Abort a migration

Safe at any time, and again: before, during and after a cutover or a rollback. What is the case is read from the
databases and the routers, not from what was planned. A cutover that is alive is asked to give up first.

- **restore_traffic** opens the side with authority, and held clients go on. That is the side being left until the
  cutover or rollback is decided, the other one afterwards. Traffic comes first and needs only that side and the
  routers; the streams are put in order when both sides can be reached. The migration can go on.
- **abandon** does the same, then drops streams and slots and gives the migration up. What was copied stays on the
  target. Refused once the target serves: trigger **<plan>.rollback** first.

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
