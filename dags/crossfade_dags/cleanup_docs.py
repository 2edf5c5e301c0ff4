"""What the UI says about ``<plan>.cleanup`` and each of its tasks: what it does, and what to do when it fails."""

from __future__ import annotations

DAG_DOC = """
### Leave nothing of the migration behind on `{source}` and `{target}`

```
 approve_cleanup   you decide here
        │
        ▼     the application notices nothing
     cleanup       streams, way back, AWS DMS, journal: gone
```

- Trigger it when nobody will want to go back any more: **afterwards there is no {plan}.rollback**.
- While the way back is still promised (`rollback.window`), your approval in the gate is what gives it up.
- The source stays closed to applications, its rows as of now; **reopen_source** gives back who could connect to it.
- Poolers must lead to the target for good before: the gate names those that a restart would lead to the source.
"""

TASK_DOCS = {
    "approve_cleanup": """
**The gate. You decide under *Required actions*.** It shows since when the target serves, whether the way back is still
promised, what would be removed, and what stands in the way right now. Only the plan's approvers count: marking this
task as success approves nothing.

*Reject:* nothing is removed, the rest is skipped. *No answer in time* counts as a rejection.

*When it fails:* one of the two databases could not be reached; the log says which. Clear it, and you are asked again.
""",
    "cleanup": """
**Removes slots, subscriptions, publications and watermarks of both directions, what was made in AWS, grants that were
made for the move, and the schema `crossfade` on both sides**; or, where other plans use it, this plan's rows. Its log
keeps the journal, and the SQL that would open the source again.

*When it fails:* the log says what is in the way, and whether anything was changed. Put it right and clear this task: it
goes on where it stopped. The application stays on the target whatever happens.
""",
}
