"""What can go wrong with AWS DMS while it carries rows: a sentence each, with what to do."""

from __future__ import annotations

from crossfade.engines.base import Lag
from crossfade.engines.dms import task
from crossfade.engines.dms.engine import DmsEngine
from crossfade.engines.dms.failures import failure_of
from crossfade.engines.dms.statistics import statistics
from crossfade.engines.dms.stream import DmsStream
from crossfade.errors import CrossfadeError


def slots(engine: DmsEngine) -> list[str]:
    """The task's slot, once it has been seen."""
    known = engine.records.identifier("slot")
    return [known] if known else []


def look(engine: DmsEngine, patience: float) -> tuple[Lag | None, list[str]]:
    """
    The lag of a task that carries changes, None while there is none or it still loads; and what is wrong with it.

    :param patience: seconds for which a watermark is awaited
    """
    try:
        found = task.describe(engine.dms, engine.task)
        if found is None or not found.has_run:
            return None, []
        if failure := failure_of(found, statistics(engine.dms, found.arn)):
            return None, [str(failure)]
        if found.status != "running" or not found.load_complete:
            return None, []
        engine.check()
        return engine.lag(patience), []
    except CrossfadeError as error:
        return None, [str(error)]


def look_at_stream(stream: DmsStream, patience: float) -> tuple[Lag | None, list[str]]:
    """
    The lag of a task that carries changes from a slot of ours; and what is wrong with it: it is not proved yet, say.

    :param patience: seconds for which a watermark is awaited
    """
    try:
        stream.check()
        return stream.lag(patience), []
    except CrossfadeError as error:
        return None, [str(error)]
