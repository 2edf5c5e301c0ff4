"""What the UI says about ``<plan>.rollback`` and each of its tasks: what it does, and what to do when it fails."""

from __future__ import annotations

DAG_DOC = """
### Move the application back from `{target}` to `{source}`, with all that it wrote

```
              what the target takes flows back to the source since the cutover
                                          │
 approve_rollback   you decide here       ▼
        │
        ▼     clients wait an instant
    rollback ─────────────────────→ confirm
    rollback_guard   beside it: acts where the host of rollback is lost
```

- Trigger it at any time after a cutover, as often as needed. Nothing that clients see changes before `rollback`.
- The same steps as the cutover's, with the sides swapped: no write is lost, and the target is kept current afterwards.
- To move to the target again, trigger **{plan}.migrate**: what is copied stays copied.
- If in doubt who serves: the DAG **abort** with plan = `{plan}` opens the side that has authority.
"""

TASK_DOCS = {
    "approve_rollback": """
**The gate. You decide under *Required actions*.** It shows since when the target serves, how much it has taken since,
how far the source is behind, what stands in the way right now, and whether the way back is still promised. Only the
plan's approvers count: marking this task as success opens nothing.

*Reject:* nothing is changed, the rest is skipped. *No answer in time* counts as a rejection.

*When it fails:* one of the two databases could not be reached; the log says which. Clear it, and you are asked again.
""",
    "rollback": """
**Holds the clients for an instant and moves them back to the source**: pause, fence, drain, sequences, decide, open,
resume. Refuses without an approval of this run.

*When it fails:* the application is on the side that the decision names; the log says which, and why. To try again,
clear `approve_rollback` and everything after it. It never retries by itself. If in doubt, trigger the DAG **abort**.
""",
    "rollback_guard": """
**Watches `rollback` from another host, in the triggerer.** Where the host of that task is lost in the pause, it brings
the clients to the side that has authority, within 15 s. Occupies no worker. Its log and XCom say what it has done; in
general that is nothing.

*When it fails:* something of the rollback could not be settled, as a database or a router cannot be reached. Trigger
the DAG **abort** once it can be.
""",
    "start_way_forward": """
**Starts the task of AWS DMS that keeps the target current again** (plans with `rollback.way_back: dms`), at the slot
that was made in the pause. First it waits until the task that brought rows back has stopped.

*When it fails:* the log says what AWS or a database refused. The application is on the source, nothing is lost: the
slot keeps every change, and the source's WAL with them. Put it right, then clear this task.
""",
    "way_forward_proved": """
**Waits until that task runs, and sends a watermark through it.** Occupies no worker meanwhile. Until then the target
counts as not current, and cannot be cut over to.

*When it fails:* the task has failed, or nothing arrives; the log says why. Put it right, then clear this task: it lets
the replication task go on.
""",
    "confirm": """
**Confirms that the application is back, whole**: definitions equal, sequences at or past the target's, clients on the
source, and a watermark that travels to the target: it is kept current again.

*When it fails:* the log names what is not as it should be. The application is on the source; keep the target until that
is explained. Clear this task to look again.
""",
}
