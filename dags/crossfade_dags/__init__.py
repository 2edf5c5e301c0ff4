"""The graphs of Crossfade. A plan's DAG file calls one function: ``migration("shop.yaml")``."""

from crossfade_dags.migrate import migration

__all__ = ["migration"]
