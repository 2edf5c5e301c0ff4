"""What stands in the way of a cutover right now: asked by the rehearsal, and again before clients are held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from psycopg import sql

from crossfade import catalog
from crossfade.connect import Connection, scalar
from crossfade.cutover import fence, readers
from crossfade.engines.base import Carrier
from crossfade.engines.declared import carriers_of
from crossfade.errors import CrossfadeError
from crossfade.journal import Journal, MigrationRecord
from crossfade.journal_evidence import Approval
from crossfade.queries import named_queries
from crossfade.routers.base import Direction, Forewarning, Side
from crossfade.schema.compare import Difference, compare
from crossfade.schema.ledger import Kind, Ledger
from crossfade.validation.run import lent

if TYPE_CHECKING:
    from crossfade.cutover.section import Section
    from crossfade.migration import Migration

_QUERIES = named_queries(__file__)


def of_section(section: Section) -> list[str]:
    """Everything that blocks, as sentences that say what was seen and what to do."""
    m = section.m
    return [
        *_of_carrier(m, section.carrier, section.direction),
        *_of_transactions(m, section.old),
        *_of_sessions(section.old, section.exempt),
        *_of_definitions(section),
        *_of_new_side(section),
        *_of_ledger(section),
        *_of_routers(section),
        *readers.obstacles(m, section.direction.new),
    ]


def _of_carrier(m: Migration, carrier: Carrier, direction: Direction) -> Iterator[str]:
    try:
        carrier.check()
        lag = carrier.lag()
    except CrossfadeError as error:
        yield str(error)
        return
    limit = m.plan.lag
    if lag.bytes > limit.max_bytes or lag.seconds is None or lag.seconds > limit.max_seconds:
        seconds = "unknown" if lag.seconds is None else f"{lag.seconds:.1f} s"
        how = "wait, or clear catch_up" if direction is Direction.FORWARD else "wait"
        yield (
            f"the {direction.new} is {lag.bytes} bytes and {seconds} behind, the plan allows {limit.max_bytes} bytes "
            f"and {limit.max_seconds} s: {how}"
        )


def _of_transactions(m: Migration, old: Connection) -> Iterator[str]:
    for transaction in catalog.blocking_transactions(old):
        mine = transaction.database == old.info.dbname and m.plan.cutover.long_transactions == "abort"
        if mine and transaction.age > m.plan.cutover.max_pause:  # else they are waited for, or ended, before the pause
            yield f"a transaction is open longer than max_pause, the pause would wait for it: {transaction}"
    for prepared in catalog.prepared_transactions(old):
        yield f"prepared transaction {prepared.gid!r} of {prepared.role}: COMMIT PREPARED or ROLLBACK PREPARED it"


def _of_sessions(old: Connection, exempt: Sequence[str]) -> Iterator[str]:
    for row in old.execute(_QUERIES["superuser_sessions"], {"exempt": list(exempt)}).fetchall():
        yield (
            f"superuser {row['role']} is connected to the old side (pid {row['pid']}, "
            f"{row['application_name'] or 'no name'}): the fence can not end it, close that session"
        )


def _of_definitions(section: Section) -> Iterator[str]:
    if section.direction is Direction.FORWARD:
        if catalog.definition_stamp(section.old) != section.stamp:
            yield "somebody ran DDL on the source since its schema was copied: bring the target in step, clear prepare"
        return
    differences = _differences(section)
    if differences:
        shown = "; ".join(str(difference) for difference in differences[:5])
        count = len(differences)
        yield f"source and target are defined differently in {count} places: {shown}. Bring the source in step"


def _differences(section: Section) -> list[Difference]:
    """Between source and target, before a rollback; but for what AWS DMS needs where it brings rows back."""
    source, target, tables = section.new, section.old, section.m.plan.tables
    if section.m.plan.rollback.way_back != "dms":
        return compare(source, target, tables)
    carriers = carriers_of(section.m, source=source, target=target, record=section.record)
    return compare(source, target, tables, nullable_on_source=lent(source, section.record), carriers=carriers)


def _of_new_side(section: Section) -> Iterator[str]:
    new, side = section.new, section.direction.new
    if not fence.is_fenced(new):
        how = "Clear prepare" if side is Side.TARGET else "Close it: its rows are overwritten by what comes back"
        yield f"the {side} is not fenced: applications could write there already. {how}"
    rows = new.execute("SELECT rolname, rolcanlogin FROM pg_roles").fetchall()
    logins = {row["rolname"]: row["rolcanlogin"] for row in rows}
    cutover = section.m.plan.cutover
    for role in cutover.application_roles:
        if not logins.get(role):
            yield f"the application role {role} can not log in on the {side}: CREATE ROLE … LOGIN, or clear prepare"
    role = cutover.application_roles[0]
    if cutover.smoke and logins.get(role) and not scalar(new, "SELECT pg_has_role(%s, 'MEMBER')", [role]):
        yield (
            f"the smoke statements run as {role}, of which {new.info.user} is no member on the {side}: "
            f"GRANT {sql.Identifier(role).as_string()} TO {sql.Identifier(new.info.user).as_string()}"
        )


def _of_ledger(section: Section) -> Iterator[str]:
    """NOT NULL returns in the pause, when nothing is applied any more; all else must be there before."""
    if section.direction is Direction.BACK:
        return
    for entry in Ledger(section.new, section.migration).pending():
        if entry.kind is not Kind.NOT_NULL:
            yield f"the {entry} was dropped for a load and is not there again: clear harden"


def _of_routers(section: Section) -> Iterator[str]:
    for router in section.routers:
        try:
            if router.serving() is not section.direction.old:
                yield f"the router {router.label} does not send clients to the {section.direction.old}"
            if isinstance(router, Forewarning):
                yield from router.obstacles()
        except CrossfadeError as error:
            yield str(error)


def of_approval(journal: Journal, record: MigrationRecord, run_id: str, direction: Direction) -> Iterator[str]:
    """Why the recorded approval does not allow this cutover or rollback; nothing where it does."""
    approval, plan = journal.last_approval(record.id, run_id, direction.noun), record.plan
    gate = f"approve_{direction.noun}"
    if approval is None:
        yield (
            "nobody approved this run: the journal holds no approval of it. Marking the gate as success opens nothing; "
            f"clear {gate} and answer it"
        )
        return
    if approval.approver not in plan.cutover.approvers:
        yield f"{approval.approver!r} approved, but is none of the plan's approvers {', '.join(plan.cutover.approvers)}"
    if approval.plan_hash != plan.hash:
        yield f"the approval is for the plan {approval.plan_hash}, the pinned plan is {plan.hash}: approve it anew"
    if direction is Direction.FORWARD:
        yield from _of_validation(journal, record, approval)
        if (clean := journal.clean_rehearsals(record)) < plan.cutover.rehearsals:
            wanted = plan.cutover.rehearsals
            yield f"{clean} rehearsals found nothing in the way, the plan requires {wanted}: clear rehearse"


def _of_validation(journal: Journal, record: MigrationRecord, approval: Approval) -> Iterator[str]:
    """What was approved must have found nothing; a newer one, as of a night, may be there, and found nothing either."""
    newest, max_age = journal.last_validation(record.id), record.plan.validation.max_age
    if newest is None or approval.validation_id is None or not journal.validation(approval.validation_id).equal:
        yield "the validation that was approved did not end with equal tables: clear validate"
    elif not newest.equal:
        yield "a newer validation than the one that was approved found differences: look at its report, clear validate"
    elif newest.plan_hash != record.plan.hash:
        yield f"the validation is of the plan {newest.plan_hash}, the pinned plan is {record.plan.hash}: clear validate"
    elif newest.reloaded:
        yield "a table was loaded again since it was compared: clear validate"
    elif newest.age is None or newest.age > max_age:
        yield f"the validation is {newest.age} old, the plan allows {max_age}: clear validate"
