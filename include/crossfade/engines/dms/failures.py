"""Why a replication task failed or stopped, in a sentence that names cause and next step."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from crossfade.engines.dms.statistics import TableStatistics, broken
from crossfade.engines.dms.task import TaskState
from crossfade.errors import CrossfadeError, PreconditionError, TransientError

_CLEAR = "then clear this task: it goes on where it stopped"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """A cause that can be told from what DMS or PostgreSQL said."""

    pattern: str  #: regular expression, in any case, over stop reason and last failure message
    what: str
    next: str
    passes: bool = False  #: whether trying again may help by itself
    next_of_stream: str = ""  #: for a task that loads nothing, where that differs


SLOT_GONE = Cause(
    pattern=r"slot .{0,80}(does not exist|invalidated|lost)|can no longer get changes|wal segment .{0,60}removed",
    what="the replication slot is gone, and with it changes that were not applied yet",
    next="The target cannot become complete from here: clear load.start_task and all that follows, which loads "
    "everything again (reload-target). Look at what dropped the slot: max_slot_wal_keep_size, a failover, a person",
    next_of_stream="No task can bring them any more. Look at what dropped the slot: max_slot_wal_keep_size, a "
    "failover, a person",
)
#: The first that matches is the one shown: the more particular come first.
CAUSES = (
    Cause(
        pattern=r"could not extend file|could not write .{0,80}no space left",
        what="a database server is out of storage",
        next=f"Give it more storage (RDS: AllocatedStorage), {_CLEAR}",
    ),
    Cause(
        pattern=r"low_disk|no space left|out of (disk|storage)|storage.?full|insufficient storage|disk (is )?full",
        what="the replication instance is out of storage",
        next=f"Give it more: aws dms modify-replication-instance --allocated-storage … --apply-immediately, {_CLEAR}",
    ),
    Cause(
        pattern=r"low_memory|out of memory|memory (is )?exhausted",
        what="the replication instance is out of memory",
        next=f"Give it a larger class, or lower load.jobs or the LOB limits in the plan, {_CLEAR}",
    ),
    Cause(
        pattern=r"cannot be parsed|invalid (password|connection string)",
        what="DMS cannot read the login of an endpoint: a password must not contain any of : ; + %",
        next=f"Change the password of DMS's role, in the database and in the connection or secret, {_CLEAR}",
    ),
    Cause(
        pattern=r"password authentication failed|no pg_hba\.conf entry|role .* does not exist|not permitted to log in",
        what="a database does not let DMS's role in",
        next="Correct user, password or pg_hba.conf (on RDS also rds.force_ssl: the endpoint needs tls), " + _CLEAR,
    ),
    SLOT_GONE,
    Cause(
        pattern=r"replication slots? (is|are) in use|max_replication_slots|max_wal_senders",
        what="the source has no free replication slot or WAL sender",
        next=f"Drop slots that nobody reads, or raise max_replication_slots and max_wal_senders (reboot), {_CLEAR}",
    ),
    Cause(
        pattern=r"wal_level|rds\.logical_replication",
        what="the source does not write logical WAL",
        next=f"Set wal_level=logical (RDS and Aurora: rds.logical_replication=1) and restart it, {_CLEAR}",
    ),
    Cause(
        pattern=r"no tables? (was|were|are|have been)?\s*(found|captured|selected|matched)|no_tables",
        what="the table mappings select no table that exists",
        next="Check tables.include and tables.exclude of the plan and the privileges of DMS's role on the source, then "
        "clear the task prepare",
        next_of_stream=f"Look at the privileges of DMS's role where it reads, {_CLEAR}",
    ),
    Cause(
        pattern=r"permission denied|must be superuser|must be owner|insufficient privilege",
        what="DMS's role lacks a privilege",
        next=f"Grant what the message names, {_CLEAR}",
    ),
    Cause(
        pattern=r"null value in column|not-null constraint",
        what="a column is NOT NULL on the target, and DMS writes its large objects only after the row",
        next="Drop NOT NULL for the time of the load: clear the task drop_not_null and all that follows",
        next_of_stream="Clear the task start_way_back (start_way_forward after a rollback): it makes such columns "
        "nullable, and lets the task go on where it stopped",
    ),
    Cause(
        pattern=r"foreign key constraint",
        what="a foreign key is enforced while tables are loaded one by one",
        next="Give the target endpoint AfterConnectScript=SET session_replication_role='replica', and its role the "
        f"right to set it, {_CLEAR}",
    ),
    Cause(
        pattern=r"lob.{0,40}truncat|truncat.{0,40}lob",
        what="a large object is larger than its limit, and was not cut silently",
        next="Clear the task size_lobs and all that follows: the limit grows, and the table is loaded again",
        next_of_stream="Give the table a larger bulk-max-size in the task's table mappings, or the task a larger "
        f"LobMaxSize (aws dms modify-replication-task), {_CLEAR}",
    ),
    Cause(
        pattern=r"connection (refused|reset|timed out|to server|was lost|lost)|terminating connection|"
        r"server closed the connection|could not connect|network error|timeout expired|sqlstate: 08",
        what="the connection to a database was lost or could not be made",
        next="Check that both databases run and that the replication instance reaches them (security groups, routing), "
        + _CLEAR,
        passes=True,
    ),
    Cause(
        pattern=r"recoverable_error(?!.*fatal)",
        what="DMS gave up an error that it takes for a passing one",
        next="Read the task's log in CloudWatch (log group dms-tasks-<instance>), " + _CLEAR,
        passes=True,
    ),
)

_STOPS = {
    "NORMAL": "it was stopped by somebody, or had nothing more to do",
    "STOPPED_AFTER_CACHED_EVENTS": "it stopped at the consistent point, as wanted",
    "STOPPED_AFTER_FULL_LOAD": "it stopped after the load, before the changes made meanwhile were applied",
    "FULL_LOAD_ONLY_FINISHED": "it was to load only, and has done so",
    "STOPPED_AFTER_DDL_APPLY": "it was set to stop after DDL",
    "STOPPED_AT_SERVER_TIME": "it has reached the CdcStopPosition that it was given",
    "STOPPED_AT_COMMIT_TIME": "it has reached the CdcStopPosition that it was given",
    "EXPRESS_LICENSE_LIMITS_REACHED": "the edition of DMS has a limit, and it is reached",
    "RECONFIGURATION_RESTART": "AWS restarts it, because it was reconfigured",
    "RECYCLE_TASK": "AWS restarts it",
}
_UNKNOWN = Cause(
    pattern="",
    what="DMS gives no cause that is known here",
    next="Read the task's log in CloudWatch (log group dms-tasks-<instance>), put right what it names, " + _CLEAR,
)


class TaskFailed(PreconditionError):
    """A replication task failed for a reason that a person has to put right."""


class TaskInterrupted(TransientError):
    """A replication task failed for a reason that may pass: it can be resumed."""


class TablesBroken(PreconditionError):
    """Tables of a replication task are suspended or in error, while the task itself goes on without them."""

    def __init__(self, task: TaskState, tables: Sequence[TableStatistics]) -> None:
        self.tables = tuple(table.full_name for table in tables)
        seen = "; ".join(f"{table.full_name}: {table.trouble}" for table in tables)
        step = (
            "Its slot has moved on past their changes, and it loads nothing again: they are lost to it"
            if task.migration_type == "cdc"
            else "Put it right, then clear load.start_task and all that follows, which loads them again"
        )
        super().__init__(
            f"replication task {task.identifier} goes on without {len(tables)} of its tables, which are no copies any "
            f"more: {seen}. The reason of each is in the table awsdms_apply_exceptions on the target and in the task's "
            f"log in CloudWatch. {step}"
        )


def cause(stop_reason: str | None, failure: str | None) -> Cause:
    """The cause that can be told from what was said; a general one where there is none."""
    said = f"{stop_reason or ''} {failure or ''}"
    return next((known for known in CAUSES if re.search(known.pattern, said, re.IGNORECASE | re.DOTALL)), _UNKNOWN)


def explained(task: TaskState, tables: Sequence[TableStatistics] = ()) -> str:
    """
    Why a task does not run, in words: status, cause, what DMS said, tables that are broken, next step.

    :param tables: its statistics, where they are at hand
    """
    words = [f"replication task {task.identifier} is {task.status} at {task.percent} % of the load"]
    known = cause(task.stop_reason, task.failure)
    if task.status != "failed" and task.stop_reason in _STOPS and not task.failure:
        words[0] += f": {_STOPS[task.stop_reason]}"
        step = "To let it go on, clear this task"
    else:
        words[0] += f": {known.what}"
        step = known.next_of_stream if task.migration_type == "cdc" and known.next_of_stream else known.next
    said = [f"stop reason {task.stop_reason}" if task.stop_reason else "", task.failure or ""]
    if seen := "; ".join(part.rstrip(".") for part in said if part):
        words.append(f"DMS says: {seen}")
    if bad := broken(tables):
        words.append("Broken tables: " + "; ".join(f"{table.full_name} ({table.trouble})" for table in bad))
    return ". ".join([*words, step])


def failure_of(task: TaskState, tables: Sequence[TableStatistics] = ()) -> CrossfadeError | None:
    """
    The error that a task's state is, None where it is well: not failed, not stopped by an error, no table broken.

    `TaskInterrupted` may pass by itself; `TaskFailed` and `TablesBroken` need a person.
    """
    bad = broken(tables)
    by_error = task.status == "stopped" and task.stop_reason not in {None, *_STOPS}
    if task.status.startswith("failed") or by_error:
        passes = cause(task.stop_reason, task.failure).passes and not bad
        return (TaskInterrupted if passes else TaskFailed)(explained(task, tables))
    return TablesBroken(task, bad) if bad else None
