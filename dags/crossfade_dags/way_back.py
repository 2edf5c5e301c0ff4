"""What follows a cutover or rollback of a plan whose way back is a task of AWS DMS: it is started, and proved."""

from __future__ import annotations

from typing import Any

from crossfade.engines.dms.resource import name_of
from crossfade.plan import Plan
from crossfade_airflow.operators.start_way_back import StartWayBackOperator
from crossfade_airflow.sensors.way_back_proved import WayBackProvedSensor

AFTER_CUTOVER = ("start_way_back", "way_back_proved")
AFTER_ROLLBACK = ("start_way_forward", "way_forward_proved")

_POKE_SECONDS = 5.0


def started_and_proved(plan: Plan, task_ids: tuple[str, str], docs: dict[str, str]) -> list[Any]:
    """
    Both tasks, in their order; none where the way back is not by DMS. To be called within the DAG.

    :param task_ids: `AFTER_CUTOVER` or `AFTER_ROLLBACK`
    :param docs: task id -> what the UI says about it
    """
    if plan.rollback.way_back != "dms" or plan.dms is None:
        return []
    shared: dict[str, Any] = {"plan": plan.name, "target_conn_id": plan.target}
    start, proved = task_ids
    return [
        StartWayBackOperator(task_id=start, doc_md=docs[start], **shared),
        WayBackProvedSensor(
            task_id=proved,
            doc_md=docs[proved],
            aws_conn_id=plan.dms.aws,
            replication_task_id=name_of(plan.name, "back" if task_ids == AFTER_CUTOVER else "again"),
            poke_interval=_POKE_SECONDS,
            timeout=plan.dms.start_timeout.total_seconds(),
            **shared,
        ),
    ]


def names_after_cutover(plan: Plan) -> tuple[str, ...]:
    """The ids of the tasks that follow a cutover of that plan."""
    return AFTER_CUTOVER if plan.rollback.way_back == "dms" else ()
