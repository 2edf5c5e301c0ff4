"""Where a PgBouncer would lead if it were started again: what `after_restart` says, and what a restart then shows."""

from pathlib import Path

import pytest

from crossfade.routers.base import Restartable, Side
from crossfade.routers.pgbouncer_console import Console

from .conftest import Pooled


def conffiles(setup: Pooled) -> dict[str, dict[str, str]]:
    """A complete main file a side for the one instance of a setup."""
    written = setup.bouncers[0].write_conffiles({side.value: {"shop": setup.destination(side)} for side in Side})
    return {"conffile": {side: str(path) for side, path in written.items()}}


def command(setup: Pooled, text: str) -> None:
    """What an operator types on the console."""
    console = Console(setup.consoles()[0])
    console.command(text)
    console.close()


def test_a_chosen_main_file_is_forgotten_by_a_restart_and_that_is_told_before(one: Pooled) -> None:
    with one.fleet(conffiles(one)) as fleet:
        assert isinstance(fleet, Restartable)
        fleet.repoint(Side.TARGET)
        command(one, "RELOAD")
        (problem,) = fleet.after_restart(Side.TARGET)
        assert "pgbouncer_1 reads" in problem and "SET conffile" in problem
    one.bouncers[0].restart()
    assert one.side_seen() == "source", "what was told comes true"


def test_an_instance_that_was_started_on_the_targets_file_stays_there(one: Pooled) -> None:
    switch = conffiles(one)
    with one.fleet(switch) as fleet:
        fleet.repoint(Side.TARGET)
    one.bouncers[0].conffile = Path(switch["conffile"]["target"])
    one.bouncers[0].restart()
    with one.fleet(switch) as fleet:
        assert fleet.serving() is Side.TARGET
        assert fleet.after_restart(Side.TARGET) == []
        fleet.repoint(Side.TARGET)
        assert fleet.after_restart(Side.TARGET) == [], "it leads there already: nothing is chosen"


def test_replacing_the_first_file_needs_no_restart_but_the_console_told_to_read_it(one: Pooled) -> None:
    switch, first = conffiles(one), one.bouncers[0].conffile
    with one.fleet(switch) as fleet:
        fleet.repoint(Side.TARGET)
        first.write_text(Path(switch["conffile"]["target"]).read_text())
        assert fleet.after_restart(Side.TARGET) != [], "nobody told the instance of it"
        command(one, f"SET conffile = '{first}'")
        command(one, "RELOAD")
        assert fleet.serving() is Side.TARGET
        assert fleet.after_restart(Side.TARGET) == []


def test_there_and_back_the_files_are_recognised_in_either_spelling(one: Pooled) -> None:
    switch = conffiles(one)
    with one.fleet(switch) as fleet:
        for side in (Side.TARGET, Side.SOURCE, Side.TARGET, Side.TARGET):
            fleet.repoint(side)
            assert fleet.serving() is side
            assert one.side_seen() == side.value


@pytest.mark.parametrize("left", [Side.SOURCE, None])
def test_an_included_file_that_somebody_put_back_is_seen_although_the_instance_has_not_read_it(
    one: Pooled, left: Side | None
) -> None:
    with one.fleet() as fleet:
        fleet.repoint(Side.TARGET)
        assert fleet.after_restart(Side.TARGET) == []
        text = one.file.read_text()
        there = one.destination(Side.TARGET).dbname
        here = one.destination(Side.SOURCE).dbname
        one.file.write_text(text.replace(there, here) if left else "[databases]\n")
        assert fleet.serving() is Side.TARGET
        (problem,) = fleet.after_restart(Side.TARGET)
        assert f"{one.file} leads shop to" in problem
