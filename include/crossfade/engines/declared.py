"""From a plan's key ``engine`` to the engine itself, and from a direction to what carries rows in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from crossfade.connect import Connection
from crossfade.engines.base import Carrier, Engine, WayBack
from crossfade.engines.dms.engine import DmsEngine
from crossfade.engines.dms.stream import DmsStream
from crossfade.engines.logical.engine import LogicalEngine
from crossfade.engines.logical.replication import Replication
from crossfade.journal import Journal, MigrationRecord
from crossfade.routers.base import Direction

if TYPE_CHECKING:
    from crossfade.migration import Migration


def engine_of(m: Migration, *, source: Connection, target: Connection, record: MigrationRecord) -> Engine:
    """
    The engine that carries this migration to its target, by the plan as it is pinned. Asks nobody anything.

    After a rollback rows go the way that it has armed, whatever carried them before.
    :param source: an autocommit session on the source
    :param target: an autocommit session on the target
    """
    if record.carrier == "slot":
        return DmsStream(m, Direction.FORWARD, source=source, target=target, record=record)
    kind = DmsEngine if record.plan.engine == "dms" and record.carrier == "plan" else LogicalEngine
    return kind(m, source=source, target=target, record=record)


@dataclass(frozen=True, kw_only=True, slots=True)
class AllCarriers:
    """Everything that carries rows of a migration, has carried them, or was armed to."""

    engines: tuple[Engine, ...]  #: to the target: what does now, and the task of AWS DMS that rests since a rollback
    others: tuple[WayBack, ...]  #: the way back that the plan wants, and tasks that were made for one of an older plan

    def drop(self) -> None:
        """Leave nothing behind on either side; what the rows run on stays. Safe to call again."""
        for each in (*self.engines, *self.others):
            each.drop()

    def release(self) -> None:
        """Give back what nothing runs on any more. After `drop`."""
        for each in self.engines:
            each.release()


def all_carriers(m: Migration, *, source: Connection, target: Connection, record: MigrationRecord) -> AllCarriers:
    """What has to be dropped with a migration. The journal is asked, and nobody else."""
    engines = [engine_of(m, source=source, target=target, record=record)]
    if record.plan.engine == "dms" and record.carrier != "plan":
        engines.append(DmsEngine(m, source=source, target=target, record=record))
    back = way_back_of(m, Direction.FORWARD, source=source, target=target, record=record)
    others = [back] if back is not None else []
    for direction in Direction if record.plan.engine == "dms" else ():
        made = DmsStream(m, direction, source=source, target=target, record=record)
        known = {each.task for each in (*engines, *others) if isinstance(each, DmsStream)}
        if made.task not in known and made.records.identifier(made.kind) is not None:
            others.append(made)
    return AllCarriers(engines=tuple(engines), others=tuple(others))


def carriers_of(m: Migration, *, source: Connection, target: Connection, record: MigrationRecord) -> set[str]:
    """Roles of the target that are there to carry rows: also those of AWS DMS that rest since a rollback."""
    kind = DmsEngine if record.plan.engine == "dms" else LogicalEngine
    return kind(m, source=source, target=target, record=record).carriers()


def carrier_of(
    m: Migration, direction: Direction, *, source: Connection, target: Connection, record: MigrationRecord
) -> Carrier:
    """What carries rows from the old side of that direction to the new one."""
    if direction is Direction.FORWARD:
        return engine_of(m, source=source, target=target, record=record)
    return _armed(m, direction, source=source, target=target, record=record)


def way_back_of(
    m: Migration, direction: Direction, *, source: Connection, target: Connection, record: MigrationRecord
) -> WayBack | None:
    """What is to carry rows from the new side of that direction to the old one; None where the plan wants none."""
    if record.plan.rollback.way_back == "none":
        return None
    return _armed(m, direction.other, source=source, target=target, record=record)


def _armed(
    m: Migration, direction: Direction, *, source: Connection, target: Connection, record: MigrationRecord
) -> WayBack:
    """What a cutover in the other direction arms, to carry rows in this one."""
    if record.plan.rollback.way_back == "dms":
        return DmsStream(m, direction, source=source, target=target, record=record)
    waves = Journal(target).waves(record.id)
    publisher, subscriber = (source, target) if direction is Direction.FORWARD else (target, source)
    return Replication(m, direction, publisher=publisher, subscriber=subscriber, waves=waves)


def carrier_after_return(m: Migration) -> str:
    """What the journal says of a migration that was rolled back: what its way forward was armed with."""
    if m.plan.engine != "dms":
        return "plan"
    return "slot" if m.plan.rollback.way_back == "dms" else "native"
