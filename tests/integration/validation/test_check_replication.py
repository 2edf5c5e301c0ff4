"""The check of replication with native streams: healthy, stopped, and without a slot."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from crossfade import control
from crossfade.engines.logical.replication import Replication
from crossfade.engines.logical.stream import Stream
from crossfade.routers.base import Direction, Side
from crossfade.validation.checks import run_checks
from crossfade.validation.result import CheckResult, Mode, Verdict

NAME = "crossfade_checked"


@pytest.fixture
def replication(twins) -> Iterator[Replication]:
    """A stream of one table that runs."""
    source, target = twins.connect("source"), twins.connect("target")
    for conn, side in ((source, Side.SOURCE), (target, Side.TARGET)):
        control.install(conn, side)
    control.add_stream(target, "checked")
    target.execute('TRUNCATE "My Shop"."select"')
    stream = Stream(name=NAME, watermark="checked", tables=(("My Shop", "select"),), publisher=twins.end("source"))
    m = SimpleNamespace(streams=lambda waves, direction: [stream])
    stream.publish(source)
    stream.make_slot(source)
    stream.subscribe(target)
    carrier = Replication(m, Direction.FORWARD, publisher=source, subscriber=target, waves={1: stream.tables})
    carrier.round_trip(time.monotonic() + 30)
    yield carrier
    with target, twins.connect("source") as again:
        stream.drop_subscription(target)
        stream.drop_slot(again)
    source.close()


def check(sides) -> CheckResult:
    """Its result."""
    return next(result for result in run_checks(sides, Mode.QUICK) if result.name == "replication")


def test_a_stream_that_runs_is_ok_and_its_lag_noted(twins, both, replication) -> None:
    found = check(both(twins, carrier=replication))
    assert found.verdict is Verdict.OK, found
    assert " s behind, by watermark; slot crossfade_checked: reserved, read" in found.note


def test_a_subscription_that_is_disabled_is_told(twins, both, replication) -> None:
    replication.stop(time.monotonic() + 30)
    found = check(both(twins, carrier=replication))
    assert found.verdict is Verdict.MISMATCH
    assert found.lines == ("the subscription crossfade_checked on the target is disabled: nothing is applied there",)
    assert found.note.endswith("slot crossfade_checked: reserved, not read")


def test_a_subscription_that_cannot_apply_is_told(twins, both, replication) -> None:
    with twins.connect("target") as target:
        target.execute('ALTER TABLE "My Shop"."select" ADD CONSTRAINT no CHECK (x < 100)')
    with twins.connect("source") as source:
        source.execute('INSERT INTO "My Shop"."select" VALUES (100)')
    deadline = time.monotonic() + 30
    while (found := check(both(twins, carrier=replication))).verdict is Verdict.OK and time.monotonic() < deadline:
        time.sleep(0.1)
    assert found.verdict is Verdict.MISMATCH
    assert found.lines == (
        "the subscription crossfade_checked on the target has no worker: the log of its server tells why",
    )


def test_a_slot_that_is_missing_is_told_with_what_to_do(twins, both, replication) -> None:
    stream = replication.streams[0]
    stream.drop_subscription(replication.subscriber)
    stream.drop_slot(replication.publisher)
    found = check(both(twins, carrier=replication))
    assert found.verdict is Verdict.MISMATCH
    assert found.lines[0].startswith("the slot crossfade_checked on the source is missing: changes since then are lost")
    assert len(found.lines) == 1
    assert found.note == "the lag was not measured"


def test_a_carrier_whose_session_is_lost_is_incomplete_and_the_other_checks_are_made(twins, both, replication) -> None:
    replication.publisher.close()
    found = {result.name: result for result in run_checks(both(twins, carrier=replication), Mode.QUICK)}
    assert found["replication"].verdict is Verdict.INCOMPLETE
    assert found["replication"].lines == ("could not be looked at: the connection is closed",)
    assert found["keys"].verdict is Verdict.OK
