"""Deferrable sensors: one sample in the worker, the others in the triggerer."""

from crossfade_airflow.sensors.cutover_guard import CutoverGuardSensor
from crossfade_airflow.sensors.cutover_window import CutoverWindowSensor
from crossfade_airflow.sensors.dms_cdc_latency import DmsCdcLatencySensor
from crossfade_airflow.sensors.dms_full_load import DmsFullLoadSensor
from crossfade_airflow.sensors.dms_task_running import DmsTaskRunningSensor
from crossfade_airflow.sensors.dms_validation import DmsValidationSensor
from crossfade_airflow.sensors.replication_slot_lag import ReplicationSlotLagSensor
from crossfade_airflow.sensors.subscription_caught_up import SubscriptionCaughtUpSensor
from crossfade_airflow.sensors.way_back_proved import WayBackProvedSensor

__all__ = [
    "ReplicationSlotLagSensor",
    "SubscriptionCaughtUpSensor",
    "CutoverWindowSensor",
    "CutoverGuardSensor",
    "DmsTaskRunningSensor",
    "DmsFullLoadSensor",
    "DmsCdcLatencySensor",
    "DmsValidationSensor",
    "WayBackProvedSensor",
]
