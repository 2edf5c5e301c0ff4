"""Deferrable sensors: one sample in the worker, the others in the triggerer."""

from crossfade_airflow.sensors.replication_slot_lag import ReplicationSlotLagSensor
from crossfade_airflow.sensors.subscription_caught_up import SubscriptionCaughtUpSensor

__all__ = ["ReplicationSlotLagSensor", "SubscriptionCaughtUpSensor"]
