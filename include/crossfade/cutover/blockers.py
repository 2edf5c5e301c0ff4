"""What stands in the way of a cutover right now: asked by the rehearsal, and again before clients are held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from crossfade import catalog
from crossfade.connect import Connection
from crossfade.cutover import fence
from crossfade.errors import CrossfadeError
from crossfade.journal import Journal, MigrationRecord
from crossfade.queries import named_queries
from crossfade.routers.base import Foreseeing, Side
from crossfade.schema.ledger import Kind, Ledger

if TYPE_CHECKING:
    from crossfade.cutover.steps import Section
    from crossfade.engines.base import Engine
    from crossfade.migration import Migration

_QUERIES = named_queries(__file__)


def of_section(section: Section) -> list[str]:
    """Everything that blocks, as sentences that say what was seen and what to do."""
    m = section.m
    return [
        *_of_engine(m, section.engine),
        *_of_transactions(m, section.old),
        *_of_sessions(section.old, section.exempt),
        *_of_definitions(section.old, section.stamp),
        *_of_target(m, section.new),
        *_of_ledger(section),
        *_of_routers(section),
    ]


def _of_engine(m: Migration, engine: Engine) -> Iterator[str]:
    try:
        engine.check()
        lag = engine.lag()
    except CrossfadeError as error:
        yield str(error)
        return
    limit = m.plan.lag
    if lag.bytes > limit.max_bytes or lag.seconds is None or lag.seconds > limit.max_seconds:
        seconds = "unknown" if lag.seconds is None else f"{lag.seconds:.1f} s"
        yield (
            f"the target is {lag.bytes} bytes and {seconds} behind, the plan allows {limit.max_bytes} bytes and "
            f"{limit.max_seconds} s: wait, or clear catch_up"
        )


def _of_transactions(m: Migration, old: Connection) -> Iterator[str]:
    for transaction in catalog.blocking_transactions(old):
        mine = transaction.database == old.info.dbname
        if mine and transaction.age > m.plan.cutover.max_pause:
            yield f"a transaction is open longer than max_pause, the pause would wait for it: {transaction}"
    for prepared in catalog.prepared_transactions(old):
        yield f"prepared transaction {prepared.gid!r} of {prepared.role}: COMMIT PREPARED or ROLLBACK PREPARED it"


def _of_sessions(old: Connection, exempt: Sequence[str]) -> Iterator[str]:
    for row in old.execute(_QUERIES["superuser_sessions"], {"exempt": list(exempt)}).fetchall():
        yield (
            f"superuser {row['role']} is connected to the old side (pid {row['pid']}, "
            f"{row['application_name'] or 'no name'}): the fence can not end it, close that session"
        )


def _of_definitions(old: Connection, stamp: str) -> Iterator[str]:
    if catalog.definition_stamp(old) != stamp:
        yield "somebody ran DDL on the source since its schema was copied: bring the target in step, clear prepare"


def _of_target(m: Migration, new: Connection) -> Iterator[str]:
    if not fence.is_fenced(new):
        yield "the target is not fenced: applications could write there already. Clear prepare"
    rows = new.execute("SELECT rolname, rolcanlogin FROM pg_roles").fetchall()
    logins = {row["rolname"]: row["rolcanlogin"] for row in rows}
    for role in m.plan.cutover.application_roles:
        if not logins.get(role):
            yield f"the application role {role} can not log in on the target: CREATE ROLE … LOGIN, or clear prepare"


def _of_ledger(section: Section) -> Iterator[str]:
    """NOT NULL returns in the pause, when nothing is applied any more; all else must be there before."""
    for entry in Ledger(section.new, section.migration).pending():
        if entry.kind is not Kind.NOT_NULL:
            yield f"the {entry} was dropped for a load and is not there again: clear harden"


def _of_routers(section: Section) -> Iterator[str]:
    for router in section.routers:
        try:
            if router.serving() is not Side.SOURCE:
                yield f"the router {router.label} does not send clients to the source"
            if isinstance(router, Foreseeing):
                yield from router.obstacles()
        except CrossfadeError as error:
            yield str(error)


def of_approval(journal: Journal, record: MigrationRecord, run_id: str) -> Iterator[str]:
    """Why the recorded approval does not allow this cutover; nothing where it does."""
    approval, newest = journal.last_approval(record.id, run_id), journal.last_validation(record.id)
    plan = record.plan
    if approval is None:
        yield (
            "nobody approved this run: the journal holds no approval of it. Marking the gate as success opens nothing; "
            "clear approve_cutover and answer it"
        )
        return
    if approval.approver not in plan.cutover.approvers:
        yield f"{approval.approver!r} approved, but is none of the plan's approvers {', '.join(plan.cutover.approvers)}"
    if approval.plan_hash != plan.hash:
        yield f"the approval is for the plan {approval.plan_hash}, the pinned plan is {plan.hash}: approve it anew"
    if newest is None or newest.id != approval.validation_id:
        yield "there is a newer validation than the one that was approved: approve that"
    elif not newest.equal or newest.age is None:
        yield "the last validation did not end with equal tables: clear validate"
    elif newest.age > plan.validation.max_age:
        yield f"the validation is {newest.age} old, the plan allows {plan.validation.max_age}: clear validate"
