"""The end of a migration: what carried the rows, the way back and the journal are removed; nothing is left behind."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from crossfade import control, remains
from crossfade.connect import Connection
from crossfade.cutover import decision, fence
from crossfade.engines.declared import all_carriers
from crossfade.errors import CrossfadeError, PreconditionError
from crossfade.journal import Journal, MigrationRecord, NoMigration, State
from crossfade.journal_evidence import Approval
from crossfade.quantities import spoken
from crossfade.remains import Rows
from crossfade.routers.base import Restartable, Router, Side
from crossfade.schema.database import give_up_grants
from crossfade.schema.patience import patiently
from crossfade.schema.roles import stop_acting_for

if TYPE_CHECKING:
    from crossfade.migration import Migration

log = logging.getLogger(__name__)

ACTION = "cleanup"  #: what an approval is for
BEGUN = "cleanup"  #: the journal's mark: streams are being removed, there may be no way back any more
LOCK_SECONDS = 10.0  #: for which a cutover, rollback or abort that is under way is waited for


class CleanupRefused(PreconditionError):
    """Something of the migration is still needed."""

    def __init__(self, *, plan: str, reasons: Sequence[str]) -> None:
        self.reasons = list(reasons)
        super().__init__(f"cleaning up {plan} was refused, nothing was changed: {'; '.join(reasons)}")


class NotApproved(PreconditionError):
    """Nobody said yes to cleaning up."""

    def __init__(self, *, plan: str, run_id: str) -> None:
        super().__init__(
            f"the journal holds no approval of cleaning up {plan} in the run {run_id}; nothing was changed. "
            "Marking the gate as success approves nothing: clear approve_cleanup, and answer it"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class CleanupReport:
    """What was removed, what is left to people, and the journal that went."""

    removed: tuple[str, ...]  #: in words
    notes: tuple[str, ...]  #: what a person should know
    reopening: tuple[str, ...]  #: SQL that opens the source again as it was; none where it was opened or never closed
    journal: dict[str, Rows]  #: side -> the rows that were entered there for this migration


def cleanup(
    m: Migration,
    *,
    run_id: str,
    early: bool = False,
    reopen_source: bool = False,
    poolers_are_permanent: bool = False,
) -> CleanupReport:
    """
    After the rollback window: remove all that is Crossfade's from both sides. There is no way back afterwards.

    Safe to run again after a failure at any point. The streams go first, which the journal is needed for; then, in one
    transaction a side, the journal: on the target, and last on the source, whose decision tells until then who serves.

    :param run_id: whose approval of a cleanup counts
    :param early: a person agreed to give up a way back that is still promised; an approval of that run says so, too
    :param reopen_source: who could connect to the source before the cutover may again; by default it stays closed
    :param poolers_are_permanent: a person sees to it that poolers lead to the target when they are started again
    Raises `CleanupRefused`, with nothing changed; `NoMigration`; `Unreachable`, `remains.InTheWay`,
    `decision.AnotherActs`.
    """
    writable = {"default_transaction_read_only": "off"}
    purpose = f"{m.plan.name}/cleanup"
    with (
        m.source.session(purpose, settings=writable) as source,
        m.target.session(purpose, settings=writable) as target,
    ):
        for conn in (target, source):
            decision.act_alone(conn, m.plan.name, seconds=LOCK_SECONDS)
        removed: list[str] = []
        rows: dict[str, Rows] = {}
        journal = Journal(target)
        record = journal.find(m.plan.name)
        if record is not None:
            begun = journal.marked(record.id, BEGUN)  # by somebody who was allowed to
            approved = early or begun or journal.last_approval(record.id, run_id, ACTION) is not None
            reasons = list(of_state(record, source))
            if not reasons:
                reasons += _of_promise(record, approved=approved)
                reasons += of_routers(m, poolers_are_permanent=poolers_are_permanent)
            if reasons:
                raise CleanupRefused(plan=m.plan.name, reasons=reasons)
            if not begun:
                journal.mark(record.id, BEGUN)
            removed += _remove_streams(m, record, source, target)
            rows[Side.TARGET.value] = _end_target(m, record, source, target, removed)
        elif not _ended_on_target(m.plan.name, source, target):
            raise NoMigration(plan=m.plan.name)
        notes = _strangers(source, m.plan.name)
        reopening, rows[Side.SOURCE.value] = _end_source(m, source, removed, reopen=reopen_source)
    for line in removed:
        log.info("removed: %s", line)
    return CleanupReport(removed=tuple(removed), notes=tuple(notes), reopening=tuple(reopening), journal=rows)


def require_approval(m: Migration, run_id: str) -> None:
    """Raise `NotApproved` unless somebody approved a cleanup in that run. Nothing where no migration goes on."""
    with m.session(Side.TARGET, "cleanup") as conn:  # not as `Migration.journal`, which makes one where there is none
        journal = Journal(conn)
        record = journal.find(m.plan.name)
        if record is not None and journal.last_approval(record.id, run_id, ACTION) is None:
            raise NotApproved(plan=m.plan.name, run_id=run_id)


def record_cleanup_approval(m: Migration, *, run_id: str, approver: str, approved_at: datetime) -> None:
    """Enter a person's yes to giving up the way back and to removing what belongs to the migration."""
    with m.journal() as journal:
        record = journal.get(m.plan.name)
        approval = Approval(approver=approver, approved_at=approved_at, plan_hash=record.plan.hash, action=ACTION)
        journal.approve(record.id, run_id=run_id, approval=approval)
        log.info("%s approved cleaning up", approver)


# --- may it begin? ---------------------------------------------------------------------------------------------------


def promised_for(record: MigrationRecord, now: datetime) -> timedelta:
    """
    How much longer the way back is promised; zero or less where it is no more, or never was.

    Where it is not known since when the target serves, the whole window is left.
    """
    if record.plan.rollback.way_back == "none":
        return timedelta(0)
    return (record.cut_over_at or now) + record.plan.rollback.window - now


def of_state(record: MigrationRecord, source: Connection) -> Iterator[str]:
    """What of the migration's state speaks against a cleanup."""
    if record.state is not State.CUT_OVER:
        yield (
            f"it is {record.state}, its rows are still carried. To give a migration up, run the DAG abort with action "
            "abandon"
        )
        return
    newest = decision.newest(source, record.plan.name)
    if newest is not None and newest.decision is None:
        yield "a cutover is under way or was left undecided: run the DAG abort with action restore_traffic"


def _of_promise(record: MigrationRecord, *, approved: bool) -> Iterator[str]:
    left = promised_for(record, datetime.now(UTC))
    if left > timedelta(0) and not approved:
        since = f"since {record.cut_over_at:%Y-%m-%d %H:%M} UTC" if record.cut_over_at else "since a time not known"
        yield (
            f"the target serves {since}, and the way back is promised for {spoken(left)} more "
            "(rollback.window). Wait; or approve it in the gate of the cleanup DAG, or use --early"
        )


def of_routers(m: Migration, *, poolers_are_permanent: bool = False) -> list[str]:
    """What of the routers speaks against a cleanup: clients on the source, now or after a restart of a pooler."""
    return [
        reason
        for router in (*m.routers(), *m.readers())
        for reason in _of_router(router, poolers_are_permanent=poolers_are_permanent)
    ]


def _of_router(router: Router, *, poolers_are_permanent: bool) -> list[str]:
    try:
        with router:
            if (side := router.serving()) is not Side.TARGET:
                return [f"{router.label} leads to the {side}: lead it to the target first"]
            if poolers_are_permanent or not isinstance(router, Restartable):
                return []
            problems = [f"{router.label}: {problem}" for problem in router.after_restart(Side.TARGET)]
            if problems:
                problems[-1] += " Where you have seen to that otherwise, say poolers_are_permanent"
            return problems
    except CrossfadeError as error:
        return [f"{router.label} could not be asked: {error}"]


# --- the work --------------------------------------------------------------------------------------------------------


def _remove_streams(m: Migration, record: MigrationRecord, source: Connection, target: Connection) -> list[str]:
    """Both directions, and what an engine has made elsewhere: all that takes the journal to be found."""
    carriers = all_carriers(m, source=source, target=target, record=record)
    for each in carriers.engines:
        each.finish()
    carriers.drop()
    carriers.release()
    removed = [f"what carried rows to the target (engine {m.plan.engine})"]
    if len(carriers.engines) > 1:
        removed.append("the task of AWS DMS and what was made for it, from before the rollback")
    if carriers.others:
        removed.append("the way back")
    for conn, publisher in ((source, m.target_from_source), (target, m.source_from_target)):
        removed += remains.drop_strays(conn, m.plan.name, publisher)
    return removed


def _end_target(
    m: Migration, record: MigrationRecord, source: Connection, target: Connection, removed: list[str]
) -> Rows:
    """The journal, and grants that were made for the move, in one transaction. Returns the journal's rows."""
    could_connect = fence.ledger_of(source, m.plan.name) or {}
    login = m.target_from_source.user  #: of the way back: let in for it
    others = remains.others_using(target, m.plan.name)
    rows = remains.kept_rows(target, m.plan.name, others)

    def end() -> None:
        if others:
            remains.forget(target, m.plan.name)
            Journal(target).set_state(record.id, State.COMPLETED)
            return
        remains.drop_schema(target)
        if login != target.info.user and login not in could_connect:
            fence.take_back(target, [login])
        give_up_grants(target)
        for role in stop_acting_for(target):
            log.info("the migration role does not act for %s any more", role)

    patiently(target, "removing the journal on the target", end, log.info)
    removed.append(_of_schema(Side.TARGET, others))
    return rows


def _end_source(m: Migration, source: Connection, removed: list[str], *, reopen: bool) -> tuple[list[str], Rows]:
    """The fence and the schema in one transaction. Returns SQL that would open the source again."""
    if not control.version(source):
        return [], {}
    others = remains.others_using(source, m.plan.name)
    rows = remains.kept_rows(source, m.plan.name, others)
    reopening: list[str] = []

    def end() -> None:
        reopening.clear()
        if reopen:
            fence.open_for_good(source, m.plan.name)
        else:
            reopening.extend(fence.close_for_good(source, m.plan.name))
            for statement in reopening:  # before the COMMIT: whatever becomes of us, it has been said
                log.info("the source stays closed; this would open it again: %s", statement)
        remains.forget(source, m.plan.name)
        if not others:
            remains.drop_schema(source)

    patiently(source, "removing the journal on the source", end, log.info)
    removed.append(_of_schema(Side.SOURCE, others))
    return reopening, rows


def _of_schema(side: Side, others: Sequence[str]) -> str:
    if others:
        return f"this plan's rows in the schema crossfade of the {side}, which {', '.join(others)} need"
    return f"the schema crossfade of the {side}"


def _ended_on_target(plan: str, source: Connection, target: Connection) -> bool:
    """Whether an earlier try came as far as the source, where the decision is kept that made the target serve."""
    last = decision.newest(source, plan)
    if last is None or last.authority is not Side.TARGET or decision.newest(target, plan) is not None:
        return False
    return not any(remains.objects_of(conn, plan) for conn in (source, target))


def _strangers(source: Connection, plan: str) -> list[str]:
    sessions = fence.foreign_sessions(source, [source.info.user])
    return [
        f"{row['role']} is still connected to the source (pid {row['pid']}, {row['application_name'] or 'no name'}, "
        f"{row['address'] or 'locally'})"
        for row in sessions
    ]
