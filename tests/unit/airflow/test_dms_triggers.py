"""What the triggers of AWS DMS make of what AWS says."""

from datetime import UTC, datetime, timedelta

import pytest

from crossfade.engines.dms.latency import PERIOD_SECONDS, CdcLatency
from crossfade.engines.dms.latency import Sample as Point
from crossfade.engines.dms.statistics import TableStatistics
from crossfade.engines.dms.task_state import TaskState
from crossfade_airflow.triggers.dms_cdc_latency import DmsCdcLatencyTrigger
from crossfade_airflow.triggers.dms_full_load import progress

NOW = datetime(2026, 5, 4, 12, 0, 30, tzinfo=UTC)
MINUTE = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def latency(source=1.0, target=2.0, *, minutes=0, captured=True, age=30.0):
    at = MINUTE + timedelta(minutes=minutes)
    points = [None if value is None else Point(value=value, at=at, age=age) for value in (source, target)]
    return CdcLatency(source=points[0], target=points[1], incoming=None, captured=captured)


@pytest.fixture
def trigger():
    return DmsCdcLatencyTrigger(
        max_seconds=5,
        since=MINUTE.timestamp(),
        aws_conn_id="aws",
        replication_task_id="t",
        samples=2,
        poke_interval=1,
        deadline=4e9,
    )


def test_a_minute_of_cloudwatch_counts_once_however_often_it_is_looked_at(trigger):
    seen = [trigger._judge(latency(minutes=minutes)) for minutes in (0, 0, 0, 1, 1)]
    assert seen == [True, None, None, True, None]


def test_a_minute_that_grows_worse_while_it_lasts_is_bad_after_all(trigger):
    assert [trigger._judge(latency()), trigger._judge(latency(target=9))] == [True, False]


def test_a_minute_that_was_over_before_the_wait_began_says_nothing(trigger):
    assert trigger._judge(latency(minutes=-1)) is None
    assert trigger._judge(latency(9, 9, minutes=-1)) is None
    trigger.since = MINUTE.timestamp() + PERIOD_SECONDS - 1
    assert trigger._judge(latency()) is True


@pytest.mark.parametrize(
    "seen",
    [latency(None), latency(target=None), latency(6), latency(1, 6), latency(0, 0, captured=False), latency(age=1000)],
    ids=["no source", "no target", "source late", "target late", "nothing captured", "stale"],
)
def test_what_is_not_known_late_or_of_an_idle_task_is_bad(trigger, seen):
    assert trigger._judge(seen) is False


def test_what_was_counted_already_survives_a_triggerer_that_restarts(trigger):
    trigger._judge(latency())
    again = DmsCdcLatencyTrigger(**trigger.serialize()[1])
    assert again._judge(latency()) is None


def table(name, state, rows=0, started=None):
    counts = dict.fromkeys(("error_rows", "inserts", "updates", "deletes", "ddls", "applied"), 0)
    validation = {"validation": "Not enabled", "validation_details": None}
    counts |= dict.fromkeys(("validation_pending", "validation_failed", "validation_suspended"), 0)
    times = {"load_started": started, "load_ended": None}
    return TableStatistics(schema="public", table=name, state=state, rows=rows, **counts, **validation, **times)


def test_progress_names_the_tables_under_way_with_their_rows_a_second():
    arns = {"instance_arn": "i", "source_arn": "s", "target_arn": "t", "mappings": {}, "settings": {}}
    counts = {"percent": 40, "loaded": 1, "loading": 2, "queued": 3, "errored": 0, "has_run": True}
    words = {"identifier": "shop", "arn": "a", "status": "running", "stop_reason": None, "failure": None}
    task = TaskState(migration_type="full-load-and-cdc", **arns, **counts, **words)
    tables = [
        table("done", "Table completed", 7, NOW),
        table("orders", "Full load", 50_000, NOW - timedelta(seconds=20)),
        table("notes", "Full load", 10),
        table("later", "Before load"),
    ]
    assert progress(task, tables, NOW).splitlines() == [
        "replication task shop is running: 40 %, 1 tables loaded, 2 loading, 3 queued",
        "  public.orders: Full load, 50,000 rows, 2,500 rows/s",
        "  public.notes: Full load, 10 rows",
    ]
