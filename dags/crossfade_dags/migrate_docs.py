"""What the UI says about ``<plan>.migrate`` and each of its tasks: what it does, and what to do when it fails."""

from __future__ import annotations

DAG_DOC = """
### Move `{source}` to `{target}` while its application keeps writing

```
 assess → prepare → load (a task a wave) → harden → catch_up → validate → rehearse
                                                                              │
            clients keep writing to the source all this time                  ▼
                                                                    approve_cutover   you decide here
                                                                              │
                                            clients wait an instant           ▼
                                                                 cutover → reconcile
```

- Trigger it without parameters to migrate; with **stop_after** for a dress rehearsal.
- Nothing the application sees changes before `cutover`. Until then a failed task may be cleared at any time.
- Trigger it again after a failure, a rejection or a dress rehearsal: what is copied stays copied.
- To give up at any time: the DAG **abort** with plan = `{plan}`.
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
    "slot_lag": """
**Waits until every slot is at most `lag.max_bytes` behind**, in several samples in a row. Occupies no worker.

*When it fails:* a slot is missing or was lost because the source removed its WAL. Clear the load task of its wave.
""",
    "caught_up": """
**Waits until what the source writes is applied on the target within `lag.max_seconds`**, in several samples in a row.

*When it fails:* the subscription is disabled, incomplete, or fails on the same change again and again. The target's log
names the row. Put it right, then clear this task.
""",
    "validate": """
**Compares the values of every row on both sides, while both change.**

*When it fails:* the log names tables and keys that differ. Nothing has been cut over. Find out who wrote to the target,
repair or load the wave again, then clear this task.
""",
    "rehearse": """
**Goes through the steps of the cutover without their effects**: predicted pause, drain time, what would block it now.

*When it fails:* the log says which step and why. Nothing was paused. Put it right, then clear this task.
""",
    "approve_cutover": """
**The gate. You decide under *Required actions*.** It shows lag, validation, rows, the predicted pause, and what has
changed in the YAML since it was pinned. Only the plan's approvers count: marking this task as success opens nothing.

*Reject:* nothing is changed, the rest is skipped, the streams go on. *No answer in time* counts as a rejection.

*When it fails:* clear it, and you are asked again.
""",
    "cutover": """
**Holds the clients for an instant and moves them to the target**: pause, fence, drain, sequences, decide, open, resume.
Refuses without an approval of this plan and its newest validation.

*When it fails:* the application is back on the side that the decision names; the log says which, and why. To try again,
clear `validate` and everything after it. It never retries by itself. If in doubt, trigger the DAG **abort**.
""",
    "reconcile": """
**Confirms that the move is complete**: definitions equal, sequences at or past the source's, clients on the target.
Rows are not compared: the target takes writes by now that the fenced source does not have.

*When it fails:* the log names what differs. The application is on the target; keep the source until it is explained.
""",
}
