"""The sensor of the cutover's window: at once where it is open, else asleep until it opens."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk.exceptions import TaskDeferred

from crossfade.cutover.window import parse_windows
from crossfade_airflow.sensors import CutoverWindowSensor, cutover_window

NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def day(days):
    """The name of the day so many days from now."""
    return NAMES[(datetime.now(UTC) + timedelta(days=days)).weekday()]


@pytest.fixture
def pinned(monkeypatch):
    """Pins a plan with these windows in a journal that is faked."""

    def pin(*windows):
        found = parse_windows(list(windows)) if windows else None
        migration = SimpleNamespace(plan=SimpleNamespace(cutover=SimpleNamespace(window=found)))
        monkeypatch.setattr(cutover_window, "pinned_migration", lambda plan, target: migration)

    return pin


@pytest.fixture
def sensor():
    return CutoverWindowSensor(task_id="window", plan="shop", target_conn_id="shop_target")


def test_a_plan_without_a_window_is_not_waited_for(pinned, sensor):
    pinned()
    assert sensor.execute({}) is None


def test_an_open_window_is_not_waited_for(pinned, sensor):
    pinned(f"{day(-1)},{day(0)},{day(1)} 00:00-24:00 UTC")
    assert datetime.fromisoformat(sensor.execute({})) > datetime.now(UTC)


def test_a_window_that_is_shut_is_slept_for_and_then_looked_at_again(pinned, sensor):
    pinned(f"{day(2)} 00:00-24:00 UTC")
    with pytest.raises(TaskDeferred) as caught:
        sensor.execute({})
    deferred = caught.value
    assert isinstance(deferred.trigger, DateTimeTrigger)
    opens = (datetime.now(UTC) + timedelta(days=2)).replace(hour=0, minute=0, second=0, microsecond=0)
    assert deferred.trigger.moment == opens
    assert deferred.timeout is None, "however far it is"
    again = getattr(sensor, deferred.method_name)
    with pytest.raises(TaskDeferred):
        again({}, event=opens)
    pinned()
    assert again({}, event=opens) is None


def test_a_window_that_opens_this_instant_is_not_slept_for_too_briefly(pinned, sensor, monkeypatch):
    pinned(f"{day(0)},{day(1)} 00:00-24:00 UTC")
    now = datetime(2026, 6, 1, 23, 59, 59, tzinfo=UTC)

    class Clock:
        @staticmethod
        def now(zone):
            return now.astimezone(zone)

    monkeypatch.setattr(cutover_window, "datetime", Clock)
    pinned("Tue 00:00-24:00 UTC")
    with pytest.raises(TaskDeferred) as caught:
        sensor.execute({})
    assert caught.value.trigger.moment == now + timedelta(seconds=5)
