"""The group of tasks of a validation: in ``<plan>.migrate`` before the cutover and after it, and every night."""

from __future__ import annotations

from typing import Any

from airflow.sdk import TaskGroup, TriggerRule, chain

from crossfade.plan import Plan
from crossfade_airflow.notifiers import notifiers_of
from crossfade_airflow.operators.begin_validation import BeginValidationOperator
from crossfade_airflow.operators.check_definitions import CheckDefinitionsOperator
from crossfade_airflow.operators.compare_tables import CompareTablesOperator
from crossfade_airflow.operators.finish_copy import FinishCopyOperator
from crossfade_airflow.operators.report_validation import ReportValidationOperator

#: Not where `begin` failed or was skipped: then this is upstream_failed or skipped, too.
_WHATEVER_WAS_FOUND = TriggerRule.ALL_DONE_MIN_ONE_SUCCESS

TASK_DOCS = {
    "finish": """
**Ends what carried rows to the target**: its streams or its task of AWS DMS are dropped, and what was lent for them is
restored. The way back goes on.

*When it fails:* the log names what is left. The application is on the target. Clear it.
""",
    "begin": """
**Shares out the tables**: a task for each batch, the largest tables first. In `<plan>.validate` it is skipped where no
migration is under way.

*When it fails:* one side could not be reached. Nothing was compared. Clear it.
""",
    "checks": """
**Compares everything but rows**: definitions, keys, constraints, roles and grants, sequences, large objects, and how
far behind replication is.

*When it fails:* the log names what differs. Put it right, then clear this task: `report` follows.
""",
    "rows": """
**Compares the values of every row of a batch of tables, while clients write.** A difference counts only if it is still
there when the stream has passed. The plan's `validate` says how many sessions read at a time, and when they wait.

*When it fails:* the log names the rows that differ, by key and column. Find out who wrote to the side that does not
serve; load the table again or let `<plan>.validate` repair it; then clear this task. Killed, it goes on where it was.
""",
    "report": """
**Puts together what was found: the button under *Details* leads to it.** Until it is green there is no cutover.

*When it fails:* its log and its page list what differs, or could not be compared. Put it right and clear the tasks of
this group that failed.
""",
}


def validation(
    plan: Plan,
    group_id: str,
    *,
    tooltip: str,
    mode: str = "full",
    repair: str | bool = False,
    skip_idle: bool = False,
    after_cutover: bool = False,
) -> TaskGroup:
    """
    The group. To be called within the DAG.

    :param mode: as `BeginValidationOperator` takes it, and ``skip_idle``
    :param repair: as `CompareTablesOperator` takes it
    :param after_cutover: end what carried rows to the target before
    """
    shared: dict[str, Any] = {"plan": plan.name, "target_conn_id": plan.target}
    telling: dict[str, Any] = {"on_failure_callback": notifiers_of(plan)}
    with TaskGroup(group_id, tooltip=tooltip) as group:
        begin = BeginValidationOperator(**_named("begin"), **shared, **telling, mode=mode, skip_idle=skip_idle)
        given = {**shared, "validation": begin.output["validation"]}
        report = ReportValidationOperator(**_named("report"), **given, **telling, trigger_rule=_WHATEVER_WAS_FOUND)
        rows = CompareTablesOperator.partial(
            **_named("rows"),
            **shared,
            repair=repair,
            map_index_template="{{ task.tables }}",
            max_active_tis_per_dagrun=1,  # each reads with as many sessions as the plan allows
        ).expand_kwargs(begin.output)
        chain(begin, [CheckDefinitionsOperator(**_named("checks"), **given), rows], report)
        if after_cutover:
            chain(FinishCopyOperator(**_named("finish"), **shared, **telling), begin)
    return group


def _named(task_id: str) -> dict[str, Any]:
    return {"task_id": task_id, "doc_md": TASK_DOCS[task_id]}
