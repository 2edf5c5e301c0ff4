"""The DAG that validates tells whom its plan names, and costs nothing where that is nobody."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from airflow.serialization.serialized_objects import DagSerialization

from crossfade.plan import Plan, parse_plan
from crossfade_airflow.notifiers import ValidationNotifier, notifiers_of
from crossfade_dags.validate import validate

SLACK = {"slack": "slack_api_default", "channel": "#databases"}


def plan(*notify: dict[str, Any]) -> Plan:
    return parse_plan(
        {
            "source": "shop_source",
            "target": "shop_target",
            "routers": [{"kind": "pgbouncer", "admin": "a", "database": "d", "switch": {"file": "f"}}],
            "cutover": {"approvers": ["alice"], "application_roles": ["shop_app"]},
            "validate": {"notify": list(notify)},
        },
        name="shop",
    )


def test_what_could_not_begin_and_what_found_something_is_told_once() -> None:
    dag = validate(plan(SLACK, {"email": "team@shop.example"}))
    telling = {task.task_id: task.on_failure_callback for task in dag.tasks if task.on_failure_callback}
    assert set(telling) == {"validate.begin", "validate.report"}
    callbacks = telling["validate.report"]
    assert [type(callback) for callback in callbacks] == [ValidationNotifier]
    assert len(callbacks[0].entries) == 2
    assert "slack_api_default" not in str(DagSerialization.to_dict(dag))


def test_nobody_is_told_where_the_plan_names_nobody() -> None:
    assert notifiers_of(plan()) == []
    assert not any(task.on_failure_callback for task in validate(plan()).tasks)


def test_a_dag_is_parsed_without_the_providers() -> None:
    heavy = ("airflow.providers.slack.hooks", "airflow.providers.smtp.hooks", "airflow.providers.amazon.aws", "boto3")
    parsed = f"import sys, crossfade_airflow.notifiers; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", parsed], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
