import asyncio
import importlib
import json
import time

import psycopg
import pytest

from crossfade.engines.dms.failures import TaskInterrupted
from crossfade.engines.dms.refusals import AwsUnreachable, Throttled
from crossfade.errors import TransientError
from crossfade_airflow.triggers import sampling
from crossfade_airflow.triggers.dms_assessment_run import DmsAssessmentRunTrigger
from crossfade_airflow.triggers.dms_cdc_latency import DmsCdcLatencyTrigger
from crossfade_airflow.triggers.dms_full_load import DmsFullLoadTrigger
from crossfade_airflow.triggers.dms_task_running import DmsTaskRunningTrigger
from crossfade_airflow.triggers.dms_validation import DmsValidationTrigger
from crossfade_airflow.triggers.replication_slot_lag import ReplicationSlotLagTrigger
from crossfade_airflow.triggers.sampling import Sample, SamplingTrigger, StreamBroken
from crossfade_airflow.triggers.subscription_caught_up import ERRORS_WITHOUT_PROGRESS, SubscriptionCaughtUpTrigger

TIMES = {"samples": 3, "poke_interval": 0.0, "deadline": 4e9}
SLOT_LAG = ReplicationSlotLagTrigger(conn_id="shop_source", slots=["a", "b"], max_bytes=10, in_a_row=2, **TIMES)
CAUGHT_UP = SubscriptionCaughtUpTrigger(
    source_conn_id="shop_source",
    target_conn_id="shop_target",
    subscriptions=["a"],
    max_seconds=0.5,
    progress={"a": 4},
    **TIMES,
)

OF_TASK = {"aws_conn_id": "aws_shop", "replication_task_id": "crossfade-shop", **TIMES}
CDC_LATENCY = DmsCdcLatencyTrigger(
    max_seconds=5, since=1.0, source_conn_id="shop_source", stream="shop_1", counted=2.0, **OF_TASK
)
OF_DMS = [
    CDC_LATENCY,
    DmsTaskRunningTrigger(**OF_TASK),
    DmsFullLoadTrigger(**OF_TASK),
    DmsValidationTrigger(**OF_TASK),
    DmsAssessmentRunTrigger(run_arn="arn:aws:dms:eu-west-1:1:assessment-run:X", **OF_TASK),
]
TRIGGERS = [SLOT_LAG, CAUGHT_UP, *OF_DMS]
NAMES = [type(trigger).__name__ for trigger in TRIGGERS]


@pytest.fixture(autouse=True)
def no_hand_over(monkeypatch):
    monkeypatch.setattr(sampling, "HAND_OVER", 0)


class Scripted(SamplingTrigger):
    """Samples as a test wants them: booleans, or errors to raise."""

    def __init__(self, script, **kwargs):
        super().__init__(**{**TIMES, **kwargs})
        self.script = list(script)

    def arguments(self):
        return {}

    async def sample(self):
        seen = self.script.pop(0)
        if isinstance(seen, Exception):
            raise seen
        return Sample(good=seen, text=f"{len(self.script)} left", figures={"bytes": 1})


def fired(trigger):
    async def first():
        async for event in trigger.run():
            return event.payload

    return asyncio.run(first())


@pytest.mark.parametrize("trigger", TRIGGERS, ids=NAMES)
def test_a_trigger_survives_serialisation(trigger):
    path, arguments = trigger.serialize()
    module, _, name = path.rpartition(".")
    again = getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))
    assert again.serialize() == (path, arguments)


@pytest.mark.parametrize("trigger", TRIGGERS, ids=NAMES)
def test_a_trigger_carries_connection_ids_and_nothing_to_log_in_with(trigger):
    _, arguments = trigger.serialize()
    assert not {"password", "host", "dsn", "conninfo", "uri"} & arguments.keys()
    assert {"shop_source", "aws_shop"} & set(map(str, arguments.values()))


def test_good_samples_must_follow_one_another():
    trigger = Scripted([True, True, False, True, True, True, True])
    assert fired(trigger)["status"] == "caught up"
    assert len(trigger.script) == 1


def test_good_samples_taken_before_deferring_count():
    trigger = Scripted([True, False], in_a_row=2)
    assert fired(trigger)["status"] == "caught up"


def test_a_network_that_comes_back_is_no_failure():
    trigger = Scripted([True, psycopg.OperationalError("connection refused"), True, True, True])
    assert fired(trigger) == {"status": "caught up", "message": "0 left", "figures": {"bytes": 1}}


@pytest.mark.parametrize("error", [Throttled("too many calls"), AwsUnreachable("no answer")])
def test_an_aws_that_throttles_or_is_away_is_no_failure_but_begins_the_count_anew(error):
    trigger = Scripted([True, True, error, True, True, True])
    assert fired(trigger)["status"] == "caught up"
    assert trigger.script == []


def test_a_sample_without_anything_new_neither_counts_nor_begins_the_count_anew():
    trigger = Scripted([True, None, True, None, None, True])
    assert fired(trigger)["status"] == "caught up"
    assert trigger.script == []


def test_what_another_try_may_bring_ends_the_wait_for_a_retry():
    outcome = fired(Scripted([TaskInterrupted("the connection was lost")]))
    assert outcome["status"] == "interrupted"
    with pytest.raises(TransientError, match="the connection was lost"):
        sampling.figures_of(outcome)


def test_what_can_not_come_by_itself_ends_the_wait_at_once():
    outcome = fired(Scripted([True, StreamBroken("the slot is lost"), True]))
    assert outcome == {"status": "broken", "message": "the slot is lost", "figures": {}}


def test_the_wait_ends_in_time_and_says_what_it_saw_last():
    outcome = fired(Scripted([False, False], deadline=time.time() - 1))
    assert outcome["status"] == "timeout"
    assert "Seen last: 1 left" in outcome["message"]


def errors(trigger, *seen):
    """Samples of one subscription: its error count, and what its slot has still to confirm."""
    for count, outstanding in seen:
        trigger._require_progress({"name": "a", "slot": "s", "errors": count}, outstanding)
        trigger._outstanding = {"s": outstanding}


def test_errors_without_progress_are_given_up_after_a_few():
    trigger = SubscriptionCaughtUpTrigger(
        source_conn_id="x", target_conn_id="y", subscriptions=["a"], max_seconds=1, **TIMES
    )
    with pytest.raises(StreamBroken, match=f"failed {ERRORS_WITHOUT_PROGRESS} times"):
        errors(trigger, *((n, 100) for n in range(ERRORS_WITHOUT_PROGRESS + 1)))


def test_errors_between_which_something_is_applied_are_not():
    trigger = SubscriptionCaughtUpTrigger(
        source_conn_id="x", target_conn_id="y", subscriptions=["a"], max_seconds=1, **TIMES
    )
    errors(trigger, *((n, 100 - n) for n in range(10)))
