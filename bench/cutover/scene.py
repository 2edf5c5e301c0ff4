"""A migration of the lab's shop that is loaded, validated and in step: what every way of cutting over begins from."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from crossfade import phases, sequences
from crossfade.catalog import sequences as sequence_names
from crossfade.connect import Endpoint
from crossfade.cutover import fence, order
from crossfade.migration import Migration
from crossfade.plan import load_plan
from crossfade.routers.base import Direction, Side
from crossfade.validation import run as validation
from crossfade_lab import testing
from crossfade_lab.postgres import PostgresServer, binaries
from crossfade_lab.stack import Lab

PLAN = "shop"
VALIDATED = "bench"  #: the run to which the validation belongs
SWEEP_SECONDS = 10.0  #: for the poolers' idle sessions to be gone


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """Two servers with the lab's settings, fsync included, two PgBouncers, and the migration between them."""

    lab: Lab
    m: Migration
    directory: Path  #: for whatever is made meanwhile

    def server(self, side: Side) -> PostgresServer:
        return self.lab.source if side is Side.SOURCE else self.lab.target

    def approve(self, direction: Direction, run_id: str) -> None:
        """Enter a yes to a cutover or rollback by that run."""
        approver, now = self.m.plan.cutover.approvers[0], datetime.now(UTC)
        record = phases.record_approval if direction is Direction.FORWARD else phases.record_rollback_approval
        record(self.m, run_id=run_id, approver=approver, approved_at=now)

    def cut_over(self, direction: Direction, run_id: str) -> order.CutoverSummary:
        """The product's cutover or rollback."""
        return order.run(self.m, run_id=run_id, direction=direction)

    @contextmanager
    def both_open(self) -> Iterator[None]:
        """The target as a runbook has it, without a fence; afterwards as the product wants it to be."""
        with self.m.session(Side.TARGET, "bench") as target, target.transaction():
            fence.lift(target, PLAN)
        try:
            yield
        finally:
            self._level_sequences()
            with self.m.session(Side.TARGET, "bench") as target:
                exempt = fence.exempt_roles(target)
                fence.close(target, plan=PLAN, exempt=exempt)
                fence.sweep(target, exempt=exempt, deadline=time.monotonic() + SWEEP_SECONDS)

    def _level_sequences(self) -> None:
        """Both sides at the further one's position: a runbook leaves those behind that no column owns."""
        with self.m.session(Side.SOURCE, "bench") as source, self.m.session(Side.TARGET, "bench") as target:
            names = set(sequence_names(source)) & set(sequence_names(target))
            for old, new in ((source, target), (target, source)):
                sequences.write(new, sequences.carry(sequences.read(old, names), sequences.read(new, names), 0))


@contextmanager
def scene(rows: int, tell: Callable[[str], None]) -> Iterator[Scene]:
    """Start the lab without Airflow, and bring its migration to the approval; everything is gone at the end."""
    os.environ.setdefault("PG_BIN", str(binaries(18)))
    with testing.scratch_directory() as directory:
        lab = Lab(directory / "lab", detached=False)
        lab.up(rows, airflow=False, tell=tell)
        try:
            m = migration(lab)
            for wave in phases.prepare(m).waves:
                phases.load_wave(m, wave.number)
            phases.harden(m)
            validation.validate(m, run_id=VALIDATED)
            yield Scene(lab=lab, m=m, directory=directory)
        finally:
            lab.down()


def migration(lab: Lab) -> Migration:
    """The lab's plan bound to its databases and consoles."""
    known = {
        name: Endpoint(
            name=name,
            host=str(conn["host"]),
            port=int(str(conn["port"])),
            dbname=str(conn["schema"]),
            user=str(conn["login"]),
            password=str(conn["password"]),
        )
        for name, conn in lab.connections().items()
    }
    return Migration(load_plan(lab.plans / f"{PLAN}.yaml"), known.__getitem__)
