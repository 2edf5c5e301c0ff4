"""From a plan's key ``engine`` to the engine itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.connect import Connection
from crossfade.engines.base import Engine
from crossfade.engines.dms.engine import DmsEngine
from crossfade.engines.logical.engine import LogicalEngine
from crossfade.journal import MigrationRecord

if TYPE_CHECKING:
    from crossfade.migration import Migration


def engine_of(m: Migration, *, source: Connection, target: Connection, record: MigrationRecord) -> Engine:
    """
    The engine that carries this migration, by the plan as it is pinned. Asks nobody anything.

    :param source: an autocommit session on the source
    :param target: an autocommit session on the target
    """
    kind = DmsEngine if record.plan.engine == "dms" else LogicalEngine
    return kind(m, source=source, target=target, record=record)
