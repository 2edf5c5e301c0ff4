"""The graphs of Crossfade. A plan's DAG file calls one function: ``migration("shop.yaml")``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossfade.plan import load_plan
from crossfade_dags.cleanup import cleanup
from crossfade_dags.guard import guard
from crossfade_dags.migrate import migrate
from crossfade_dags.rollback import rollback
from crossfade_dags.validate import validate

if TYPE_CHECKING:
    from airflow.sdk import DAG

__all__ = ["migration"]


def migration(file: str) -> list[DAG]:
    """All DAGs of the plan in that file. Raises `PlanError`, which Airflow shows as this file's import error."""
    plan = load_plan(file)
    return [migrate(plan, file), rollback(plan, file), cleanup(plan, file), guard(plan, file), validate(plan)]
