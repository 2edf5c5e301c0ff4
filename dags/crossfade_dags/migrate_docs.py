"""What the UI says about ``<plan>.migrate`` and each of its tasks: what it does, and what to do when it fails."""

from __future__ import annotations

DAG_DOC = """
### Move `{source}` to `{target}` while its application keeps writing

```
{picture}
```

- Trigger it without parameters to migrate; with **stop_after** for a dress rehearsal.
- Nothing the application sees changes before `cutover`. Until then a failed task may be cleared at any time.
- Trigger it again after a failure, a rejection, a dress rehearsal or a rollback: what is copied stays copied.
- To give up before the cutover: the DAG **abort** with plan = `{plan}`. To go back after it: **{plan}.rollback**.
"""

TASK_DOCS = {
    "assess": """
**Looks at both databases, the router and the plan; changes nothing.** Every finding comes with its remedy.

*When it fails:* the log lists the blockers. Apply their remedies, then clear this task.
""",
    "prepare": """
**Pins the plan in the journal, then copies roles, extensions and table definitions to the target**, which is closed to
applications from now on. A YAML edited later changes nothing in this run.

*When it fails:* the log names the object that the target refused. Put it right there, then clear this task.
""",
    "load": """
**Copies one wave of tables from one snapshot, builds their keys and indexes, and starts their stream.** The log shows
per cent, rows/s and the time left.

*When it fails or is killed:* clear it. This wave alone is copied again; the others keep streaming. Where a slot waits
for an open transaction, the log names its pid. Refused after a cutover: the target belongs to the application then.
""",
    "harden": """
**Creates the remaining constraints and triggers on the target and gathers its statistics.**

*When it fails:* the log names the constraint and the rows that violate it; they violate it on the source too. Clear it.
""",
    "provision": """
**Checks or makes what AWS DMS needs**: replication instance and endpoints, the rights of its roles, a test of both
connections. A new instance takes about ten minutes.

*When it fails:* the log says what AWS or a database refused: an unknown ARN, endpoints that are swapped, a password
with a character that DMS does not take, a network that is closed. Nothing was started. Put it right, then clear it.
""",
    "size_lobs": """
**Measures the true size of every large object** (text, json, bytea, arrays …) and decides for each table in which mode
and up to which size DMS carries them, so that none is cut. The log shows the decision.

*When it fails:* a table with very large objects has no primary key, or the limits need more memory than the replication
instance has. The log names it and what can be changed. Then clear this task.
""",
    "drop_not_null": """
**Makes the columns of the target nullable that hold large objects**: DMS writes NULL there before the value. Each is
entered in the journal, and is NOT NULL again with the cutover.

*When it fails:* somebody holds a lock on the table for long; the log names who. Clear it.
""",
    "map_tables": """
**Computes the replication task's table mappings and settings** and checks them before AWS sees them. They are in this
task's XCom, and under *Rendered Templates* of `create_task`.

*When it fails:* the mapping selects nothing, or the plan's `dms.settings` ask for something that DMS does not know or
that loses data quietly. Correct the plan, then clear `prepare`, which takes it up, and what follows.
""",
    "create_task": """
**Makes the replication task in AWS DMS**, or makes the one that is there the same.

*When it fails:* the log has AWS's reason. A task with other endpoints cannot be changed: delete it in AWS. Clear it.
""",
    "dms_assessment": """
**Has AWS DMS assess the replication task before it starts.** Occupies no worker. Warnings are in the log.

*When it fails:* the log names the assessments that failed, and where in S3 their results are. Put it right, or leave
one out by `dms.assessment.exclude`, then clear this task.
""",
    "start_task": """
**Starts the replication task, or lets it go on where it stopped.** What is loaded is not loaded again, unless its slot
was lost or the limit of its large objects had to grow.

*When it fails:* the log has AWS's reason. Clear it. Refused after a cutover: the target is the application's then.
""",
    "task_running": """
**Waits until the replication task runs.** Occupies no worker.

*When it fails:* the log has DMS's reason in words, and what to do. Clear this task: the replication task goes on.
""",
    "full_load": """
**Waits until every table is loaded and the changes made meanwhile are applied**: the replication task then stops by
itself, at a moment at which the target is consistent. The log shows every table under way with its rows/s.

*When it fails:* the task failed, or goes on without tables that are in error; the log names cause and tables. Put it
right and clear this task: the replication task goes on where it stopped.
""",
    "resume_task": """
**Lets the replication task go on with the changes** made since the load, now that keys and indexes are there. Since a
rollback rows are carried natively: like all tasks of AWS DMS it then finds nothing to do.

*When it fails:* the log has DMS's reason, or names the slot that is missing on the source. Clear it.
""",
    "cdc_latency": """
**Waits until both latencies of CloudWatch are at most `dms.latency.max_seconds`**, in several minutes in a row. It
writes a watermark now and then, since latencies of a source where nothing happens prove nothing. Occupies no worker.

*When it fails:* the replication task failed, was stopped, or goes on without some tables; the log says why. Put it
right and clear this task: the replication task goes on. Where time was up, look at memory and CPU of the instance.
""",
    "check_lobs": """
**Measures the large objects again.** They may have grown since their limits were set.

*When it fails:* the log names columns with values that DMS has cut. Clear `size_lobs` and everything after it: the
limits grow, and these tables alone are loaded again.
""",
    "dms_validation": """
**Waits until AWS DMS's own validation has found every table equal.** Occupies no worker.

*When it fails:* the log names tables with records that differ; their keys are in `awsdms_validation_failures_v1` on the
target. Find out why, reload these tables, then clear this task.
""",
    "slot_lag": """
**Waits until every slot is at most `lag.max_bytes` behind**, in several samples in a row. Occupies no worker.

*When it fails:* a slot is missing or was lost because the source removed its WAL. The log says which task to clear.
""",
    "caught_up": """
**Waits until what the source writes is applied on the target within `lag.max_seconds`**, in several samples in a row.

*When it fails:* the subscription is disabled, incomplete, or fails on the same change again and again. The target's log
names the row. Put it right, then clear this task.
""",
    "rehearse": """
**Goes through the steps of the cutover without their effects**: predicted pause, drain time, what would block it now.

*When it fails:* the log says which step and why. Nothing was paused. Put it right, then clear this task.
""",
    "window": """
**Waits for the hours of `cutover.window`**, by the clock of its zone. A plan without one is not waited for. Occupies no
worker. The cutover itself refuses to begin outside of them, so answer the gate while the window is open.

*When it fails:* the target, whose journal holds the plan, could not be reached. Clear it.
""",
    "approve_cutover": """
**The gate. You decide under *Required actions*.** It shows lag, validation, rows, the predicted pause, and what has
changed in the YAML since it was pinned. Only the plan's approvers count: marking this task as success opens nothing.

*Reject:* nothing is changed, the rest is skipped, the streams go on. *No answer in time* counts as a rejection.

*When it fails:* clear it, and you are asked again.
""",
    "hooks_before": """
**Runs a DAG of your own before the cutover**, to its end, after the approval. Occupies no worker. Its conf has the key
`crossfade`: plan, event, direction.

*When it fails:* the DAG failed, is paused or unknown; clients were not held. Hooks of `undone` are run. Put it right,
then clear this task: the DAG is run again.
""",
    "hooks_after": """
**Runs a DAG of your own after the cutover**, to its end. Occupies no worker.

*When it fails:* the DAG failed, is paused or unknown. The application has been moved all the same. Put it right, then
clear this task: the DAG is run again.
""",
    "hooks_undone": """
**Runs a DAG of your own where the cutover came to nothing**: refused, undone or aborted, or stopped by a hook before
it. Skipped in any other case.

*When it fails:* the DAG failed, is paused or unknown. The application is where it was all the same. Put it right, then
clear this task: the DAG is run again.
""",
    "cutover": """
**Holds the clients for an instant and moves them to the target**: pause, fence, drain, sequences, decide, open, resume.
Refuses without an approval of this plan and its newest validation.

*When it fails:* the application is back on the side that the decision names; the log says which, and why. To try again,
clear `validate` and everything after it. It never retries by itself. If in doubt, trigger the DAG **abort**.
""",
    "cutover_guard": """
**Watches `cutover` from another host, in the triggerer.** Where the host of that task is lost in the pause, it brings
the clients to the side that has authority, within 15 s. Occupies no worker. Its log and XCom say what it has done; in
general that is nothing.

*When it fails:* something of the cutover could not be settled, as a database or a router cannot be reached. Trigger the
DAG **abort** once it can be.
""",
    "start_way_back": """
**Starts the task of AWS DMS that brings rows back** (plans with `rollback.way_back: dms`), at the slot that was made in
the pause. First it waits until the task that loaded the target has stopped, so that nothing goes in a circle.

*When it fails:* the log says what AWS or a database refused. The application is on the target, nothing is lost: the
slot keeps every change, and the target's WAL with them. Put it right, then clear this task.
""",
    "way_back_proved": """
**Waits until that task runs, and sends a watermark through it: from then on there is a way back.** Occupies no worker
meanwhile. Until then `rollback` is refused, and `guard` says so.

*When it fails:* the task has failed, or nothing arrives; the log says why. Put it right, then clear this task: it lets
the replication task go on.
""",
}
