"""The journal: one active migration a plan, no shared tables, nothing of a newer version."""

from __future__ import annotations

from typing import Any

import pytest

from crossfade import control, phases
from crossfade.errors import PreconditionError
from crossfade.journal import Journal, NoMigration
from crossfade.migration import Migration
from crossfade.plan import parse_plan
from crossfade.routers.base import Side

from .conftest import declare


def test_a_journal_of_a_newer_version_is_refused(world: Any) -> None:
    phases.prepare(world.m)
    with world.admin("target") as target:
        target.execute("UPDATE crossfade.version SET version = 99")
    for call in (lambda: phases.prepare(world.m), lambda: phases.load_wave(world.m, 1)):
        with pytest.raises(control.NewerJournal, match="version 99"):
            call()


def test_a_migration_that_was_never_prepared_is_said_so(world: Any) -> None:
    with world.m.session(Side.TARGET, "test") as conn:
        control.install(conn, Side.TARGET)
        with pytest.raises(NoMigration, match=r"Run the task prepare of shop\.migrate first"):
            Journal(conn).get("shop")


def test_two_plans_never_share_a_table(world: Any) -> None:
    phases.prepare(world.m)
    other = Migration(parse_plan(declare(world.bouncers), name="other"), world.m.resolve)
    with pytest.raises(phases.SharedTable, match=r"public\.orders \(shop\)"):
        phases.prepare(other)


def test_a_target_that_serves_another_plan_is_never_fenced(world: Any) -> None:
    phases.prepare(world.m)
    apart = {**declare(world.bouncers), "tables": {"include": ["billing.x*"], "exclude": ["public.*"]}}
    other = Migration(parse_plan(apart, name="other"), world.m.resolve)
    with world.admin("source") as source, world.admin("target") as target:
        source.execute("CREATE TABLE billing.x1 (id int PRIMARY KEY); ALTER TABLE billing.x1 OWNER TO shop_owner")
        with pytest.raises(PreconditionError, match="the plan shop has closed it already"):
            phases.prepare(other)
        target.execute("UPDATE crossfade.migration SET state = 'cut over' WHERE plan = 'shop'")
        target.execute("DELETE FROM crossfade.fence")
        with pytest.raises(PreconditionError, match="serves applications since the cutover of shop"):
            phases.prepare(other)
        assert target.execute("SELECT count(*) FROM crossfade.fence").fetchone() == (0,)


def test_an_edited_plan_changes_nothing_until_it_is_prepared_again(world: Any) -> None:
    phases.prepare(world.m)
    edited = parse_plan({**declare(world.bouncers), "lag": {"samples": 2}}, name="shop")

    pinned = Migration.pinned("shop", world.m.target, world.m.resolve)
    assert pinned.plan.hash == world.m.plan.hash
    assert pinned.plan.difference(edited) == ["lag.samples: 5 -> 2"]

    phases.prepare(Migration(edited, world.m.resolve))
    assert Migration.pinned("shop", world.m.target, world.m.resolve).plan.hash == edited.hash


def test_a_plan_that_selects_nothing_is_refused_before_anything_is_made(world: Any) -> None:
    nothing = parse_plan({**declare(world.bouncers), "tables": {"include": ["nowhere.*"]}}, name="shop")
    with pytest.raises(PreconditionError, match="selects no table"):
        phases.prepare(Migration(nothing, world.m.resolve))
    with world.admin("target") as target:
        assert target.execute("SELECT to_regclass('public.orders')").fetchone() == (None,)


def test_every_step_of_a_cutover_is_entered_with_its_milliseconds(world: Any) -> None:
    phases.prepare(world.m)
    with world.m.journal() as journal:
        migration = journal.get("shop").id
        with journal.step(migration, "one"):
            pass
        with pytest.raises(ZeroDivisionError), journal.step(migration, "two"):
            _ = 1 / 0
        rows = journal.conn.execute(
            "SELECT name, outcome, ms >= 0 AS timed, detail FROM crossfade.step"
            " WHERE name IN ('one', 'two') ORDER BY id"
        ).fetchall()
    assert [(row["name"], row["outcome"], row["timed"]) for row in rows] == [
        ("one", "done", True),
        ("two", "failed", True),
    ]
    assert "ZeroDivisionError" in rows[1]["detail"]
