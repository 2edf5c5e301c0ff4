"""Read traffic: whether its routers lead to the source, and what they are to lead to follows the target."""

from __future__ import annotations

from collections.abc import Iterator

from crossfade.assess.registry import Problem, Severity, check
from crossfade.cutover import readers
from crossfade.migration import Migration


@check("readers.can_follow", severity=Severity.BLOCKER)
def readers_can_follow(migration: Migration) -> Iterator[Problem]:
    """Routers of read traffic that lead elsewhere; replicas that cannot be reached, or do not follow the target."""
    for obstacle in readers.obstacles(migration):
        yield Problem("read traffic", obstacle, "Put it right before the cutover: readers would stay behind")
