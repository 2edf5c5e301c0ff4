"""From a plan's key ``engine`` to the engine itself, and from a direction to what carries rows in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.connect import Connection
from crossfade.engines.base import Carrier, Engine
from crossfade.engines.dms.engine import DmsEngine
from crossfade.engines.logical.engine import LogicalEngine
from crossfade.engines.logical.replication import Replication
from crossfade.journal import Journal, MigrationRecord
from crossfade.routers.base import Direction

if TYPE_CHECKING:
    from crossfade.migration import Migration


def engine_of(m: Migration, *, source: Connection, target: Connection, record: MigrationRecord) -> Engine:
    """
    The engine that carries this migration to its target, by the plan as it is pinned. Asks nobody anything.

    After a rollback rows go natively, whatever carried them before.
    :param source: an autocommit session on the source
    :param target: an autocommit session on the target
    """
    kind = DmsEngine if record.plan.engine == "dms" and record.carrier == "plan" else LogicalEngine
    return kind(m, source=source, target=target, record=record)


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
    waves = Journal(target).waves(record.id)
    return Replication(m, direction, publisher=target, subscriber=source, waves=waves)


def way_back_of(
    m: Migration, direction: Direction, *, source: Connection, target: Connection, record: MigrationRecord
) -> Replication | None:
    """What is to carry rows from the new side of that direction to the old one; None where the plan wants none."""
    if record.plan.rollback.way_back == "none":
        return None
    waves = Journal(target).waves(record.id)
    publisher, subscriber = (target, source) if direction is Direction.FORWARD else (source, target)
    return Replication(m, direction.other, publisher=publisher, subscriber=subscriber, waves=waves)
