"""The task `cutover`: the application moves to the target."""

from __future__ import annotations

from typing import ClassVar

from crossfade.routers.base import Direction
from crossfade_airflow.operators.critical_section import CriticalSectionOperator


class CutoverOperator(CriticalSectionOperator):
    """Move the application to the target. The approval is of this run, this plan and its newest validation."""

    direction: ClassVar[Direction] = Direction.FORWARD
