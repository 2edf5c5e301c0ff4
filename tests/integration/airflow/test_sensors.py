"""The sensors against a real stream: when they are satisfied, when they defer, when they give up."""

import asyncio
import threading
import time

import pytest
from airflow.sdk.exceptions import AirflowSensorTimeout, TaskDeferred

from crossfade_airflow.sensors import ReplicationSlotLagSensor, SubscriptionCaughtUpSensor
from crossfade_airflow.triggers import sampling
from crossfade_airflow.triggers.sampling import StreamBroken
from crossfade_lab.processes import wait_until

STREAM = "crossfade_test_1"
SOON = {"poke_interval": 0.1, "timeout": 120}


@pytest.fixture(autouse=True)
def no_hand_over(monkeypatch):
    monkeypatch.setattr(sampling, "HAND_OVER", 0)


def slot_lag(**changes):
    given = {"conn_id": "test_source", "slots": STREAM, "max_bytes": 10_000, "samples": 1, **SOON}
    return ReplicationSlotLagSensor(task_id="lag", **{**given, **changes})


def caught_up(**changes):
    given = {"source_conn_id": "test_source", "target_conn_id": "test_target", "subscriptions": STREAM, "samples": 1}
    return SubscriptionCaughtUpSensor(task_id="caught_up", **{**given, "max_seconds": 5, **SOON, **changes})


def waited(sensor):
    """Run a sensor with its trigger, as worker, triggerer and worker do."""
    try:
        return sensor.execute({})
    except TaskDeferred as deferred:
        _, arguments = deferred.trigger.serialize()
        again = type(deferred.trigger)(**arguments)

        async def first():
            async for event in again.run():
                return event.payload

        return sensor.execute_complete({}, asyncio.run(first()))


def hold_applying(streaming):
    """Lock the table on the target, so that nothing is applied."""
    blocker = streaming.target_server.connect()
    blocker.autocommit = False
    blocker.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
    return blocker


def test_a_current_slot_satisfies_at_once(streaming):
    streaming.write()
    assert wait_until(lambda: streaming.target.execute("SELECT count(*) FROM t").fetchone() == (1,), seconds=60)
    assert waited(slot_lag(samples=3))["bytes"] < 10_000


def test_a_slot_that_lags_is_waited_for(streaming):
    with hold_applying(streaming) as blocker:
        streaming.write(rows=200, size=1000)
        threading.Timer(1, blocker.rollback).start()
        start = time.monotonic()
        waited(slot_lag())
    assert time.monotonic() - start > 0.9
    assert streaming.target.execute("SELECT count(*) FROM t").fetchone() == (200,)


def test_a_slot_that_never_catches_up_times_out_and_shows_its_lag(streaming):
    with hold_applying(streaming) as blocker:
        streaming.write(rows=200, size=1000)
        with pytest.raises(AirflowSensorTimeout, match=r"crossfade_test_1 is \d+\.\d kB behind"):
            waited(slot_lag(timeout=0.5))
        blocker.rollback()


def test_a_missing_slot_fails_at_once(streaming):
    with pytest.raises(StreamBroken, match="'crossfade_test_2' does not exist on 'test_source'"):
        slot_lag(slots=[STREAM, "crossfade_test_2"]).execute({})


def test_a_physical_slot_is_refused_rather_than_counted_as_current(streaming):
    streaming.source.execute("SELECT pg_create_physical_replication_slot('standby')")
    with pytest.raises(StreamBroken, match="no logical"):
        slot_lag(slots="standby").execute({})


def test_a_lost_slot_fails_at_once(streaming):
    streaming.target.execute(f"ALTER SUBSCRIPTION {STREAM} DISABLE")
    streaming.source.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
    streaming.source.execute("SELECT pg_reload_conf()")

    def lost():
        streaming.source.execute("SELECT pg_logical_emit_message(false, 'fill', repeat('x', 1000000))")
        streaming.source.execute("SELECT pg_switch_wal()")
        streaming.source.execute("CHECKPOINT")
        query = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = %s"
        return streaming.source.execute(query, [STREAM]).fetchone() == ("lost",)

    try:
        assert wait_until(lost, seconds=120)
        with pytest.raises(StreamBroken, match="is lost"):
            slot_lag().execute({})
    finally:
        streaming.source.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
        streaming.source.execute("SELECT pg_reload_conf()")


def test_nothing_to_wait_for_is_an_error(streaming):
    with pytest.raises(ValueError, match="nothing to wait for"):
        slot_lag(slots=[]).execute({})


def test_a_subscription_that_keeps_up_satisfies_and_tells_its_seconds(streaming):
    streaming.write(rows=100)
    figures = waited(caught_up(samples=2))
    assert 0 <= figures["seconds"] < 5
    assert figures["bytes"] == 0
    assert streaming.target.execute("SELECT count(*) FROM t").fetchone() == (100,)


def test_a_subscription_that_falls_behind_is_not_caught_up(streaming):
    with hold_applying(streaming) as blocker:
        streaming.write(rows=10, size=1000)
        with pytest.raises(AirflowSensorTimeout, match="bytes not applied after"):
            waited(caught_up(max_seconds=0.2, timeout=0.5))
        blocker.rollback()
    assert waited(caught_up())["bytes"] == 0


def test_a_disabled_subscription_fails_at_once(streaming):
    streaming.target.execute(f"ALTER SUBSCRIPTION {STREAM} DISABLE")
    with pytest.raises(StreamBroken, match="is disabled"):
        caught_up().execute({})


def test_a_missing_subscription_fails_at_once(streaming):
    with pytest.raises(StreamBroken, match="'nowhere' does not exist"):
        caught_up(subscriptions=[STREAM, "nowhere"]).execute({})


def test_a_table_published_but_not_subscribed_fails_at_once(streaming):
    """PostgreSQL itself would call all tables ready, and stream without that one for ever."""
    streaming.source.execute("CREATE TABLE more (id int PRIMARY KEY)")
    streaming.source.execute(f"ALTER PUBLICATION {STREAM} ADD TABLE more")
    try:
        with pytest.raises(StreamBroken, match=r"Not subscribed: \['public.more'\]"):
            caught_up().execute({})
    finally:
        streaming.source.execute("DROP TABLE more")


def test_a_publication_that_is_gone_fails_at_once(streaming):
    streaming.source.execute(f"DROP PUBLICATION {STREAM}")
    with pytest.raises(StreamBroken, match=r"not published: \['public.t'\]"):
        caught_up().execute({})


def test_a_change_that_can_not_be_applied_is_given_up_with_a_clear_message(streaming):
    streaming.target.execute("INSERT INTO t (id, payload) OVERRIDING SYSTEM VALUE VALUES (1, 'in the way')")
    streaming.write()
    with pytest.raises(StreamBroken, match="times to apply the same change"):
        waited(caught_up(max_seconds=0.2, timeout=120))


def test_one_connection_that_was_cut_is_no_reason_to_give_up(streaming):
    streaming.write()
    streaming.source.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots")
    assert waited(caught_up(samples=2))["bytes"] == 0
