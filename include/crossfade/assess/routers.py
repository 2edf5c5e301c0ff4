"""Routers in AWS: whether they lead to the source, and nothing stands in the way of a switch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from crossfade.assess.registry import Problem, Severity, check
from crossfade.errors import CrossfadeError
from crossfade.routers.base import Foreseeing, Router, Side


@check("routers.serves_source", severity=Severity.BLOCKER)
def every_router_leads_to_the_source(switches: Sequence[Router]) -> Iterator[Problem]:
    """RDS Proxies, records and secrets that lead elsewhere, cannot be read, or could not be switched."""
    for router in switches:
        try:
            if (side := router.serving()) is not Side.SOURCE:
                yield Problem(router.label, f"it leads to the {side}", "Lead it to the source, or correct the plan")
            for obstacle in router.obstacles() if isinstance(router, Foreseeing) else ():
                yield Problem(router.label, obstacle, "Put it right before the cutover, which would refuse")
        except CrossfadeError as error:
            yield Problem(router.label, " ".join(str(error).split()), "Put it right, then assess again")


@check("routers.hold_clients", severity=Severity.WARNING)
def clients_are_held(switches: Sequence[Router]) -> Iterator[Problem]:
    """Routers that cannot hold clients: the cutover is seen by them."""
    for router in switches:
        if isinstance(router, Foreseeing):
            yield Problem(router.label, router.effect(), "Put a PgBouncer before the database where that is too much")
