"""The section `cutover` of a plan: the critical section, its gate, and what surrounds it."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field

from crossfade.cutover.window import WindowsField
from crossfade.plan_hooks import Hooks
from crossfade.plan_section import ConnId, Section
from crossfade.quantities import Duration, parse_duration


class Cutover(Section):
    """The critical section and its gate."""

    approvers: tuple[str, ...] = Field(min_length=1)
    """Airflow user ids that may approve."""
    approval_timeout: Duration = parse_duration("7d")
    """The gate rejects by itself after this time."""
    window: WindowsField | None = None
    """When a cutover may begin, such as ``Mon-Thu 08:00-16:00 Europe/Paris``, or a list. Default: at any time."""
    max_pause: Duration = parse_duration("5s")
    """Budget of the pause. When it is spent before the decision, everything is undone."""
    long_transactions: Literal["wait", "terminate", "abort"] = "wait"
    """What is done about long transactions before clients are held: the pause would wait for them."""
    long: Duration = parse_duration("1s")
    """A transaction is long that has been open for longer; never more than ``max_pause``."""
    long_transactions_timeout: Duration = parse_duration("10min")
    """How long they are waited for."""
    sequence_margin: int = Field(default=1000, ge=0)
    """Increments that every sequence is set ahead."""
    application_roles: tuple[str, ...] = Field(min_length=1)
    """Roles the application connects as."""
    application: ConnId | None = None
    """The database as the application reaches it: the router's address, a login of the application."""
    smoke: tuple[str, ...] = ()
    """Statements run on the target in the pause, as the first application role, always rolled back."""
    rehearsal_pause: Duration = parse_duration("1s")
    """How long a rehearsal may hold clients: it lets them go as soon as transactions under way have finished."""
    rehearsals: int = Field(default=0, ge=0)
    """Rehearsals of this plan in which nothing stood in the way, that a cutover requires."""
    hooks: Hooks = Hooks()

    @property
    def long_transaction(self) -> timedelta:
        """The age from which a transaction is long: one as old as the whole budget always is."""
        return min(self.long, self.max_pause)
