"""
An example to copy: single steps of Crossfade in a DAG of your own, here a short maintenance of the shop's target.

Clients are held while the target's sequences are set and PgBouncer reads its files again. The resume is a teardown: it
runs whatever happens after the pause, and hides no failure.
"""

from airflow.sdk import DAG

from crossfade_airflow.operators import (
    PgBouncerPauseOperator,
    PgBouncerReloadOperator,
    PgBouncerResumeOperator,
    ResetSequencesOperator,
)
from crossfade_airflow.sensors import ReplicationSlotLagSensor, SubscriptionCaughtUpSensor

CONSOLES = ["shop_pgbouncer_1", "shop_pgbouncer_2"]
STREAMS = ["crossfade_shop_1", "crossfade_shop_2"]

with DAG(dag_id="example_own_dag", doc_md=__doc__, schedule=None, catchup=False, tags=["crossfade", "example"]):
    small_lag = ReplicationSlotLagSensor(
        task_id="small_lag",
        conn_id="shop_source",
        slots=STREAMS,
        max_bytes=64 * 1024,
        samples=3,
        timeout=600,
        doc_md="Wait until the slots are nearly empty. *When it fails:* the log names the slot.",
    )
    caught_up = SubscriptionCaughtUpSensor(
        task_id="caught_up",
        source_conn_id="shop_source",
        target_conn_id="shop_target",
        subscriptions=STREAMS,
        max_seconds=0.5,
        samples=3,
        timeout=600,
        doc_md="Wait until changes are applied in half a second. *When it fails:* the log names the subscription.",
    )
    pause = PgBouncerPauseOperator(
        task_id="pause",
        console_conn_ids=CONSOLES,
        database="shop",
        timeout=5,
        doc_md="Hold clients between transactions. *When it fails:* nobody is held.",
    )
    reset = ResetSequencesOperator(
        task_id="reset_sequences",
        source_conn_id="shop_source",
        target_conn_id="shop_target",
        doc_md="Set the target's sequences ahead of the source's. *When it fails:* clients go on, see `resume`.",
    )
    reload = PgBouncerReloadOperator(
        task_id="reload",
        console_conn_ids=CONSOLES,
        database="shop",
        doc_md="Read PgBouncer's files again. *When it fails:* the log says what PgBouncer answered.",
    )
    resume = PgBouncerResumeOperator(
        task_id="resume",
        console_conn_ids=CONSOLES,
        database="shop",
        retries=5,
        retry_delay=2,
        doc_md="Let clients go on, whatever happened before. *When it fails:* run RESUME on the console.",
    )

    (
        small_lag
        >> caught_up
        >> pause.as_setup()
        >> reset
        >> reload
        >> resume.as_teardown(setups=pause, on_failure_fail_dagrun=True)
    )
