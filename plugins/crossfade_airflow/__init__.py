"""Crossfade in Airflow: operators, sensors and triggers. Thin: what they do is in the package crossfade."""
