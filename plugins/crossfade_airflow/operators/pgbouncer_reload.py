"""Have PgBouncer read its files again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from crossfade.errors import FatalError
from crossfade_airflow.operators.pgbouncer import PgBouncerOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class ReloadWithoutEffect(FatalError):
    """PgBouncer reported a RELOAD as done, but does not lead where it should."""

    def __init__(self, *, instance: str, database: str, expected: str, seen: str) -> None:
        super().__init__(
            f"{instance} leads {database!r} to {seen} after its RELOAD, not to {expected}. PgBouncer reports success "
            "for a missing or broken file too: look at its log, and at the file it reads"
        )


class PgBouncerReloadOperator(PgBouncerOperator):
    """
    RELOAD on every instance; then look where they lead, since a RELOAD of a broken file reports success too.

    Returns where each instance leads each database.

    :param leads_to: ``host:port/dbname`` that every instance must show afterwards; unset, it is only reported
    """

    template_fields: Sequence[str] = (*PgBouncerOperator.template_fields, "leads_to")

    def __init__(self, *, leads_to: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.leads_to = leads_to

    def execute(self, context: Context) -> dict[str, dict[str, str]]:
        seen: dict[str, dict[str, str]] = {}
        with self.fleet() as fleet:
            for console in fleet.consoles:
                console.command("RELOAD")
                shown = console.databases()
                seen[console.name] = {
                    name: str(shown[name].destination) if name in shown else "nothing" for name in fleet.names
                }
        for instance, databases in seen.items():
            for database, destination in databases.items():
                self.log.info("%s leads %s to %s", instance, database, destination)
                if self.leads_to not in (None, destination):
                    raise ReloadWithoutEffect(
                        instance=instance, database=database, expected=str(self.leads_to), seen=destination
                    )
        return seen
